"""Statistics against enumeration, published values and simulation."""

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.evaluation import statistics
from instructlab_pipeline.evaluation.statistics import (
    Interval,
    bootstrap_mean,
    deviation,
    holm,
    mcnemar,
    paired_difference,
    perplexity_difference,
    perplexity_interval,
    samples_for_clear_pass,
    samples_for_clear_share,
    share_for_clear_pass,
    sign_flip,
    smallest_detectable_effect,
    wilson,
)

grades = st.lists(st.floats(0, 1), min_size=1, max_size=12)
shares = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    interval = wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_a_hundred_questions_at_four_fifths_are_known_to_eight_points():
    interval = wilson(80, 100)
    assert interval.high - interval.low == pytest.approx(0.155, abs=0.005)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_defining_equation(case):
    successes, n = case
    share = successes / n
    for bound in (wilson(successes, n).low, wilson(successes, n).high):
        assert 0 <= bound <= 1
        distance = abs(share - bound)
        assert distance == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / n), abs=1e-6)


def test_wilson_covers_the_truth_in_about_95_of_100_samples():
    n, share = 60, 0.8
    covered = sum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k)
        for k in range(n + 1)
        if wilson(k, n).low <= share <= wilson(k, n).high
    )
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("right", "n"), [(15, 16), (80, 100), (3, 7), (10, 10), (0, 10)])
def test_the_bootstrap_of_shares_ends_where_so_many_right_answers_have_a_chance_of_one_in_forty(right, n):
    """Clopper and Pearson's interval, by summing up binomial chances."""

    def chance(truth, counts):
        return sum(math.comb(n, k) * truth**k * (1 - truth) ** (n - k) for k in counts)

    interval = bootstrap_mean([1.0] * right + [0.0] * (n - right))
    assert chance(interval.low, range(right, n + 1)) == pytest.approx(0.025 if right else 1.0, abs=0.008)
    assert chance(interval.high, range(right + 1)) == pytest.approx(0.025 if right < n else 1.0, abs=0.008)


@given(grades)
@settings(max_examples=20, deadline=None)
def test_a_bootstrap_interval_holds_the_mean_and_is_the_same_each_time(values):
    interval = bootstrap_mean(values)
    assert interval.low - 1e-9 <= sum(values) / len(values) <= interval.high + 1e-9
    assert interval == bootstrap_mean(values)


def test_equal_values_are_not_taken_for_certainty():
    assert bootstrap_mean([1.0] * 10).low < 0.8


def test_many_values_are_resampled_in_blocks_of_bounded_memory(monkeypatch):
    values = [float(number % 7 == 0) for number in range(500)]
    whole = bootstrap_mean(values)
    monkeypatch.setattr(statistics, "BLOCK_VALUES", 9_999)
    assert bootstrap_mean(values) == whole


@given(shares)
@settings(deadline=None)
def test_mcnemar_and_the_sign_flip_agree_with_flipping_every_pair(pairs):
    base, tuned = zip(*pairs, strict=True)
    gains = [after - before for before, after in pairs]
    observed = abs(sum(gains))
    flips = list(product((-1, 1), repeat=len(gains)))
    wanted = sum(abs(sum(s * g for s, g in zip(signs, gains, strict=True))) >= observed for signs in flips)
    assert mcnemar(gains.count(-1), gains.count(1)) == pytest.approx(wanted / len(flips))
    assert sign_flip(gains) == pytest.approx(wanted / len(flips))
    assert paired_difference(base, tuned, is_share=True).p_value == pytest.approx(wanted / len(flips))


@pytest.mark.parametrize(("lost", "won", "p_value"), [(0, 0, 1.0), (0, 1, 1.0), (0, 6, 0.03125), (2, 10, 0.0385742)])
def test_mcnemar_gives_the_binomial_tail(lost, won, p_value):
    assert mcnemar(lost, won) == pytest.approx(p_value)


def test_mcnemar_stays_exact_for_thousands_of_items():
    assert 0 < mcnemar(1000, 1500) < 1e-20


def test_the_drawn_sign_flip_comes_near_the_exact_one():
    gains = [0.1, 0.4, -0.2, 0.3, 0.25, 0.6, -0.1, 0.05, 0.2, 0.15, -0.3, 0.35, 0.5, 0.01, -0.02]
    flips = product((-1, 1), repeat=len(gains))
    extreme = sum(abs(sum(s * g for s, g in zip(signs, gains, strict=True))) >= sum(gains) - 1e-9 for signs in flips)
    assert sign_flip(gains) == pytest.approx(extreme / 2 ** len(gains), abs=0.005)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=10))
@settings(max_examples=20, deadline=None)
def test_swapping_the_models_turns_the_difference_round(pairs):
    base, tuned = zip(*pairs, strict=True)
    there = paired_difference(base, tuned, is_share=False)
    back = paired_difference(tuned, base, is_share=False)
    assert there.value == pytest.approx(-back.value)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.interval.low - 1e-9 <= there.value <= there.interval.high + 1e-9


def test_one_question_proves_nothing():
    difference = paired_difference([0.0], [1.0], is_share=False)
    assert difference.p_value == 1.0
    assert difference.interval.low < 0


def test_a_model_that_is_better_by_chance_only_is_rarely_called_better():
    random_source = random.Random(5)
    significant = 0
    for _ in range(1000):
        base = [random_source.random() < 0.5 for _ in range(60)]
        tuned = [random_source.random() < 0.5 for _ in range(60)]
        lost = sum(before and not after for before, after in zip(base, tuned, strict=True))
        won = sum(after and not before for before, after in zip(base, tuned, strict=True))
        significant += mcnemar(lost, won) < 0.05
    assert significant <= 50


def test_the_smallest_detectable_effect_is_found_in_four_of_five_samples():
    n, spread = 200, 0.3
    effect = smallest_detectable_effect(n, deviation=spread)
    generator = np.random.default_rng(1)
    means = generator.normal(effect, spread, size=(2000, n)).mean(axis=1)
    found = float((means > 1.96 * spread / math.sqrt(n)).mean())
    assert found == pytest.approx(0.8, abs=0.03)


def test_the_deviation_is_the_samples_own():
    values = [0.1, 0.4, 0.4, 0.9]
    assert deviation(values) == pytest.approx(float(np.std(values, ddof=1)))
    assert deviation([0.5]) == 0


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_so_many_samples_are_just_enough_for_a_clear_share(share, threshold):
    needed = samples_for_clear_share(share, threshold)
    if needed is None:
        assert abs(share - threshold) < 0.002
    else:
        assert not wilson(share * needed, needed).straddles(threshold)
        assert needed == 1 or wilson(share * (needed - 1), needed - 1).straddles(threshold)


def test_an_interval_straddles_what_lies_inside_it():
    assert Interval(0.7, 0.9).straddles(0.8)
    assert not Interval(0.8, 0.9).straddles(0.8)
    assert Interval(0.7, 0.8).straddles(0.8)
    assert not Interval(0.7, 0.79).straddles(0.8)


def test_holm_multiplies_the_smallest_most():
    adjusted = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.9})
    assert adjusted == pytest.approx({"a": 0.09, "b": 0.04, "c": 0.09, "d": 0.9})
    assert list(adjusted) == ["a", "b", "c", "d"]


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values):
    adjusted = holm(p_values)
    for name, p_value in p_values.items():
        assert p_value <= adjusted[name] <= 1
        for other, its_own in p_values.items():
            if p_value <= its_own:
                assert adjusted[name] <= adjusted[other]


@given(st.floats(0, 0.99))
def test_so_many_faultless_answers_are_just_enough_for_a_clear_pass(threshold):
    needed = samples_for_clear_pass(threshold)
    assert wilson(needed, needed).low >= threshold - 1e-9
    assert needed == 1 or wilson(needed - 1, needed - 1).low < threshold + 1e-9


@given(st.floats(0.01, 0.98))
def test_so_many_faultless_grades_are_just_enough_for_a_clear_mean(threshold):
    needed = samples_for_clear_pass(threshold, is_share=False)
    assert bootstrap_mean([1.0] * needed).low >= threshold - 1e-9
    assert needed == 1 or bootstrap_mean([1.0] * (needed - 1)).low < threshold + 1e-9


def test_sixteen_faultless_answers_pass_four_fifths_clearly_and_none_pass_everything():
    assert samples_for_clear_pass(0.8) == 16
    assert samples_for_clear_pass(1.0) is None


@pytest.mark.parametrize(("n", "threshold"), [(100, 0.8), (30, 0.5), (1000, 0.9)])
def test_the_least_clear_share_is_clear_and_one_answer_less_is_not(n, threshold):
    right = round(share_for_clear_pass(n, threshold) * n)
    assert wilson(right, n).low >= threshold
    assert wilson(right - 1, n).low < threshold


@pytest.mark.parametrize(("n", "threshold"), [(17, 0.8), (100, 0.8), (30, 0.5), (400, 0.95)])
def test_the_least_clear_share_of_a_mean_is_the_least_that_so_few_samples_would_reach(n, threshold):
    def reached(least: int) -> float:
        return sum(math.comb(n, k) * threshold**k * (1 - threshold) ** (n - k) for k in range(least, n + 1))

    right = round(share_for_clear_pass(n, threshold, is_share=False) * n)
    assert reached(right) <= 0.025 < reached(right - 1)


def test_as_many_faultless_grades_as_a_clear_mean_takes_pass_and_one_less_does_not():
    assert share_for_clear_pass(17, 0.8, is_share=False) == 1
    assert share_for_clear_pass(16, 0.8, is_share=False) is None
    assert share_for_clear_pass(5, 0.0, is_share=False) == 0
    assert share_for_clear_pass(5, 1.0, is_share=False) is None


def test_a_hundred_questions_pass_four_fifths_clearly_from_88_on_and_fifteen_never():
    assert share_for_clear_pass(100, 0.8) == 0.88
    assert share_for_clear_pass(15, 0.8) is None


def test_a_perplexitys_interval_is_that_of_its_resampled_items():
    nats, tokens = [0.5, 1.0, 2.0, 0.1], [2, 3, 4, 5]
    every = sorted(
        math.exp(sum(nats[i] * tokens[i] for i in rows) / sum(tokens[i] for i in rows))
        for rows in product(range(4), repeat=4)
    )
    interval = perplexity_interval(nats, tokens)
    assert interval.low == pytest.approx(np.percentile(every, 2.5), abs=0.06)
    assert interval.high == pytest.approx(np.percentile(every, 97.5), abs=0.12)


def test_equal_models_have_equal_perplexities_for_certain():
    difference = perplexity_difference([0.5, 1.0], [0.5, 1.0], [2, 3])
    assert (difference.value, difference.interval, difference.p_value) == (0.0, Interval(0.0, 0.0), 1.0)


def test_a_model_that_is_less_surprised_everywhere_is_significantly_so():
    difference = perplexity_difference([2.0] * 12, [1.0] * 12, list(range(1, 13)))
    assert difference.value == pytest.approx(math.e - math.e**2)
    assert difference.p_value < 0.001
    assert difference.interval.high < 0
