"""From responses to grades."""

import json
import math
from dataclasses import replace

import pytest

from instructlab_pipeline.evaluation.comparison import Comparison, answer_records, metrics_record, verdict_record
from instructlab_pipeline.evaluation.grading import Evidence, Judgement, Preference, Responses, graded
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import METRICS, Likelihood, chosen
from instructlab_pipeline.evaluation.verdict import decide

OPEN = [Item(id=name, leaf="x", question="Q?", context=None, reference="red") for name in ("a", "b")]
CHOICE = Item(id="c", leaf="y", question="Which?", context=None, reference="no", choices=("yes", "no"), key=1)


def likelihoods(*nats: float) -> list[Likelihood]:
    return [Likelihood(nats=each, tokens=2) for each in nats]


def responses(text: str, nats: float, choice: tuple[float, float], opinion: Judgement | None) -> Responses:
    return Responses(
        texts={"a": text, "b": "red"},
        references={"a": Likelihood(nats=nats, tokens=2), "b": Likelihood(nats=-1.0, tokens=1)},
        choices={"c": likelihoods(*choice)},
        judgements={"a": opinion, "b": Judgement(correct=True, score=1.0, reason="same")},
    )


EVIDENCE = Evidence(
    items=[*OPEN, CHOICE],
    base=responses("blue", -8.0, (-1.0, -2.0), Judgement(correct=False, score=0.25, reason="other colour")),
    tuned=responses("crimson", -2.0, (-2.0, -1.0), None),
    preferences={"a": Preference(tuned=1.0, reasons=["r", "s"]), "b": None},
)


REST = {"b": Likelihood(nats=-1.0, tokens=1)}


def grades(name: str) -> tuple[list, list]:
    own = graded(chosen([name, "accuracy"], judged=True)[name], EVIDENCE)
    return list(own.base), list(own.tuned)


def test_an_opinion_that_the_judge_did_not_give_is_none_and_not_nought():
    assert grades("accuracy") == ([0.0, 1.0], [None, 1.0])
    assert grades("judge_score") == ([0.25, 1.0], [None, 1.0])


def test_what_one_model_wins_the_other_loses():
    assert grades("judge_win_rate") == ([0.0, None], [1.0, None])


def test_questions_with_choices_are_graded_by_mcq_accuracy_alone():
    assert grades("mcq_accuracy") == ([0.0], [1.0])
    assert graded(METRICS["f1"], EVIDENCE).items == ["a", "b"]


def test_a_perplexity_weighs_by_tokens():
    own = graded(METRICS["perplexity"], EVIDENCE)
    assert (own.base, own.tuned, own.tokens) == ([4.0, 1.0], [1.0, 1.0], [2, 1])


@pytest.mark.parametrize("nats", [-1e5, -math.inf])
def test_a_model_that_holds_a_reference_to_be_impossible_still_has_a_number(nats):
    lost = replace(EVIDENCE, tuned=replace(EVIDENCE.tuned, references={"a": Likelihood(nats=nats, tokens=2)} | REST))
    both = Comparison(evidence=lost, metrics=chosen(["perplexity", "f1"]))
    shown = json.dumps([metrics_record(both), *answer_records(both)], allow_nan=False)
    assert json.loads(shown)[0]["metrics"]["perplexity"]["tuned"] > 1e100


def test_the_records_tell_all_that_was_found():
    comparison = Comparison(
        evidence=EVIDENCE,
        metrics=chosen(["accuracy", "judge_win_rate", "mcq_accuracy", "perplexity"], judged=True),
    )
    first, _, choice = answer_records(comparison)
    assert first["judge"] == {
        "base": {"correct": False, "score": 0.25, "reason": "other colour"},
        "tuned": None,
        "preferred": {"answer": "tuned", "reasons": ["r", "s"]},
    }
    assert first["grades"]["accuracy"] == {"base": 0.0, "tuned": None}
    assert first["grades"]["perplexity"]["base"] == pytest.approx(math.exp(4), abs=1e-6)
    assert (choice["choices"], choice["key"], choice["base"], choice["tuned"]) == (["yes", "no"], 1, "yes", "no")
    assert choice["grades"] == {"mcq_accuracy": {"base": 0.0, "tuned": 1.0}}

    accuracy = metrics_record(comparison)["metrics"]["accuracy"]
    assert (accuracy["n"], accuracy["ungraded"], accuracy["scale"]) == (2, 1, "share")
    verdict = verdict_record(comparison, decide(comparison.scores, 0.5), 0.5)
    assert verdict["metrics"]["perplexity"]["passed"] is None
    assert verdict["metrics"]["perplexity"]["tuned"] == pytest.approx(math.e, abs=1e-5)
