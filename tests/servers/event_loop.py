"""A server's event loop in a thread of its own, which leaves no connection behind when it ends."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

STARTED_WITHIN_S = 120.0

Serve = Callable[[Callable[[], None], asyncio.Event], Awaitable[None]]


@contextlib.contextmanager
def in_thread(serve: Serve) -> Iterator[None]:
    """Run `serve(ready, stop)`: it calls `ready` when it listens, and returns soon after `stop` is set."""
    listening, ended, stops = threading.Event(), threading.Event(), []

    async def live() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        await serve(listening.set, stop)
        await abandon_connections()

    def run() -> None:
        try:
            asyncio.run(live())
        finally:
            ended.set()
            listening.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert listening.wait(STARTED_WITHIN_S)
    assert not ended.is_set(), "the server ended before it listened"
    try:
        yield
    finally:
        stops[0]()
        thread.join()


class Held(set[asyncio.Task[None]]):
    """Tasks that are at work: a loop alone does not keep one whose connection is gone from being collected."""

    @contextlib.contextmanager
    def this(self) -> Iterator[None]:
        task = asyncio.current_task()
        self.add(task)
        try:
            yield
        finally:
            self.discard(task)


async def abandon_connections() -> None:
    """End every other task and connection of this loop, of who was let in a moment ago too.

    What outlives its loop is never closed.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    while True:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for transport in list(asyncio.get_running_loop()._transports.values()):
            transport.abort()
        await asyncio.sleep(0.01)  # an aborted connection is closed in the loop's next turn
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
