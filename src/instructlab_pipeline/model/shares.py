"""What is missing of several files, given out to several workers so that few requests bring it and all end together."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from threading import Lock
from typing import NamedTuple

from instructlab_pipeline.model.spans import Span

SMALLEST = 16 << 20  # bytes of a share, unless no more is missing: a request costs a server as much as some megabytes
FIRST = 8 << 20  # of a file
ALIGNED = 1 << 20
LARGEST = 128 << 20  # what comes before its turn is read again, to be hashed, and should not have left memory by then
LONGEST_S = 1.0  # that a share takes, at the rate of the worker's last one: in the end all wait for the slowest


class Held(NamedTuple):
    file: int
    span: Span
    since: float


class Shares:
    """Each share is the front of a gap. A worker goes on where it ended, if it can, so that bytes come in the order in
    which they are hashed; else it takes the largest of the files at which the fewest are at work.

    Shares get smaller as the end comes near, each half of what would be even. The first of a file is small, too:
    servers like Swift hold what is read from a file's start against its digest, which is for us to do.

    Worker 0 takes the files numbered in `first` before all others, while the rest begins to come.
    """

    def __init__(
        self,
        missing: Sequence[Sequence[Span]],
        clock: Callable[[], float] = time.monotonic,
        *,
        first: Collection[int] = (),
    ) -> None:
        self._gaps = {file: list(gaps) for file, gaps in enumerate(missing) if gaps}
        self._held: dict[int, Held] = {}  # by worker
        self._first, self._clock, self._lock = first, clock, Lock()

    def take(self, worker: int) -> tuple[int, Span] | None:
        """The next file and span for `worker`, who is through with the one before; None: nothing is left."""
        with self._lock:
            before, now = self._held.pop(worker, None), self._clock()
            if not self._gaps:
                return None
            file = before.file if before and self._goes_on(before) else max(self._gaps, key=partial(self._need, worker))
            span = self._cut(file, self._size(before, now))
            self._held[worker] = Held(file, span, now)
            return file, span

    def _goes_on(self, held: Held) -> bool:
        return held.file in self._gaps and self._gaps[held.file][0][0] == held.span[1]

    def _need(self, worker: int, file: int) -> tuple[bool, int, int]:
        at_work = sum(held.file == file for held in self._held.values())
        return worker == 0 and file in self._first, -at_work, _length(self._gaps[file])

    def _cut(self, file: int, size: int) -> Span:
        """The front of the file's first gap, with the rest of the gap where that would be too little for a share."""
        (start, end), *others = self._gaps[file]
        cut = start + (size if start else FIRST)
        if cut + SMALLEST > end:
            cut = end
        self._gaps[file] = [(cut, end), *others] if cut < end else others
        if not self._gaps[file]:
            del self._gaps[file]
        return start, cut

    def _size(self, before: Held | None, now: float) -> int:
        even = sum(map(_length, self._gaps.values())) // (len(self._held) + 1)
        size = min(even // 2, LARGEST)
        if before and now > before.since and _length([before.span]) >= FIRST:
            size = min(size, int(_length([before.span]) / (now - before.since) * LONGEST_S))
        return max(size, SMALLEST) // ALIGNED * ALIGNED


def _length(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)
