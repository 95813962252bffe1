"""The sdg benchmark in virtual time: whole jobs, and no waiting."""

import asyncio
from collections import Counter, defaultdict

from sdg_virtual import LeapingLoop, figures_of_job
from simulator.hardware import Hardware

SAMPLES = 150


def test_an_hour_passes_at_once_on_a_clock_that_leaps():
    async def slept():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        assert 3600 <= runner.run(slept()) < 3601


def test_a_job_takes_the_same_time_whenever_it_is_done_and_tells_where_tokens_went():
    first, again = defaultdict(Counter), defaultdict(Counter)
    figures = [figures_of_job(1, 42, Hardware(), tokens) for tokens in (first, again)]
    assert figures[0] == figures[1]
    assert figures[0]["items"] == SAMPLES + 30
    assert 0 < figures[0]["efficiency"] < 1
    assert first == again
    assert sum(step["calls"] for step in first.values()) == figures[0]["requests"]
    assert 0 < figures[0]["cached"] == round(1 - _sum(first, "read") / _sum(first, "prompt"), 4)


def test_without_a_cache_every_token_is_read():
    tokens = defaultdict(Counter)
    assert figures_of_job(1, 42, Hardware(cache_blocks=0), tokens)["cached"] == 0
    assert _sum(tokens, "read") == _sum(tokens, "prompt")


def _sum(tokens, column):
    return sum(step[column] for step in tokens.values())
