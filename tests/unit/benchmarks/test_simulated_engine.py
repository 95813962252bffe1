"""The simulated hardware, in a time that the tests make up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator.engine import Engine, Sequence
from simulator.hardware import Hardware
from simulator.prefix_cache import BLOCK_TOKENS, PrefixCache, blocks_of

HARDWARE = Hardware(slots=4, step_ms=100.0, step_slope_ms=10.0, prefill_us=0.0)


def efficiency(engine):
    meter = engine.meter
    ideal_s = engine.hardware.ideal_s(tokens_made=meter.tokens_made, tokens_read=meter.tokens_read)
    return ideal_s / meter.window_s


def submitted(engine, lengths, ended, *, prompt_tokens=0, blocks=(), now=0.0):
    sequences = [
        Sequence(
            tokens_to_make=length,
            prompt_tokens=prompt_tokens,
            blocks=blocks,
            finished=lambda number=number: ended.append(number),
        )
        for number, length in enumerate(lengths)
    ]
    for sequence in sequences:
        engine.submit(sequence, now)
    return sequences


def test_full_slots_are_perfectly_efficient():
    engine, ended = Engine(HARDWARE, now=0.0), []
    submitted(engine, [10] * 8, ended)
    engine.advance(100.0)
    assert sorted(ended) == list(range(8))
    assert engine.meter.window_s == pytest.approx(2 * 10 * 0.130)
    assert efficiency(engine) == pytest.approx(1.0)


def test_one_sequence_alone_uses_a_fraction_of_the_hardware():
    engine = Engine(HARDWARE, now=0.0)
    submitted(engine, [10], [])
    engine.advance(100.0)
    assert engine.meter.window_s == pytest.approx(10 * 0.100)
    assert efficiency(engine) == pytest.approx((10 * 0.130 / 4) / (10 * 0.100))
    assert engine.meter.slot_seconds == pytest.approx(1.0)


def test_time_between_two_requests_is_lost():
    engine = Engine(HARDWARE, now=0.0)
    submitted(engine, [10] * 4, [])
    submitted(engine, [10] * 4, [], now=2.6)
    engine.advance(100.0)
    assert engine.meter.window_s == pytest.approx(2.6 + 1.3)
    assert engine.meter.busy_s == pytest.approx(2.6)
    assert efficiency(engine) == pytest.approx(2 / 3)


def test_reading_prompts_takes_its_time_beside_writing():
    hardware = Hardware(slots=2, step_ms=100.0, step_slope_ms=0.0, prefill_us=1000.0, chunk=100)
    engine = Engine(hardware, now=0.0)
    submitted(engine, [10], [], prompt_tokens=200)
    engine.advance(100.0)
    assert engine.meter.window_s == pytest.approx(2 * (0.100 + 0.100) + 10 * 0.100)


def test_who_goes_away_frees_the_slot_at_once():
    engine, ended = Engine(HARDWARE, now=0.0), []
    first, *_ = submitted(engine, [1000, 1000, 1000, 1000, 10], ended)
    engine.cancel(first, now=1.3)
    assert engine.active == 4
    assert engine.meter.tokens_wasted == pytest.approx(10)
    engine.advance(1.3 + 1.3 + 1e-6)
    assert ended == [4]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.lists(st.floats(0.0, 10.0), max_size=20))
def test_how_often_one_looks_changes_nothing(lengths, looks):
    looked_at, left_alone = Engine(HARDWARE, now=0.0), Engine(HARDWARE, now=0.0)
    orders = [], []
    for engine, order in zip((looked_at, left_alone), orders, strict=True):
        submitted(engine, lengths, order)
    for moment in sorted(looks):
        looked_at.advance(moment)
    for engine in (looked_at, left_alone):
        engine.advance(1000.0)
    assert orders[0] == orders[1]
    assert looked_at.meter.window_s == pytest.approx(left_alone.meter.window_s)
    assert 0 < efficiency(left_alone) <= 1 + 1e-9


READER = Hardware(slots=2, step_ms=100.0, step_slope_ms=0.0, prefill_us=1000.0, chunk=100, cache_blocks=4)


def test_prompts_share_the_blocks_of_their_common_beginning_and_no_others():
    beginning = "a" * 64 + "b" * 64
    first, second = blocks_of(beginning + "c" * 80), blocks_of(beginning + "d" * 80)
    assert len(first) == len(second) == 3
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    assert blocks_of("x" + beginning) != first[:2]


def test_the_last_token_of_a_prompt_is_always_read():
    assert len(blocks_of("a" * 64)) == 0
    assert len(blocks_of("a" * 68)) == 1


def test_the_block_that_was_of_use_longest_ago_makes_room():
    cache = PrefixCache(blocks=3)
    cache.remember([1, 2])
    cache.remember([3])
    cache.remember([1, 2])
    cache.remember([4])
    assert cache.known_tokens([3]) == 0
    assert cache.known_tokens([1, 2]) == 2 * BLOCK_TOKENS
    assert cache.known_tokens([4, 1]) == 2 * BLOCK_TOKENS
    assert cache.known_tokens([5, 1]) == 0


def test_without_a_cache_every_prompt_is_read():
    cache = PrefixCache(blocks=0)
    cache.remember([1])
    assert cache.known_tokens([1]) == 0


def test_a_prompt_that_was_read_before_is_not_read_again_even_by_one_that_came_before_it_was_read():
    engine = Engine(READER, now=0.0)
    submitted(engine, [1, 1], [], prompt_tokens=60, blocks=[1, 2, 3])
    engine.advance(100.0)
    assert engine.meter.prompt_tokens == 120
    assert engine.meter.tokens_read == 60 + (60 - 3 * BLOCK_TOKENS)


def test_a_prompt_whose_reading_was_broken_off_is_known_to_nobody():
    engine = Engine(READER, now=0.0)
    first, _ = submitted(engine, [1, 1], [], prompt_tokens=60, blocks=[1, 2, 3])
    engine.cancel(first, now=0.05)
    engine.advance(100.0)
    assert engine.meter.tokens_read == 120
