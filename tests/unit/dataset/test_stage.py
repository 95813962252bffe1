import json

import pytest

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import read_jsonl, write_jsonl
from instructlab_pipeline.dataset.stage import DatasetInputs, nothing_given_away, run
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.stage import given_away
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from servers.tiny_model import write_tiny_model


def sample(number, kind="knowledge", **changed):
    values = {
        "id": f"{kind}-{number}",
        "leaf": f"{kind}/leaf",
        "kind": kind,
        "question": f"Question {number} about {kind}?",
        "answer": f"Answer {number}.",
        "context": None if kind == "freeform" else f"Text {number}.",
        "document": None,
        "quality": 1.0,
    }
    return {**values, **changed}


SAMPLES = [sample(number, kind) for kind in ("knowledge", "freeform", "grounded") for number in range(10)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder / "files")
    return artifacts.seal(folder, kind="model", key="k", inputs={}, facts={})


def sealed_sdg(folder, samples, evaluation=(), **shards):
    write_jsonl(folder / "samples.jsonl", samples, **shards)
    write_jsonl(folder / "evaluation.jsonl", evaluation)
    return artifacts.seal(folder, kind="sdg", key="k", inputs={}, facts={"teacher": "t-1", "judge": "j-1"})


VALUES = {"train_sequence_length": 128, "train_replay_ratio": 0.5, "sdg_random_seed": 42, "eval_questions": None}


def make(tmp_path, model, samples, evaluation=(), given_away=nothing_given_away, **changed):
    events = []
    context = Context(folder=tmp_path / "dataset", cache=tmp_path, events=Events(listeners=[events.append]))
    context.folder.mkdir(parents=True)
    inputs = DatasetInputs(sdg=sealed_sdg(tmp_path / "sdg", samples, evaluation), model=model, **{**VALUES, **changed})
    facts = run(inputs, context, given_away=given_away)
    return facts, context.folder, [event["message"] for event in events if event["name"] == "notice"]


def test_both_phases_are_written_and_counted(tmp_path, model):
    facts, folder, notices = make(tmp_path, model, SAMPLES)
    assert facts == {"phase_1": 10, "phase_2": 35, "dropped": {}, "samples": 30}
    assert notices == []
    counts = json.loads((folder / "dataset.json").read_text())
    assert {part: count["records"] for part, count in counts["phase_2"].items()} == {
        "knowledge": 10,
        "skill": 20,
        "replay": 5,
    }
    assert counts["phase_1"]["knowledge_with_document"]["longest"] <= 128
    assert counts["leaves"] == {"freeform/leaf": 10, "grounded/leaf": 10, "knowledge/leaf": 10}


def test_samples_in_shards_give_the_same_records(tmp_path, model):
    _, whole, _ = make(tmp_path / "whole", model, SAMPLES)
    sharded = sealed_sdg(tmp_path / "shards", SAMPLES, shard_bytes=500)
    assert len(sharded.files) > 5
    context = Context(folder=tmp_path / "dataset", cache=tmp_path, events=Events())
    context.folder.mkdir()
    run(DatasetInputs(sdg=sharded, model=model, **VALUES), context)
    for name in ("phase_1.jsonl", "phase_2.jsonl", "dataset.json"):
        assert (context.folder / name).read_bytes() == (whole / name).read_bytes()


def test_what_is_too_long_is_left_out_and_listed(tmp_path, model):
    long = sample(99, context="A very long text. " * 100)
    facts, folder, notices = make(tmp_path, model, [*SAMPLES, long])
    assert facts["dropped"] == {"too_long": 1}
    (dropped,) = read_jsonl(folder / "dropped.jsonl")
    assert dropped["sample"] == "knowledge-99"
    assert dropped["num_tokens"] > 128
    assert dropped["part"] == "knowledge_with_document"
    assert any("too_long" in notice for notice in notices)
    assert facts["phase_2"] == 36


def test_a_sample_that_gives_an_evaluation_question_away_is_left_out(tmp_path, model):
    item = {"id": "e1", "question": "question 3 about knowledge", "context": None}
    facts, folder, _ = make(tmp_path, model, SAMPLES, [item])
    assert facts["dropped"] == {"in_evaluation_set": 1}
    assert (facts["phase_1"], facts["phase_2"]) == (9, 29 + 4)
    (dropped,) = read_jsonl(folder / "dropped.jsonl")
    assert (dropped["sample"], dropped["evaluation_item"]) == ("knowledge-3", "e1")


HELD_OUT = {"id": "e1", "leaf": "l", "question": "Who?", "context": None, "reference": "They."}


def test_what_gives_a_question_of_the_users_own_away_is_left_out_before_training(tmp_path, model):
    own = tmp_path / "own.jsonl"
    write_jsonl(own, [{"question": "question 4 about freeform", "reference": "Answer 4."}])
    asked = sealed_sdg(tmp_path / "asked", SAMPLES, [HELD_OUT])
    facts, folder, notices = make(
        tmp_path, model, SAMPLES, [HELD_OUT], given_away=given_away(asked, [str(own)]), eval_questions=(str(own),)
    )
    assert facts["dropped"] == {"in_evaluation_set": 1}
    (dropped,) = read_jsonl(folder / "dropped.jsonl")
    assert (dropped["sample"], dropped["evaluation_item"]) == ("freeform-4", "questions/own/1")
    assert facts["phase_2"] == 35 - 1
    assert any("1 records were left out (in_evaluation_set)" in notice for notice in notices)


def test_a_document_that_quotes_a_long_question_is_not_read_but_what_else_it_says_is_learned(tmp_path, model):
    question = "In which year did the people of the village build the second mill by the river Aller?"
    quoting = sample(50, context=f"Often asked: {question} In 1873.")
    held_out = [{**HELD_OUT, "question": question}]
    asked = sealed_sdg(tmp_path / "asked", SAMPLES, held_out)
    facts, folder, _ = make(tmp_path, model, [*SAMPLES, quoting], held_out, given_away=given_away(asked, None))
    (dropped,) = read_jsonl(folder / "dropped.jsonl")
    assert (dropped["sample"], dropped["part"]) == ("knowledge-50", "knowledge_with_document")
    assert (facts["phase_1"], facts["phase_2"]) == (10, 36)


def test_skills_alone_leave_phase_1_empty(tmp_path, model):
    facts, folder, _ = make(tmp_path, model, [record for record in SAMPLES if record["kind"] == "freeform"])
    assert (facts["phase_1"], facts["phase_2"]) == (0, 10)
    assert (folder / "phase_1.jsonl").read_text() == ""


def test_nothing_left_is_an_error(tmp_path, model):
    with pytest.raises(SourceError, match="no sample is left") as caught:
        make(tmp_path, model, SAMPLES, train_sequence_length=3)
    assert "train_sequence_length" in caught.value.remedy


def test_the_same_samples_give_the_same_bytes(tmp_path, model):
    _, one, _ = make(tmp_path / "one", model, SAMPLES)
    _, other, _ = make(tmp_path / "other", model, SAMPLES)
    names = sorted(path.name for path in one.iterdir())
    assert names == ["README.md", "dataset.json", "dropped.jsonl", "phase_1.jsonl", "phase_2.jsonl"]
    assert [(one / name).read_bytes() for name in names] == [(other / name).read_bytes() for name in names]


def test_the_card_names_teacher_judge_and_files(tmp_path, model):
    _, folder, _ = make(tmp_path, model, SAMPLES)
    card = (folder / "README.md").read_text()
    for words in ("`t-1`", "`j-1`", "phase_1.jsonl", "phase_2.jsonl", "| knowledge/leaf | 10 |", "30 samples"):
        assert words in card
