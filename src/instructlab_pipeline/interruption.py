"""An event loop that Ctrl-C and SIGTERM end in good order: as a cancellation, where the work next waits.

What a signal's handler raises strikes wherever the loop happens to be: in a library's task or callback, which swallows
it, so that the work goes on, or tells it at the very end as an error that nobody took.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run`, where the signals that raise an exception elsewhere cancel the work.

    It must not keep the loop from turning for long. Outside of the main thread, which gets no signals, nothing differs.

    Raises:
        KeyboardInterrupt: one of them came, and everything is put away.
    """
    came: list[int] = []
    try:
        return asyncio.run(_cancelled_by_signals(work, came))
    except asyncio.CancelledError:
        if came:
            raise KeyboardInterrupt from None
        raise


async def _cancelled_by_signals(work: Coroutine[Any, Any, Result], came: list[int]) -> Result:
    task = asyncio.current_task()
    assert task is not None

    def cancel(number: int) -> None:
        came.append(number)
        task.cancel()

    with _handled_by(cancel):
        return await work


@contextmanager
def _handled_by(handler: Callable[[int], None]) -> Iterator[None]:
    """Those signals alone that have a handler in Python, which gets them back afterwards."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS if in_main and callable(signal.getsignal(number))}
    loop = asyncio.get_running_loop()
    try:
        for number in before:
            loop.add_signal_handler(number, handler, number)
        yield
    finally:
        for number, usual in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, usual)
