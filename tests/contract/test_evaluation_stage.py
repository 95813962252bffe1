"""The evaluation stages on sealed artifacts, with real models."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import read_jsonl, seal, write_jsonl
from instructlab_pipeline.conversation import answered
from instructlab_pipeline.errors import ParameterError, ServiceError, SourceError
from instructlab_pipeline.evaluation import stage
from instructlab_pipeline.evaluation.evaluable import require_evaluable
from instructlab_pipeline.evaluation.stage import (
    EvalFinalInputs,
    EvalPhase1Inputs,
    fingerprint,
    nothing_published,
    run_phase_1,
)
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from servers.teacher_server import MODEL, TeacherServer
from servers.tiny_model import write_tiny_model

EVALUATION = [
    {
        "id": f"{leaf}-{number}",
        "leaf": leaf,
        "kind": "knowledge",
        "question": f"What is number {number} of {leaf}?",
        "reference": f"It is {number}.",
        "context": None,
        "lineage": {},
    }
    for leaf in ("knowledge/a", "knowledge/b")
    for number in range(5)
]
TRAINED = [{"messages": answered("Another question?", "Yes.", context="A text."), "metadata": "{}", "id": "1"}]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Shared by the tests of this file, as runs share it, so that each model answers each question once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> EvalFinalInputs:
    folder = tmp_path_factory.mktemp("run")
    for number, place in enumerate(("model/files", "train_phase_1/model", "train_phase_2/model")):
        write_tiny_model(folder / place, seed=number)
    write_jsonl(folder / "sdg" / "evaluation.jsonl", EVALUATION)
    return EvalFinalInputs(
        model=sealed(folder / "model"),
        train_phase_1=sealed(folder / "train_phase_1"),
        train_phase_2=sealed(folder / "train_phase_2"),
        sdg=sealed(folder / "sdg"),
        dataset=dataset(folder / "dataset", TRAINED),
        eval_num_samples=8,
        eval_batch_size=3,
        eval_metrics=("accuracy", "f1"),
        eval_quality_threshold=0.8,
        eval_require_clear=False,
        eval_questions=None,
        eval_judge_endpoint=None,
        eval_judge_model=None,
        eval_lm_eval_tasks=None,
        eval_candidate_endpoint=None,
        eval_candidate_model=None,
        output_oci_model_uri="registry.example/model:1",
        output_registry_insecure=False,
        output_save_metrics=True,
        output_metrics_format="json",
    )


def run_final(inputs: EvalFinalInputs, context: Context, published=nothing_published):
    return stage.run_final(inputs, context, published=published)


def phase_1(inputs: EvalFinalInputs) -> EvalPhase1Inputs:
    fields = {name: getattr(inputs, name) for name in EvalPhase1Inputs.__dataclass_fields__}
    return EvalPhase1Inputs(**fields)


def sealed(folder: Path):
    return seal(folder, kind=folder.name, key="k", inputs={}, facts={})


def dataset(folder: Path, records):
    write_jsonl(folder / "phase_1.jsonl", records)
    write_jsonl(folder / "phase_2.jsonl", [])
    return sealed(folder)


def skipped(folder: Path):
    folder.mkdir()
    (folder / "training.json").write_text('{"skipped": "no knowledge leaves"}')
    return sealed(folder)


def context_in(folder: Path, cache: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder=folder, cache=cache, events=Events(path=folder.parent / "events.jsonl"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_final_evaluation_leaves_answers_metrics_and_a_verdict(inputs, cache, tmp_path):
    facts = run_final(inputs, context_in(tmp_path / "eval_final", cache))
    answers = list(read_jsonl(tmp_path / "eval_final" / "answers.jsonl"))
    metrics = json.loads((tmp_path / "eval_final" / "metrics.json").read_text())
    verdict = json.loads((tmp_path / "eval_final" / "verdict.json").read_text())

    assert [answer["leaf"] for answer in answers] == ["knowledge/a"] * 4 + ["knowledge/b"] * 4
    assert metrics["n"] == verdict["n"] == facts["n"] == 8
    assert (verdict["verdict"], verdict["clear"]) == (facts["verdict"], facts["clear"]) == ("fail", True)
    assert (verdict["judge"], verdict["served_by"], verdict["require_clear"]) == (None, None, False)
    assert verdict["metrics"]["f1"]["tuned"] == metrics["metrics"]["f1"]["tuned"]
    assert verdict["contamination"] == {"checked": 10, "records": 1, "leaks": 0}
    assert verdict["model"]["stage"] == "train_phase_2"
    files = {file.path: file.sha256 for file in inputs.train_phase_2.files}
    assert {f"model/{path}": sha256 for path, sha256 in verdict["model"]["files"].items()} == files


def test_what_is_sealed_depends_on_the_inputs_alone(inputs, cache, tmp_path):
    run_final(inputs, context_in(tmp_path / "one", cache))
    run_final(inputs, context_in(tmp_path / "two", tmp_path / "empty cache"))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert str(tmp_path).encode() not in b"".join(content(tmp_path / "two").values())


def test_another_threshold_asks_nothing_again(inputs, cache, tmp_path):
    run_final(inputs, context_in(tmp_path / "strict", cache))
    lenient = replace(inputs, eval_quality_threshold=0.0)
    facts = run_final(lenient, context_in(tmp_path / "lenient", cache))
    assert facts["generated"] == {"base": 0, "tuned": 0}
    assert (facts["verdict"], facts["clear"]) == ("pass", True)


def test_both_evaluations_share_the_base_models_answers(inputs, tmp_path):
    first = run_phase_1(phase_1(inputs), context_in(tmp_path / "eval_phase_1", tmp_path / "cache"))
    final = run_final(inputs, context_in(tmp_path / "eval_final", tmp_path / "cache"))
    assert first["generated"] == {"base": 8, "tuned": 8}
    assert final["generated"] == {"base": 0, "tuned": 8}
    verdict = json.loads((tmp_path / "eval_phase_1" / "verdict.json").read_text())
    assert verdict["model"]["stage"] == "train_phase_1"
    assert "contamination" not in verdict


def test_metrics_come_as_csv_when_asked(inputs, cache, tmp_path):
    run_final(replace(inputs, output_metrics_format="csv"), context_in(tmp_path / "eval", cache))
    with (tmp_path / "eval" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["leaf"] for row in rows] == ["", "", "knowledge/a", "knowledge/b", "knowledge/a", "knowledge/b"]
    assert not (tmp_path / "eval" / "metrics.json").exists()


def test_metrics_are_left_out_when_not_wanted_but_the_verdict_stays(inputs, cache, tmp_path):
    run_final(replace(inputs, output_save_metrics=False), context_in(tmp_path / "eval", cache))
    assert set(content(tmp_path / "eval")) == {"answers.jsonl", "verdict.json"}


def test_fewer_questions_than_wanted_are_all_asked_with_a_notice(inputs, cache, tmp_path):
    facts = run_final(replace(inputs, eval_num_samples=100), context_in(tmp_path / "eval", cache))
    notices = [event["message"] for event in read_jsonl(tmp_path / "events.jsonl") if event["name"] == "notice"]
    assert facts["n"] == 10
    assert any("only 10 questions" in message for message in notices)


def test_a_skipped_phase_is_said_so_and_the_one_before_is_judged(inputs, cache, tmp_path):
    knowledge_only = replace(inputs, train_phase_2=skipped(tmp_path / "train_phase_2"))
    run_final(knowledge_only, context_in(tmp_path / "eval_final", cache))
    assert json.loads((tmp_path / "eval_final" / "verdict.json").read_text())["model"]["stage"] == "train_phase_1"

    skills_only = replace(inputs, train_phase_1=skipped(tmp_path / "train_phase_1"))
    facts = run_phase_1(phase_1(skills_only), context_in(tmp_path / "eval_phase_1", cache))
    assert "train_phase_1 was skipped" in facts["skipped"]
    assert set(content(tmp_path / "eval_phase_1")) == {"verdict.json"}


def test_nothing_trained_is_refused(inputs, cache, tmp_path):
    nothing = replace(
        inputs, train_phase_1=skipped(tmp_path / "train_phase_1"), train_phase_2=skipped(tmp_path / "train_phase_2")
    )
    with pytest.raises(SourceError, match="no tuned model"):
        run_final(nothing, context_in(tmp_path / "eval", cache))


def test_a_question_that_was_trained_on_stops_the_evaluation(inputs, cache, tmp_path):
    leaked = [*TRAINED, {"messages": answered("what is number 3 of knowledge/b", "It is 3.", context="A text.")}]
    with pytest.raises(SourceError, match=r"1 of 10 evaluation questions .*knowledge/b-3 \(the same as in record 2\)"):
        run_final(replace(inputs, dataset=dataset(tmp_path / "dataset", leaked)), context_in(tmp_path / "eval", cache))


def test_an_unknown_metric_is_refused_before_anything_is_asked(inputs, tmp_path):
    with pytest.raises(ParameterError, match=r"bleu.*known are accuracy"):
        run_final(replace(inputs, eval_metrics=("bleu",)), context_in(tmp_path / "eval", tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_a_model_that_cannot_be_loaded_names_the_worker_and_its_log(inputs, tmp_path):
    from instructlab_pipeline.errors import WorkerError

    broken = tmp_path / "train_phase_2"
    shutil.copytree(inputs.train_phase_2 / "model", broken / "model")
    (broken / "model" / "config.json").unlink()
    with pytest.raises(WorkerError, match=r"answers-of-train_phase_2\.log"):
        run_final(
            replace(inputs, train_phase_2=sealed(broken), eval_num_samples=2), context_in(tmp_path / "eval", tmp_path)
        )


def own_questions(folder: Path) -> str:
    path = folder / "mine.jsonl"
    write_jsonl(
        path,
        [
            {"question": "What is my own question?", "reference": "This one."},
            {"question": "Which one is it?", "choices": ["this", "that one", "neither"], "key": 0},
        ],
    )
    return str(path)


def test_questions_of_ones_own_are_all_asked_beside_the_chosen_ones(inputs, cache, tmp_path):
    asked = replace(
        inputs, eval_questions=(own_questions(tmp_path),), eval_metrics=("f1", "mcq_accuracy", "perplexity")
    )
    facts = run_final(asked, context_in(tmp_path / "eval", cache))
    answers = list(read_jsonl(tmp_path / "eval" / "answers.jsonl"))
    assert facts["n"] == len(answers) == 8 + 1 + 1
    assert [answer["leaf"] for answer in answers[8:]] == ["questions/mine"] * 2
    assert answers[-1]["tuned"] in answers[-1]["choices"]
    verdict = json.loads((tmp_path / "eval" / "verdict.json").read_text())
    assert {name: (each["n"], each["passed"]) for name, each in verdict["metrics"].items()} == {
        "f1": (9, False),
        "mcq_accuracy": (1, verdict["metrics"]["mcq_accuracy"]["tuned"] == 1),
        "perplexity": (9, None),
    }
    assert verdict["metrics"]["perplexity"]["tuned"] > 100  # as good as random weights are
    assert fingerprint(asked) != fingerprint(inputs) == ""


def test_questions_of_ones_own_that_were_trained_on_stop_the_evaluation(inputs, cache, tmp_path):
    leaked = [*TRAINED, {"messages": answered("What is my own question?", "This one.")}]
    asked = replace(inputs, eval_questions=(own_questions(tmp_path),), dataset=dataset(tmp_path / "dataset", leaked))
    with pytest.raises(SourceError, match=r"questions/mine/1 \(the same"):
        run_final(asked, context_in(tmp_path / "eval", cache))


def test_generated_questions_with_choices_are_graded_where_there_are_some(inputs, cache, tmp_path):
    with pytest.raises(SourceError, match="no question with choices"):
        run_final(replace(inputs, eval_metrics=("mcq_accuracy",)), context_in(tmp_path / "none", cache))
    choices = [
        {**item, "id": f"mcq-{item['id']}", "kind": "mcq", "choices": ["It is 7.", item["reference"]], "key": 1}
        for item in EVALUATION
    ]
    shutil.copytree(inputs.sdg.path, tmp_path / "sdg", ignore=shutil.ignore_patterns("manifest.json"))
    write_jsonl(tmp_path / "sdg" / "multiple_choice.jsonl", choices)
    asked = replace(inputs, sdg=sealed(tmp_path / "sdg"), eval_metrics=("mcq_accuracy",))
    assert run_final(asked, context_in(tmp_path / "eval", cache))["n"] == 8


def test_what_no_model_could_pass_is_refused_before_anything_is_spent(inputs):
    require_evaluable(replace(inputs, eval_num_samples=17, eval_require_clear=True))
    with pytest.raises(ParameterError, match=r"with 16 questions .* clearly by f1; that takes at least 17"):
        require_evaluable(replace(inputs, eval_num_samples=16, eval_require_clear=True))
    with pytest.raises(ParameterError, match=r"with 8 questions .* by accuracy; that takes at least 16"):
        require_evaluable(replace(inputs, eval_require_clear=True))
    with pytest.raises(ParameterError, match="no number of questions"):
        require_evaluable(replace(inputs, eval_quality_threshold=1.0, eval_require_clear=True))
    with pytest.raises(ParameterError, match="judge_score needs a judge"):
        require_evaluable(replace(inputs, eval_metrics=("judge_score",)))
    with pytest.raises(SourceError, match="there is no file"):
        require_evaluable(replace(inputs, eval_questions=("absent.jsonl",)))


def lenient_but_once(asked):
    right = "number 0 of knowledge/b" not in asked["messages"][-1]["content"]
    return {"reason": "so it is", "correct": right, "mark": 5 if right else 1}


def test_the_judge_takes_part_in_the_key_by_its_model_and_in_the_verdict(inputs, cache, tmp_path):
    with TeacherServer(scripts={"mark": lenient_but_once}) as server:
        judged = replace(inputs, eval_judge_endpoint=server.url, eval_metrics=("accuracy",))
        facts = run_final(judged, context_in(tmp_path / "eval", cache))
        strict = run_final(replace(judged, eval_require_clear=True), context_in(tmp_path / "strict", cache))
        assert fingerprint(judged) == fingerprint(replace(judged, eval_judge_model=MODEL)) != fingerprint(inputs)
    assert (facts["metrics"]["accuracy"]["tuned"], facts["verdict"], facts["clear"]) == (0.875, "pass", False)
    assert (strict["verdict"], strict["clear"]) == ("fail", False)
    assert "eval_require_clear" in strict["reasons"][0]
    assert json.loads((tmp_path / "eval" / "verdict.json").read_text())["judge"] == MODEL
    first = next(iter(read_jsonl(tmp_path / "eval" / "answers.jsonl")))
    assert first["judge"]["tuned"] == {"correct": True, "score": 1.0, "reason": "so it is"}


def test_the_published_version_is_compared_in_the_facts_and_changes_nothing_that_is_sealed(inputs, cache, tmp_path):
    better = {"metrics": {"f1": {"base": 0.1, "tuned": 0.99, "interval": [0.97, 1.0]}}}
    facts = run_final(inputs, context_in(tmp_path / "eval", cache), published=lambda: better)
    assert facts["published"]["f1"]["worse"] is True
    notices = [event["message"] for event in read_jsonl(tmp_path / "events.jsonl") if event["name"] == "notice"]
    assert any("0.990 in the published version" in message for message in notices)
    assert run_final(inputs, context_in(tmp_path / "first", cache))["published"] == {}
    assert content(tmp_path / "eval") == content(tmp_path / "first")


def test_a_registry_that_cannot_be_asked_costs_the_comparison_and_no_more(inputs, cache, tmp_path):
    def unreachable():
        raise ServiceError("the registry does not answer", remedy="wait")

    facts = run_final(inputs, context_in(tmp_path / "eval", cache), published=unreachable)
    assert (facts["published"], facts["verdict"]) == ({}, "fail")
    notices = [event["message"] for event in read_jsonl(tmp_path / "events.jsonl") if event["name"] == "notice"]
    assert "no comparison with the published version: the registry does not answer" in notices
