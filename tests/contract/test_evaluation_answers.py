"""Answers by a real model in a real worker process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import read_jsonl, seal
from instructlab_pipeline.evaluation.answers import Settings, answer, answer_budget
from instructlab_pipeline.evaluation.candidate import base_candidate
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.journal import Journal, answer_key
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


def unbatched(folder: Path, asked: list[Item]) -> list[str]:
    """The same model asked one question at a time, with nothing of ours between it and transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    texts = []
    for item in asked:
        inputs = tokenizer.apply_chat_template(
            item.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        whole = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        texts.append(tokenizer.decode(whole[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return texts


def test_batched_answers_equal_those_to_one_question_at_a_time(model, tmp_path):
    asked = items(23)
    settings = Settings(max_new_tokens=MAX_NEW_TOKENS, batch_size=5)
    answers = answer(base_candidate(model), asked, settings, context_in(tmp_path))
    assert answers.generated == 23
    assert list(answers.texts) == unbatched(model / "files", asked)
    assert len(set(answers.texts)) > 10


def test_answers_that_are_known_start_no_worker(model, tmp_path):
    settings = Settings(max_new_tokens=4, batch_size=8)
    context = context_in(tmp_path)
    first = answer(base_candidate(model), items(10), settings, context)
    (context.work / "answers-of-model.json").unlink()
    again = answer(base_candidate(model), items(6), settings, context)
    assert (again.generated, again.texts) == (0, first.texts[:6])
    assert not (context.work / "answers-of-model.json").exists()


def test_a_killed_worker_goes_on_without_repeating_an_answer(model, tmp_path):
    asked = items(40)
    candidate = base_candidate(model)
    settings = Settings(max_new_tokens=MAX_NEW_TOKENS, batch_size=1)
    journal = kill_midway(candidate, asked, tmp_path)
    before = len(journal.answers())
    assert 0 < before < len(asked)

    context = context_in(tmp_path)
    answers = answer(candidate, asked, settings, context)
    assert answers.generated == len(asked) - before
    finished = [key for batch in read_jsonl(journal.path) for key in batch]
    assert len(finished) == len(set(finished)) == len(asked)
    assert answers.texts == answer(candidate, asked, settings, context_in(tmp_path / "undisturbed")).texts


def kill_midway(candidate, asked, folder: Path) -> Journal:
    """Start the worker as the stage does, and kill -9 it as soon as a few answers are there."""
    journal = Journal(folder / "cache" / "answers" / f"{candidate.digest}.jsonl")
    questions = [
        {"key": answer_key(item.messages, max_new_tokens=MAX_NEW_TOKENS), "messages": item.messages} for item in asked
    ]
    spec = {
        "model": str(candidate.folder),
        "journal": str(journal.path),
        "max_new_tokens": MAX_NEW_TOKENS,
        "batch_size": 1,
        "questions": questions,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    argv = [sys.executable, "-m", "instructlab_pipeline.evaluation.worker", str(folder / "spec.json")]
    worker = subprocess.Popen(argv, start_new_session=True)
    while len(journal.answers()) < 3:
        assert worker.poll() is None
        time.sleep(0.002)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    return journal


def test_progress_ends_with_every_answer(model, tmp_path):
    context = context_in(tmp_path)
    answer(base_candidate(model), items(5), Settings(max_new_tokens=2, batch_size=2), context)
    told = [event for event in read_jsonl(tmp_path / "events.jsonl") if event["event"] == "progress"]
    assert (told[-1]["done"], told[-1]["total"], told[-1]["unit"]) == (5, 5, "answers")


def test_an_answer_may_be_twice_as_long_as_the_longest_reference(model):
    assert answer_budget(["blue"], model / "files") == 16
    assert answer_budget(["blue", "x" * 100], model / "files") == 256
