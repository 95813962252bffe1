"""Threads that work side by side, as many as bring more than fewer would."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Protocol

from instructlab_pipeline.model.pace import Pace

LOOK_EVERY_S = 0.2  # at how much has come
CLOSE_EVERY_S = 0.1  # until all who wait for a byte have noticed

Job = Callable[[], None]


class Work(Protocol):
    """What is to be done; `done` counts the bytes of it that have come."""

    @property
    def done(self) -> int: ...

    def next_job(self, worker: int) -> Job | None:
        """What a worker, by number, does next."""
        ...

    def give_up(self) -> None:
        """End what is being done. Called until all have noticed."""
        ...


class Crew:
    def __init__(self, work: Work, pace: Pace) -> None:
        self._work, self._pace = work, pace
        self._workers: dict[int, Future[None]] = {}

    def perform(self) -> None:
        """All that is to be done. The first error, or an interruption, ends everything."""
        with ThreadPoolExecutor(self._pace.most) as pool:
            try:
                self._oversee(pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                while not all(worker.done() for worker in self._workers.values()):
                    self._work.give_up()
                    time.sleep(CLOSE_EVERY_S)
                raise

    def _oversee(self, pool: ThreadPoolExecutor) -> None:
        self._call(pool)
        while self._workers:
            looked_at, done = time.monotonic(), self._work.done
            wait(self._workers.values(), timeout=LOOK_EVERY_S, return_when=FIRST_EXCEPTION)
            self._dismiss()
            if self._workers:
                self._pace.hear((self._work.done - done) / (time.monotonic() - looked_at))
                self._call(pool)

    def _call(self, pool: ThreadPoolExecutor) -> None:
        """Those who are wanted and not at work."""
        for worker in range(self._pace.number):
            if worker not in self._workers:
                self._workers[worker] = pool.submit(self._toil, worker)

    def _dismiss(self) -> None:
        """Those who have ended."""
        for worker, ended in list(self._workers.items()):
            if ended.done():
                ended.result()
                del self._workers[worker]

    def _toil(self, worker: int) -> None:
        while worker < self._pace.number and (job := self._work.next_job(worker)):
            job()
