"""Answers by a real model in a real worker process."""

import json
import math
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import read_jsonl, seal
from instructlab_pipeline.evaluation.answers import Settings, answer_budget, replies, worker_command, worker_spec
from instructlab_pipeline.evaluation.candidate import Candidate, base_candidate
from instructlab_pipeline.evaluation.decoding import greedy_answers
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.evaluation.metrics import chosen
from instructlab_pipeline.evaluation.tasks import Task, responses, tasks_for
from instructlab_pipeline.evaluation.worker import end_tokens
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from servers.tiny_model import write_tiny_model

WORDS = ["river", "moon", "letter", "keeper", "planet", "mill", "noon", "colour", "sky", "lighthouse"]
MAX_NEW_TOKENS = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder / "files", hidden=64, layers=3)
    return seal(folder, kind="model", key="k", inputs={}, facts={})


def items(count: int) -> list[Item]:
    """Questions of very different lengths."""
    return [
        Item(
            id=f"q{number}",
            leaf="knowledge/a",
            question=" ".join(WORDS[(number * step) % len(WORDS)] for step in range(1 + number % 9)) + f" {number}?",
            context=f"The keeper has {number} letters.\n\nThe moon is round." if number % 3 == 0 else None,
            reference="12 moons",
        )
        for number in range(count)
    ]


def context_in(folder: Path) -> Context:
    (folder / "stage").mkdir(parents=True, exist_ok=True)
    return Context(folder=folder / "stage", cache=folder / "cache", events=Events(path=folder / "events.jsonl"))


def tasks(count: int) -> list[Task]:
    return [Task(messages=item.messages) for item in items(count)]


def texts(known, asked: list[Task], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
    return [known[task.key(max_new_tokens=max_new_tokens)] for task in asked]


def loaded(folder: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)


def unbatched(folder: Path, asked: list[Task], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
    """The same model asked one question at a time, with nothing of ours between it and transformers."""
    tokenizer, model = loaded(folder)
    ends, answers = end_tokens(model, tokenizer), []
    for task in asked:
        inputs = tokenizer.apply_chat_template(
            task.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        whole = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        written = [token for token in whole[0, inputs["input_ids"].shape[1] :].tolist() if token not in ends]
        answers.append(tokenizer.decode(written, skip_special_tokens=True).strip())
    return answers


def test_batched_answers_equal_those_to_one_question_at_a_time(model, tmp_path):
    asked = tasks(23)
    settings = Settings(max_new_tokens=MAX_NEW_TOKENS, batch_size=5)
    found = replies(base_candidate(model), asked, settings, context_in(tmp_path))
    assert found.made == 23
    assert texts(found.known, asked) == unbatched(model / "files", asked)
    assert len(set(found.known.values())) > 10


def likelihood_of(tokenizer, model, messages, continuation: str) -> float:
    """Token by token, each time with the whole text before it, out of plain probabilities."""
    import torch

    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    product = 1.0
    for token in tokenizer(continuation, add_special_tokens=False)["input_ids"]:
        with torch.no_grad():
            product *= float(model(torch.tensor([ids])).logits[0, -1].softmax(-1)[token])
        ids = [*ids, token]
    return math.log(product)


def test_likelihoods_are_those_of_one_token_after_the_other(model, tmp_path):
    asked = [
        Task(messages=item.messages, continuation=text)
        for item in items(4)
        for text in (" blue", "It has 12 moons, and 3 of them are round.", "x")
    ]
    found = replies(base_candidate(model), asked, Settings(max_new_tokens=4, batch_size=5), context_in(tmp_path))
    tokenizer, plain = loaded(model / "files")
    for task in asked:
        reply = found.known[task.key(max_new_tokens=4)]
        wanted = likelihood_of(tokenizer, plain, task.messages, task.continuation)
        assert reply["nats"] == pytest.approx(wanted, rel=1e-4)
        assert reply["tokens"] == len(tokenizer(task.continuation, add_special_tokens=False)["input_ids"])


def test_open_questions_and_those_with_choices_are_asked_as_their_metrics_need(model, tmp_path):
    both = [
        *items(2),
        Item(id="c", leaf="l", question="Which?", context=None, reference="no", choices=("yes", "no"), key=1),
    ]
    asked = tasks_for(both, chosen(["f1", "mcq_accuracy", "perplexity"]))
    assert [task.continuation for task in asked] == [None, "12 moons", None, "12 moons", "yes", "no"]
    assert [task.continuation for task in tasks_for(both[:2], chosen(["f1"]))] == [None, None]

    settings = Settings(max_new_tokens=4, batch_size=8)
    found = responses(
        both, replies(base_candidate(model), asked, settings, context_in(tmp_path)).known, max_new_tokens=4
    )
    assert (list(found.texts), list(found.references), list(found.choices)) == (["q0", "q1"], ["q0", "q1"], ["c"])
    assert found.references["q0"].nats < 0 < found.references["q0"].tokens


def test_answers_that_are_known_start_no_worker(model, tmp_path):
    settings = Settings(max_new_tokens=4, batch_size=8)
    context = context_in(tmp_path)
    first = replies(base_candidate(model), tasks(10), settings, context)
    (context.work / "answers-of-model.json").unlink()
    again = replies(base_candidate(model), tasks(6), settings, context)
    assert (again.made, again.known) == (0, first.known)
    assert not (context.work / "answers-of-model.json").exists()


def test_what_a_torn_journal_lacks_is_answered_alike_and_nothing_else_again(model, tmp_path):
    asked, candidate = tasks(23), base_candidate(model)
    settings = Settings(max_new_tokens=MAX_NEW_TOKENS, batch_size=5)
    whole = replies(candidate, asked, settings, context_in(tmp_path))
    journal = Journal(tmp_path / "cache" / "answers" / f"{candidate.digest}.jsonl")
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    before = len(journal.replies())
    assert 3 <= before < len(asked)

    found = replies(candidate, asked, settings, context_in(tmp_path))
    assert (found.made, found.known) == (len(asked) - before, whole.known)


def test_a_killed_worker_loses_the_unfinished_answers_of_its_batch_alone(tmp_path):
    """Some answers never end, so that the worker cannot have ended before it is killed."""
    asked, candidate = tasks(16), ending_some_answers(tmp_path / "model")
    settings = Settings(max_new_tokens=1_000_000, batch_size=len(asked))
    journal = kill_midway(candidate, asked, settings, tmp_path)
    kept = journal.replies()
    finished = [task for task in asked if task.key(max_new_tokens=1_000_000) in kept]
    assert 3 <= len(finished) < len(asked)

    again = replies(candidate, finished, settings, context_in(tmp_path))
    assert (again.made, again.known) == (0, kept)
    assert texts(kept, finished, 1_000_000) == unbatched(candidate.folder, finished, 5_000)


def ending_some_answers(folder: Path) -> Candidate:
    """A model whose answers to `tasks` run into a token for ever, one of which ends them."""
    write_tiny_model(folder / "files", hidden=64, layers=3)
    tokenizer, plain = loaded(folder / "files")
    prompts = [
        tokenizer.apply_chat_template(task.messages, add_generation_prompt=True, return_dict=False)
        for task in tasks(16)
    ]
    answers = [answer for finished in greedy_answers(plain, [1], prompts, 24) for answer in finished.values()]
    (end, count), *_ = Counter(answer[-1] for answer in answers).most_common(1)
    assert 3 <= count < 12
    (folder / "files" / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, end]}))
    return base_candidate(seal(folder, kind="model", key="k", inputs={}, facts={}))


def kill_midway(candidate: Candidate, asked: list[Task], settings: Settings, folder: Path) -> Journal:
    """Start the worker as the stage does, and kill -9 it as soon as a few answers are there."""
    journal = Journal(folder / "cache" / "answers" / f"{candidate.digest}.jsonl")
    command = worker_for(candidate, asked, settings, journal, folder / "spec.json")
    worker = subprocess.Popen(command, start_new_session=True)
    while len(journal.replies()) < 3:
        assert worker.poll() is None
        time.sleep(0.002)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    return journal


def worker_for(candidate, asked, settings, journal, path: Path, **more) -> list[str]:
    missing = {task.key(max_new_tokens=settings.max_new_tokens): task for task in asked}
    path.write_text(json.dumps({**worker_spec(candidate, missing, settings, journal), **more}))
    return worker_command(path)


def test_two_workers_share_the_questions_and_give_the_answers_of_one(model, tmp_path):
    candidate, asked = base_candidate(model), tasks(9)
    settings = Settings(max_new_tokens=8, batch_size=2)
    journal = Journal(tmp_path / "shared.jsonl")
    subprocess.run(worker_for(candidate, asked, settings, journal, tmp_path / "spec.json", workers=2), check=True)
    assert sorted(key for line in read_jsonl(journal.path) for key in line) == sorted(journal.replies())
    assert journal.replies() == replies(candidate, asked, settings, context_in(tmp_path)).known


def test_a_worker_that_fails_beside_another_fails_both(model, tmp_path):
    candidate, settings = base_candidate(model), Settings(max_new_tokens=8, batch_size=2)
    journal = Journal(tmp_path / "shared.jsonl")
    broken = [Task(messages=[{"role": "user", "content": "Q?"}]), Task(messages=[])]
    command = worker_for(candidate, broken, settings, journal, tmp_path / "spec.json", workers=2)
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_progress_ends_with_every_answer(model, tmp_path):
    context = context_in(tmp_path)
    replies(base_candidate(model), tasks(5), Settings(max_new_tokens=2, batch_size=2), context)
    told = [event for event in read_jsonl(tmp_path / "events.jsonl") if event["event"] == "progress"]
    assert (told[-1]["done"], told[-1]["total"], told[-1]["unit"]) == (5, 5, "answers")


def test_an_answer_may_be_twice_as_long_as_the_longest_reference(model):
    assert answer_budget(["blue"], model / "files") == 16
    assert answer_budget(["blue", "x" * 100], model / "files") == 256
    assert answer_budget([], model / "files") == 16
