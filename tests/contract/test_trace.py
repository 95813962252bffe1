"""`trace`: from a sample back to its sentence and calls, from a document forward to what was trained and asked."""

import json
import shutil

import pytest
from click.testing import CliRunner

from instructlab_pipeline.artifacts import read_jsonl, seal, write_jsonl
from instructlab_pipeline.cli.main import cli
from instructlab_pipeline.dataset.records import phase_1_records, phase_2_records
from servers.sdg_inputs import GROUNDED, KNOWLEDGE, records, run_sdg, sdg_inputs, seal_taxonomy
from servers.teacher_server import MODEL, TeacherServer

GRADES = {"accuracy": {"base": 0.0, "tuned": 1.0}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that came to its final evaluation, as far as `trace` looks at it; the teacher sometimes answers badly."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    taxonomy = seal_taxonomy(folder / "taxonomy")
    with TeacherServer(faults={"garbage": 0.4}) as teacher:
        facts = run_sdg(folder, sdg_inputs(taxonomy, teacher.url), cache=folder.parent / "cache")
        requests = teacher.requests
    seal(folder / "sdg", kind="sdg", key="k", inputs={}, facts=facts)
    samples = list(read_jsonl(folder / "sdg/samples.jsonl"))
    write_jsonl(folder / "dataset/phase_1.jsonl", phase_1_records(samples))
    write_jsonl(folder / "dataset/phase_2.jsonl", phase_2_records(samples[1:]))
    too_long = {"sample": samples[0]["id"], "leaf": samples[0]["leaf"], "reason": "too_long"}
    write_jsonl(folder / "dataset/dropped.jsonl", [too_long])
    seal(folder / "dataset", kind="dataset", key="k", inputs={}, facts={})
    items = read_jsonl(folder / "sdg/evaluation.jsonl")
    answers = ({"id": item["id"], "base": "?", "tuned": "right", "grades": GRADES} for item in items)
    write_jsonl(folder / "eval_final/answers.jsonl", answers)
    seal(folder / "eval_final", kind="eval_final", key="k", inputs={}, facts={})
    (folder / "run.json").write_text(json.dumps({"parameters": {"sdg_random_seed": {"value": 42, "origin": "here"}}}))
    return folder, requests


def trace(folder, *arguments):
    return CliRunner().invoke(cli, ["trace", str(folder), *arguments])


def traced(folder, *arguments):
    done = trace(folder, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def failure(folder, *arguments):
    error = trace(folder, *arguments).exception
    assert error.remedy
    return error.message


def of_leaf(folder, name, path):
    return next(record for record in records(folder, name) if record["leaf"] == path)


def test_every_call_behind_every_sample_is_told_with_the_very_prompt_that_was_sent(run):
    folder, requests = run
    sent = [(request["messages"], request["model"]) for request in requests]
    asked_anew = 0
    for name in ("samples", "evaluation"):
        for record in records(folder, name)[::2]:
            calls = traced(folder, record["id"])["calls"]
            assert [call["key"] for call in calls] == record["lineage"]["calls"]
            assert all((call["prompt"], call["model"]) in sent for call in calls)
            assert all(call["reply"]["text"] and call["reply"]["tokens_in"] for call in calls)
            asked_anew += sum(call["asked_anew"] for call in calls)
    assert asked_anew > 0


def test_the_way_back_names_leaf_commit_seed_example_document_and_sentence(run):
    folder, _ = run
    sample = of_leaf(folder, "samples", KNOWLEDGE)
    found = traced(folder, sample["id"][:12])
    assert (found["item"], found["question"], found["leaf"]) == ("sample", sample["question"], KNOWLEDGE)
    assert found["taxonomy"] == {"url": "https://example.org/taxonomy.git", "commit": "c0ffee"}
    assert found["seed_example"]["pairs"][0]["question"] == f"Seed {sample['seed_example']}.0?"
    document = found["document"]
    assert (document["path"], document["commit"]) == ("moons.md", "c0ffee")
    sentence = document["sentence"]
    start = document["start"]
    assert document["text"][sentence["start"] - start : sentence["end"] - start] == sentence["text"]
    assert found["flow"]["name"] == "knowledge"
    assert {place["phase"] for place in found["trained"]} == {"phase_1", "phase_2"}


def test_a_question_finds_its_sample_and_so_does_the_id_of_a_training_record(run):
    folder, _ = run
    sample = of_leaf(folder, "samples", KNOWLEDGE)
    assert traced(folder, sample["question"].upper())["id"] == sample["id"]
    trained = next(
        record
        for record in read_jsonl(folder / "dataset/phase_2.jsonl")
        if json.loads(record["metadata"])["sample"] == sample["id"]
    )
    assert traced(folder, trained["id"])["id"] == sample["id"]


def test_an_evaluation_item_tells_how_it_was_answered(run):
    folder, _ = run
    item = of_leaf(folder, "evaluation", GROUNDED)
    found = traced(folder, item["id"])
    assert (found["item"], found["answer"]) == ("evaluation item", item["reference"])
    assert found["evaluated"] == [{"stage": "eval_final", "base": "?", "tuned": "right", "grades": GRADES}]
    assert found["trained"] == []


def test_what_was_left_out_of_training_says_why(run):
    folder, _ = run
    (left_out,) = traced(folder, records(folder, "samples")[0]["id"])["left_out"]
    assert left_out["reason"] == "too_long"


def test_the_way_forward_lists_all_that_was_made_of_a_document(run):
    folder, _ = run
    found = traced(folder, "--document", "moons.md")
    items = [item for chunk in found["chunks"] for item in chunk["items"]]
    made = [record["id"] for name in ("samples", "evaluation") for record in records(folder, name) if record["chunk"]]
    assert sorted(item["id"] for item in items) == sorted(made)
    for item in items:
        assert bool(item["trained"]) == (item["item"] == "sample")
        assert bool(item["evaluated"]) == (item["item"] == "evaluation item")
    assert found["leaves"] == [KNOWLEDGE]
    assert sum(found["rejected"].values()) == sum(1 for record in records(folder, "rejected") if record["chunk"])


def test_both_ways_read_well_on_a_terminal(run):
    folder, _ = run
    sample = of_leaf(folder, "samples", KNOWLEDGE)
    back = trace(folder, sample["id"]).stdout
    for words in (sample["question"], "moons.md of https://example.org/moons.git at c0ffee", f"teacher {MODEL}"):
        assert words in back
    forward = trace(folder, "--document", "moons.md").stdout
    assert f"{sample['id'][:12]}  {sample['question']} -> {sample['answer']}" in forward
    assert "eval_final: 'right'" in forward


def test_what_cannot_be_found_is_said_with_what_comes_near(run):
    folder, _ = run
    assert "fits" in failure(folder, "known for")
    assert "has the id or asks" in failure(folder, "no such question")
    assert "those there are: moons.md" in failure(folder, "--document", "suns.md")
    rejected = next(record for record in records(folder, "rejected") if record["question"])
    assert f"was rejected ({rejected['reason']})" in failure(folder, rejected["question"])
    assert trace(folder).exit_code == 2
    assert "is not a run folder" in failure(folder.parent, "a moon")


def test_without_the_journal_the_sample_is_still_traced_and_says_what_is_lost(run, tmp_path):
    folder, _ = run
    (tmp_path / "first").symlink_to(folder)
    sample = of_leaf(folder, "samples", KNOWLEDGE)
    calls = traced(tmp_path / "first", sample["id"])["calls"]
    assert calls[0]["prompt"]
    assert [call["reply"] for call in calls] == [None, None]
    assert "not in the journal any more" in trace(tmp_path / "first", sample["id"]).stdout


def test_a_run_of_another_version_whose_records_lack_something_is_told_as_such(run, tmp_path):
    folder = tmp_path / "older"
    shutil.copytree(run[0], folder)
    path = folder / "sdg/samples.jsonl"
    older = list(read_jsonl(path))
    for record in older:
        del record["lineage"]["before"]
    write_jsonl(path, older)
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "version": "0.0.7"}))
    message = failure(folder, older[0]["id"])
    assert "0.0.7" in message
    assert "'before'" in message
