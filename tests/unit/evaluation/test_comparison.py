from dataclasses import replace

import pytest

from instructlab_pipeline.artifacts import Artifact, File, digest_of, read_jsonl
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.candidate import base_candidate, require_trained, tuned_candidate
from instructlab_pipeline.evaluation.comparison import (
    CSV_COLUMNS,
    Comparison,
    answer_records,
    metrics_record,
    metrics_rows,
    verdict_record,
)
from instructlab_pipeline.evaluation.grading import Evidence, Responses
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import METRICS, Likelihood, chosen
from instructlab_pipeline.evaluation.report import Ending, tell
from instructlab_pipeline.evaluation.verdict import decide
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context


def comparison() -> Comparison:
    items = [
        Item(id=name, leaf=leaf, question="Q?", context=None, reference="red mill")
        for name, leaf in [("1", "x"), ("2", "x"), ("3", "y")]
    ]
    evidence = Evidence(
        items=items,
        base=Responses(texts={"1": "no", "2": "red", "3": "no"}),
        tuned=Responses(texts={"1": "The red mill.", "2": "red", "3": "red mill"}),
    )
    return Comparison(evidence=evidence, metrics=chosen(["accuracy", "f1"]))


def test_a_model_that_is_worse_than_its_base_is_told_also_where_it_passes(tmp_path):
    items = [Item(id=str(n), leaf=f"leaf {n}", question="Q?", context=None, reference="red") for n in range(20)]
    evidence = Evidence(
        items=items,
        base=Responses(texts={item.id: "red" for item in items}),
        tuned=Responses(texts={item.id: "red" if number > 5 else "no" for number, item in enumerate(items)}),
    )
    both = Comparison(evidence=evidence, metrics=chosen(["accuracy"]))
    context = Context(folder=tmp_path, cache=tmp_path, events=Events(path=tmp_path / "events.jsonl"))
    verdict = decide(both.scores, 0.5)
    tell(Ending(comparison=both, verdict=verdict, threshold=0.5), context)
    told = [event["message"] for event in read_jsonl(tmp_path / "events.jsonl") if event["name"] == "notice"]
    assert verdict.passed
    assert "accuracy is 0.700, and 1.000 of the base model: tuning did harm" in told
    assert both.regressions == {}


def test_each_answer_is_kept_with_its_grades():
    records = list(answer_records(comparison()))
    assert records[1] == {
        "id": "2",
        "leaf": "x",
        "question": "Q?",
        "context": None,
        "reference": "red mill",
        "base": "red",
        "tuned": "red",
        "grades": {"accuracy": {"base": 0.0, "tuned": 0.0}, "f1": {"base": 0.666667, "tuned": 0.666667}},
    }


def test_metrics_speak_of_all_items_and_of_each_leaf():
    record = metrics_record(comparison())
    accuracy = record["metrics"]["accuracy"]
    assert (record["n"], accuracy["base"], accuracy["tuned"]) == (3, 0.0, 0.666667)
    assert accuracy["difference"]["value"] == 0.666667
    assert {leaf: (own["n"], own["tuned"]) for leaf, own in accuracy["leaves"].items()} == {"x": (2, 0.5), "y": (1, 1)}


def test_rows_say_the_same_as_the_record():
    rows = list(metrics_rows(comparison()))
    record = metrics_record(comparison())
    assert [(row["leaf"], row["metric"]) for row in rows] == [
        ("", "accuracy"),
        ("", "f1"),
        ("x", "accuracy"),
        ("y", "accuracy"),
        ("x", "f1"),
        ("y", "f1"),
    ]
    assert all(tuple(row) == CSV_COLUMNS for row in rows)
    assert [rows[1]["low95"], rows[1]["high95"]] == record["metrics"]["f1"]["interval95"]
    assert rows[2]["p_value"] == record["metrics"]["accuracy"]["leaves"]["x"]["difference"]["p_value"]


def test_a_single_perplexity_has_no_interval():
    items = [Item(id=name, leaf=name[0], question="Q?", context=None, reference="r") for name in ("x1", "x2", "y1")]
    base, tuned = (
        Responses(references={item.id: Likelihood(nats=-nats - place, tokens=2) for place, item in enumerate(items)})
        for nats in (4.0, 3.0)
    )
    compared = Comparison(
        evidence=Evidence(items=items, base=base, tuned=tuned), metrics={"perplexity": METRICS["perplexity"]}
    )
    overall, *leaves = metrics_rows(compared)
    assert overall["low95"] < overall["tuned"] < overall["high95"]
    ends = ("low95", "high95", "difference_low95", "difference_high95")
    assert [[row[end] is None for end in ends] for row in leaves] == [[False] * 4, [True] * 4]
    assert leaves[1]["difference"] < 0


def test_empty_answers_of_the_tuned_model_are_told(tmp_path):
    compared = comparison()
    silent = replace(compared, evidence=replace(compared.evidence, tuned=Responses(texts={"1": "", "2": "", "3": "x"})))
    ending = Ending(comparison=silent, verdict=decide(silent.scores, 0.5), threshold=0.5)
    tell(ending, Context(folder=tmp_path, cache=tmp_path, events=Events(path=tmp_path / "events.jsonl")))
    notices = [event["message"] for event in read_jsonl(tmp_path / "events.jsonl") if event["name"] == "notice"]
    assert "2 of 3 answers of the tuned model are empty" in notices


def test_the_verdict_names_each_metric_with_its_interval_and_threshold():
    compared = comparison()
    record = verdict_record(compared, decide(compared.scores, 0.6), 0.6)
    assert (record["verdict"], record["clear"], record["n"], record["threshold"]) == ("pass", False, 3, 0.6)
    f1 = record["metrics"]["f1"]
    assert (f1["n"], f1["base"], f1["tuned"], f1["threshold"], f1["passed"]) == (3, 0.222222, 0.888889, 0.6, True)
    assert f1["difference"]["value"] == 0.666667
    assert (f1["worse_than_base"], record["reasons"]) == (False, [])
    assert record["regressions"] == {}


def artifact(tmp_path, kind: str, **files: str) -> Artifact:
    listed = tuple(File(path=path.replace("__", "/"), size=1, sha256=digest) for path, digest in files.items())
    return Artifact(path=tmp_path, kind=kind, key="", digest="", inputs={}, files=listed, facts={})


def test_a_candidates_digest_speaks_for_every_file_of_its_folder_and_no_other(tmp_path):
    base = base_candidate(artifact(tmp_path, "model", files__config="1", files__sub__x="2", modelxjson="3"))
    assert base.digest == digest_of({"config": "1", "sub/x": "2"})
    assert base.folder == tmp_path / "files"


def test_the_last_phase_that_trained_is_the_candidate(tmp_path):
    one, two = artifact(tmp_path, "train_phase_1", model__w="1"), artifact(tmp_path, "train_phase_2", model__w="2")
    skipped = artifact(tmp_path, "train_phase_2", training="3")
    assert tuned_candidate(one, two).stage == "train_phase_2"
    assert tuned_candidate(one, skipped).stage == "train_phase_1"
    assert tuned_candidate(skipped, skipped) is None
    with pytest.raises(SourceError, match="no tuned model"):
        require_trained(None)
