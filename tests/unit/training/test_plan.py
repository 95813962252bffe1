"""What each step learns and how fast, without a model."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.training.plan import Plan, learning_rate, pack

plans = st.builds(
    Plan,
    num_samples=st.integers(1, 60),
    samples_per_step=st.integers(1, 80),
    epochs=st.integers(1, 3),
    seed=st.integers(-5, 5),
)
BUDGET = 100
sample_lengths = st.lists(st.integers(1, BUDGET), min_size=1, max_size=60)


@given(plans)
def test_every_epoch_passes_over_every_sample_once(plan):
    for epoch in range(plan.epochs):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        assert sorted(itertools.chain(*(plan.samples(step).tolist() for step in steps))) == list(
            range(plan.num_samples)
        )


@given(plans)
def test_only_the_last_step_of_an_epoch_takes_fewer_samples(plan):
    for step in range(plan.total_steps):
        full = len(plan.samples(step)) == plan.samples_per_step
        assert full or plan.ends_epoch(step)


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    def order(seed, samples_per_step, step):
        plan = Plan(num_samples=64, samples_per_step=samples_per_step, epochs=2, seed=seed)
        return plan.samples(step).tolist()

    assert order(1, 64, 0) == order(1, 32, 0) + order(1, 32, 1)
    assert order(1, 64, 0) != order(1, 64, 1)
    assert order(1, 64, 0) != order(2, 64, 0)
    assert order(1, 64, 0) != order(-1, 64, 0)


@given(sample_lengths, st.integers(1, 5))
def test_packs_hold_every_sample_once_within_the_budget(lengths, workers):
    packs = pack(range(len(lengths)), lengths, budget=BUDGET, workers=workers)
    flat = [one for worker in packs for one in worker]
    assert sorted(itertools.chain(*flat)) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in one) <= BUDGET for one in flat)


@given(sample_lengths, st.integers(1, 5))
def test_every_worker_gets_as_many_packs_and_idles_only_for_want_of_samples(lengths, workers):
    packs = pack(range(len(lengths)), lengths, budget=BUDGET, workers=workers)
    assert len(packs) == workers
    assert len({len(worker) for worker in packs}) == 1
    if len(lengths) >= workers and len(packs[0]) == 1:
        assert all(worker[0] for worker in packs)


@given(sample_lengths, st.integers(1, 4))
def test_packs_are_few(lengths, workers):
    rounds = len(pack(range(len(lengths)), lengths, budget=BUDGET, workers=workers)[0])
    fewest = math.ceil(sum(lengths) / BUDGET)
    assert rounds <= math.ceil((11 * fewest / 9 * 2 + 1) / workers)  # first fit decreasing, far from its worst


def test_packs_of_one_round_are_of_like_size():
    packs = pack(range(8), [90, 10, 50, 50, 30, 70, 60, 40], budget=200, workers=2)
    assert sorted(sum([90, 10, 50, 50, 30, 70, 60, 40][i] for i in worker[0]) for worker in packs) == [200, 200]


def test_packing_does_not_depend_on_the_order_it_is_given():
    lengths = dict(enumerate([30, 10, 10, 70, 40, 40]))
    forward = pack([0, 1, 2, 3, 4, 5], [lengths[i] for i in range(6)], budget=BUDGET, workers=2)
    backward = pack([5, 4, 3, 2, 1, 0], [lengths[5 - i] for i in range(6)], budget=BUDGET, workers=2)
    assert forward == backward


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_warms_up_over_a_share_of_the_real_steps(schedule):
    rates = [learning_rate(step, total_steps=40, peak=1.0, warmup_ratio=0.1, schedule=schedule) for step in range(40)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert max(rates) == 1.0
    assert min(rates) > 0


def test_a_constant_rate_stays_and_a_cosine_falls_towards_zero():
    at_end = {
        schedule: learning_rate(999, total_steps=1000, peak=2e-5, warmup_ratio=0.0, schedule=schedule)
        for schedule in ("constant", "cosine")
    }
    assert at_end["constant"] == 2e-5
    assert 0 < at_end["cosine"] < 1e-9


def test_a_single_step_with_warm_up_has_the_whole_rate():
    assert learning_rate(0, total_steps=1, peak=3.0, warmup_ratio=0.05, schedule="cosine") == 3.0
