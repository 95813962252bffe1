import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.evaluation.metrics import Scale
from instructlab_pipeline.evaluation.verdict import Grades, decide, regressions, score, score_by_leaf

LETTERS = {"0": 0.0, "1": 1.0, "?": None}


def grades(base, tuned, scale: Scale, tokens=()) -> Grades:
    items = [str(number) for number in range(len(tuned))]
    return Grades(items=items, base=base, tuned=tuned, scale=scale, tokens=tokens)


def shares(base: str, tuned: str) -> Grades:
    """A letter for each item: right, wrong, or not graded."""
    return grades([LETTERS[x] for x in base], [LETTERS[x] for x in tuned], Scale.SHARE)


def by_leaf(given: Grades, leaves: list[str]):
    return score_by_leaf(given, dict(zip(given.items, leaves, strict=True)))


def ruled(tuned: list[float], threshold: float, *, scale: Scale = Scale.SHARE):
    return decide({"metric": score(grades([0.0] * len(tuned), tuned, scale))}, threshold)


def test_a_score_tells_both_means_and_the_paired_difference():
    item = score(shares("110000", "111110"))
    assert (item.n, item.base, item.tuned) == (6, pytest.approx(2 / 6), pytest.approx(5 / 6))
    assert item.difference.value == pytest.approx(0.5)
    assert item.difference.p_value == 0.25


@pytest.mark.parametrize(
    ("right", "of", "threshold", "word", "clear"),
    [
        (100, 100, 0.8, "pass", True),
        (80, 100, 0.8, "pass", False),
        (79, 100, 0.8, "fail", False),
        (40, 100, 0.8, "fail", True),
        (5, 5, 0.8, "pass", False),
        (0, 100, 0.0, "pass", True),
        (100, 100, 1.0, "pass", False),
    ],
)
def test_a_verdict_is_clear_when_its_interval_lies_on_one_side(right, of, threshold, word, clear):
    verdict = ruled([1.0] * right + [0.0] * (of - right), threshold)
    assert (verdict.word, verdict.clear) == (word, clear)


def test_every_metric_must_reach_the_threshold():
    scores = {"good": score(shares("0" * 50, "1" * 50)), "bad": score(shares("0" * 50, "0" * 50))}
    verdict = decide(scores, 0.8)
    assert (verdict.word, verdict.clear) == ("fail", True)
    assert (verdict.rulings["good"].passed, verdict.rulings["bad"].passed) == (True, False)


def test_a_pass_is_clear_only_when_every_metric_is():
    scores = {"sure": score(shares("0" * 50, "1" * 50)), "near": score(shares("0" * 50, "1" * 41 + "0" * 9))}
    verdict = decide(scores, 0.8)
    assert (verdict.word, verdict.clear) == ("pass", False)


def test_a_failure_is_unclear_when_only_a_near_miss_failed():
    scores = {"sure": score(shares("0" * 50, "1" * 50)), "near": score(shares("0" * 50, "1" * 39 + "0" * 11))}
    verdict = decide(scores, 0.8)
    assert (verdict.word, verdict.clear) == ("fail", False)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_the_verdict_is_the_mean_against_the_threshold(tuned, threshold):
    assert ruled(tuned, threshold, scale=Scale.UNIT).passed == (score_of(tuned).tuned >= threshold)


def score_of(tuned: list[float]):
    return score(grades(tuned, tuned, Scale.UNIT))


def test_leaves_are_scored_on_their_own_items():
    scores = by_leaf(shares("0101", "1100"), ["b", "a", "b", "a"])
    assert list(scores) == ["a", "b"]
    assert [(item.n, item.base, item.tuned) for item in scores.values()] == [(2, 1.0, 0.5), (2, 0.0, 0.5)]


def test_a_leaf_that_lost_among_many_that_won_is_named():
    leaves = [f"leaf {number}" for number in range(10) for _ in range(20)]
    base = ["1" if leaf == "leaf 3" else "0" for leaf in leaves]
    tuned = ["0" if leaf == "leaf 3" else "1" for leaf in leaves]
    assert regressions(by_leaf(shares("".join(base), "".join(tuned)), leaves)) == ["leaf 3"]


def test_many_leaves_of_equal_models_rarely_raise_an_alarm():
    random_source = random.Random(11)
    leaves = [f"leaf {number}" for number in range(8) for _ in range(25)]
    alarms = 0
    for _ in range(20):
        answers = ["".join(random_source.choice("01") for _ in leaves) for _ in range(2)]
        alarms += bool(regressions(by_leaf(shares(*answers), leaves)))
    assert alarms <= 2


@pytest.mark.parametrize("truth", [0.70, 0.79, 0.80, 0.90])
def test_clear_verdicts_are_wrong_in_fewer_than_5_of_100_runs(truth):
    """1,000 simulated runs of 100 questions at a threshold of 0.8."""
    random_source = random.Random(2)
    wrong = 0
    for _ in range(1000):
        right = sum(random_source.random() < truth for _ in range(100))
        verdict = clear_verdict(right)
        wrong += verdict.clear and verdict.passed != (truth >= 0.8)
    assert wrong < 50


def clear_verdict(right: int, *, cache={}):  # noqa: B006 - each count of right answers needs to be judged once
    if right not in cache:
        cache[right] = ruled([1.0] * right + [0.0] * (100 - right), 0.8)
    return cache[right]


def test_what_nobody_graded_is_in_no_mean_but_makes_the_verdict_less_clear():
    item = score(shares("0" * 100, "1" * 90 + "?" * 10))
    assert (item.n, item.ungraded, item.tuned) == (100, 10, 1.0)
    assert item.interval.low == pytest.approx(0.826, abs=1e-3)  # as of 90 of 100
    assert item.interval.high == 1.0

    half = {"accuracy": score(shares("0" * 100, "1" * 50 + "?" * 50))}
    verdict = decide(half, 0.8)
    assert (verdict.word, verdict.clear) == ("pass", False)
    assert decide(half, 0.8, require_clear=True).word == "fail"


def test_answers_graded_for_one_model_only_are_not_compared():
    item = score(shares("?0011", "11?11"))
    assert (item.ungraded, item.base, item.tuned) == (2, 0.5, 1.0)
    assert item.difference.value == pytest.approx(1 / 3)
    assert score(shares("?0", "1?")) is None


def test_a_leaf_without_a_single_grade_has_no_score():
    assert list(by_leaf(shares("00", "1?"), ["a", "b"])) == ["a"]


def test_an_unclear_pass_fails_where_clearness_is_required_and_says_why():
    scores = {"accuracy": score(shares("0" * 100, "1" * 82 + "0" * 18))}
    assert decide(scores, 0.8).passed
    verdict = decide(scores, 0.8, require_clear=True)
    assert (verdict.word, verdict.clear) == ("fail", False)
    assert verdict.reasons == [
        "accuracy 0.820 (95% interval 0.733 to 0.883) reaches 0.8, but eval_require_clear asks for more certainty"
    ]


def test_a_failure_names_each_metric_that_is_below():
    scores = {"a": score(shares("00", "11")), "b": score(shares("00", "00"))}
    assert decide(scores, 0.5).reasons == ["b 0.000 (95% interval 0.000 to 0.658) is below 0.5"]
    assert decide(scores, 0.0).reasons == []


def test_a_perplexity_informs_and_a_higher_one_is_worse():
    item = score(grades([1.0, 2.0, 1.5] * 10, [2.0, 3.0, 2.5] * 10, Scale.PERPLEXITY, tokens=[3, 4, 5] * 10))
    assert item.is_worse
    assert item.difference.value > 0
    assert item.difference.p_value < 0.01
    assert decide({"perplexity": item, "f1": score(shares("0", "1"))}, 0.1).rulings.keys() == {"f1"}
    assert regressions({"leaf": item}) == ["leaf"]
