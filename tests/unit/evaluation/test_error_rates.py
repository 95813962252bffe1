"""What the gate promises, over 1,000 simulated runs each; all seeded."""

import random

import numpy as np
import pytest

from instructlab_pipeline.evaluation import statistics
from instructlab_pipeline.evaluation.metrics import Scale
from instructlab_pipeline.evaluation.statistics import bootstrap_mean, holm, mcnemar, paired_difference, wilson
from instructlab_pipeline.evaluation.verdict import Grades, decide, regressions, score, score_by_leaf

RUNS = 1000
QUESTIONS = 100
THRESHOLD = 0.8


def right_answers(truth: float, seed: int) -> list[int]:
    """How many of the questions are answered right in each run, by a model that is right with probability `truth`."""
    return np.random.default_rng(seed).binomial(QUESTIONS, truth, size=RUNS).tolist()


def verdict_on(right: int, *, require_clear: bool, cache={}):  # noqa: B006 - each count is judged once
    key = right, require_clear
    if key not in cache:
        tuned = [1.0] * right + [0.0] * (QUESTIONS - right)
        items = [str(number) for number in range(QUESTIONS)]
        scores = {"accuracy": score(Grades(items=items, base=[0.0] * QUESTIONS, tuned=tuned, scale=Scale.SHARE))}
        cache[key] = decide(scores, THRESHOLD, require_clear=require_clear)
    return cache[key]


@pytest.mark.parametrize("truth", [0.70, 0.75, 0.79])
def test_a_model_below_the_threshold_passes_a_clear_gate_in_fewer_than_1_of_40_runs(truth):
    passed = sum(verdict_on(right, require_clear=True).passed for right in right_answers(truth, seed=1))
    assert passed <= 0.025 * RUNS


@pytest.mark.parametrize("questions", [16, 20, 50])
@pytest.mark.parametrize("all_or_nothing", [0.0, 0.5, 1.0])
def test_clear_verdicts_on_grades_in_between_are_wrong_in_fewer_than_5_of_100_runs(
    questions, all_or_nothing, monkeypatch
):
    """F1 of a model at the very threshold; so large a share of its grades is 0 or 1. Fewer resamples, for the time."""
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    generator = np.random.default_rng(questions)
    clear = {"pass": 0, "fail": 0}
    for _ in range(RUNS):
        extreme = generator.random(questions) < all_or_nothing
        either = (generator.random(questions) < THRESHOLD).astype(float)
        interval = bootstrap_mean(np.where(extreme, either, generator.beta(1.6, 0.4, questions)).tolist())
        clear["pass"] += interval.low >= THRESHOLD
        clear["fail"] += interval.high < THRESHOLD
    assert clear["pass"] <= 0.03 * RUNS
    assert clear["fail"] <= 0.03 * RUNS


def test_a_model_just_below_the_threshold_passes_a_gate_that_asks_for_no_clearness_almost_every_second_time():
    """Why `eval_require_clear` exists, and why an unclear verdict is called so."""
    verdicts = [verdict_on(right, require_clear=False) for right in right_answers(0.79, seed=2)]
    passed = [verdict for verdict in verdicts if verdict.passed]
    assert 0.35 * RUNS < len(passed) < 0.55 * RUNS
    assert sum(verdict.clear for verdict in passed) <= 0.025 * RUNS


def test_a_model_well_above_the_threshold_passes_a_clear_gate_nearly_always():
    assert sum(verdict_on(right, require_clear=True).passed for right in right_answers(0.95, seed=3)) >= 0.98 * RUNS


@pytest.mark.parametrize("truth", [0.5, 0.8, 0.95])
def test_intervals_of_shares_hold_the_truth_in_95_of_100_runs(truth):
    held = sum(
        wilson(right, QUESTIONS).low <= truth <= wilson(right, QUESTIONS).high for right in right_answers(truth, seed=4)
    )
    assert 0.93 * RUNS <= held <= 0.98 * RUNS


def test_intervals_of_paired_differences_hold_the_truth_in_95_of_100_runs(monkeypatch):
    """A tuned model that gains 0.1 of F1 on average; fewer resamples than in earnest, for the time it takes."""
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(RUNS):
        base = generator.beta(2, 2, size=60)
        tuned = np.clip(base + generator.normal(0.1, 0.15, size=60), 0, 1)
        held += _holds(paired_difference(base.tolist(), tuned.tolist(), is_share=False).interval, truth=_GAIN)
    assert 0.92 * RUNS <= held <= 0.97 * RUNS


def _holds(interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def _mean_gain() -> float:
    """The gain above with the effect of the ends at 0 and 1, from a million draws."""
    generator = np.random.default_rng(6)
    base = generator.beta(2, 2, size=1_000_000)
    return float((np.clip(base + generator.normal(0.1, 0.15, size=1_000_000), 0, 1) - base).mean())


_GAIN = _mean_gain()


def test_no_leaf_of_many_is_called_worse_by_chance_in_19_of_20_runs():
    """12 leaves of 40 questions; both models are right with probability 0.6, each on its own."""
    draw = np.random.default_rng(7)
    alarms = 0
    for _ in range(RUNS):
        base, tuned = draw.random((2, 12, 40)) < 0.6
        lost, won = (base & ~tuned).sum(axis=1), (tuned & ~base).sum(axis=1)
        adjusted = holm({str(leaf): mcnemar(int(lost[leaf]), int(won[leaf])) for leaf in range(12)})
        alarms += min(adjusted.values()) < 0.05
    assert alarms <= 0.05 * RUNS


@pytest.mark.parametrize("questions", [20, 100, 300])
def test_two_models_that_stumble_over_the_same_questions_are_called_different_in_fewer_than_5_of_100_runs(questions):
    """Both get the easy ones right: their answers go together, and only what is left tells them apart."""
    draw = np.random.default_rng(questions)
    hard = draw.random((RUNS, questions))
    base, tuned = (hard + 0.15 * draw.standard_normal((2, RUNS, questions))) < 0.7
    lost, won = (base & ~tuned).sum(axis=1).tolist(), (tuned & ~base).sum(axis=1).tolist()
    assert sum(mcnemar(*pair) < 0.05 for pair in zip(lost, won, strict=True)) <= 0.05 * RUNS


def test_without_holm_every_fourth_run_would_raise_a_false_alarm():
    """The same runs, each leaf for itself: the adjustment is what keeps the promise above."""
    draw = np.random.default_rng(7)
    alarms = 0
    for _ in range(RUNS):
        base, tuned = draw.random((2, 12, 40)) < 0.6
        lost, won = (base & ~tuned).sum(axis=1), (tuned & ~base).sum(axis=1)
        alarms += min(mcnemar(int(lost[leaf]), int(won[leaf])) for leaf in range(12)) < 0.05
    assert alarms > 0.15 * RUNS


def simulated(base_right: dict[str, float], tuned_right: dict[str, float], count: int, seed: int):
    """Grades of both models, which are right with a probability by leaf."""
    draw = random.Random(seed)
    leaves = {f"{leaf} {number}": leaf for leaf in base_right for number in range(count)}
    return Grades(
        items=list(leaves),
        base=[float(draw.random() < base_right[leaf]) for leaf in leaves.values()],
        tuned=[float(draw.random() < tuned_right[leaf]) for leaf in leaves.values()],
        scale=Scale.SHARE,
    ), leaves


def test_a_model_that_is_better_by_chance_only_is_not_called_better():
    """Of 40 equal pairs of models the one that looks best: its gain is within the interval's reach of nothing."""
    same = dict.fromkeys(("a", "b"), 0.6)
    scores = [score(simulated(same, same, 50, seed)[0]) for seed in range(40)]
    luckiest = sorted(scores, key=lambda each: each.difference.value)[-3]
    assert luckiest.difference.value > 0.05
    assert luckiest.difference.p_value > 0.01
    assert luckiest.difference.value < luckiest.smallest_detectable_effect


def test_a_model_that_is_worse_on_one_leaf_and_better_on_the_rest_passes_and_the_leaf_is_named():
    before = {"a": 0.5, "b": 0.5, "c": 0.5, "lost": 0.95}
    after = {"a": 0.97, "b": 0.97, "c": 0.97, "lost": 0.5}
    given, leaves = simulated(before, after, 60, seed=8)
    overall = score(given)
    assert decide({"accuracy": overall}, 0.7).word == "pass"
    assert overall.difference.interval.low > 0
    assert regressions(score_by_leaf(given, leaves)) == ["lost"]
