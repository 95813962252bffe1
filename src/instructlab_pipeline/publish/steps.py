"""Long work in threads that an interruption can end: a generator is advanced a few steps at a time."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

STEPS_AT_ONCE = 16


async def in_steps(work: Generator[None, None, Result]) -> Result:
    """What `work` returns in the end; cancelling takes effect between steps."""
    result: list[Result] = []
    while not result:
        result = await asyncio.to_thread(_advance, work)
    return result[0]


def _advance(work: Generator[None, None, Result]) -> list[Result]:
    """Nothing while there is more to do, then the result."""
    for _ in range(STEPS_AT_ONCE):
        try:
            next(work)
        except StopIteration as end:
            return [end.value]
    return []
