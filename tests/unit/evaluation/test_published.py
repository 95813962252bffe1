"""The tuned model against the one that is published."""

import random

import pytest

from instructlab_pipeline.evaluation.metrics import Scale
from instructlab_pipeline.evaluation.published import compared_to_published
from instructlab_pipeline.evaluation.statistics import wilson
from instructlab_pipeline.evaluation.verdict import Grades, score


def published(right: int, of: int) -> dict:
    interval = wilson(right, of)
    return {"metrics": {"accuracy": {"base": 0.1, "tuned": right / of, "interval": [interval.low, interval.high]}}}


def scores(right: int, of: int = 100) -> dict:
    tuned = [1.0] * right + [0.0] * (of - right)
    items = [str(number) for number in range(of)]
    return {"accuracy": score(Grades(items=items, base=[0.0] * of, tuned=tuned, scale=Scale.SHARE))}


@pytest.mark.parametrize(
    ("before", "now", "worse"), [(90, 70, True), (90, 85, False), (70, 90, False), (80, 80, False)]
)
def test_only_a_significant_loss_is_called_worse(before, now, worse):
    told = compared_to_published(published(before, 100), scores(now))["accuracy"]
    assert told["worse"] is worse
    assert told["difference"] == pytest.approx((now - before) / 100)


def test_a_metric_that_only_one_of_them_knows_is_left_out():
    assert compared_to_published({"metrics": {"f1": {"tuned": 0.5, "interval": [0.4, 0.6]}}}, scores(90)) == {}
    assert compared_to_published({}, scores(90)) == {}


def test_equal_models_on_different_questions_rarely_raise_an_alarm():
    """1,000 simulated releases of a model that is right in 4 of 5 cases."""
    draw = random.Random(4)
    counts = [
        (sum(draw.random() < 0.8 for _ in range(100)), sum(draw.random() < 0.8 for _ in range(100)))
        for _ in range(1000)
    ]
    cache: dict[int, dict] = {}
    alarms = 0
    for before, now in counts:
        if now not in cache:
            cache[now] = scores(now)
        alarms += compared_to_published(published(before, 100), cache[now])["accuracy"]["worse"]
    assert alarms <= 40  # 2.5% are promised on this side


def test_a_perplexity_that_rose_is_worse():
    grades = Grades(
        items=["a", "b", "c"], base=[1.0] * 3, tuned=[2.0, 2.1, 1.9], scale=Scale.PERPLEXITY, tokens=[5, 5, 5]
    )
    before = {"metrics": {"perplexity": {"tuned": 2.0, "interval": [1.9, 2.1]}}}
    assert compared_to_published(before, {"perplexity": score(grades)})["perplexity"]["worse"] is True
