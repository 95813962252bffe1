"""What is missing of several files, given out to several workers so that few requests bring it and all end together."""

from collections.abc import Sequence
from threading import Lock

from instructlab_pipeline.model.spans import Span

SMALLEST = 16 << 20  # bytes of a share, unless no more is missing: a request costs a server as much as some megabytes
FIRST = 8 << 20  # of a file
ALIGNED = 1 << 20
LARGEST = 128 << 20  # what comes before its turn is read again, to be hashed, and should not have left memory by then


class Shares:
    """Each share is the front of a gap. A worker goes on where it ended, if it can, so that bytes come in the order in
    which they are hashed; else it takes the largest of the files at which the fewest are at work.

    Shares get smaller as the end comes near, each half of what would be even. The first of a file is small, too:
    servers like Swift hold what is read from a file's start against its digest, which is for us to do.
    """

    def __init__(self, missing: Sequence[Sequence[Span]]) -> None:
        self._gaps = {file: list(gaps) for file, gaps in enumerate(missing) if gaps}
        self._held: dict[int, tuple[int, Span]] = {}
        self._lock = Lock()

    def take(self, worker: int) -> tuple[int, Span] | None:
        """The next file and span for `worker`, who is through with the one before; None: nothing is left."""
        with self._lock:
            before = self._held.pop(worker, None)
            if not self._gaps:
                return None
            file = before[0] if before and self._goes_on(*before) else max(self._gaps, key=self._need)
            self._held[worker] = file, self._cut(file)
            return self._held[worker]

    def _goes_on(self, file: int, span: Span) -> bool:
        return file in self._gaps and self._gaps[file][0][0] == span[1]

    def _need(self, file: int) -> tuple[int, int]:
        at_work = sum(held == file for held, _ in self._held.values())
        return -at_work, _length(self._gaps[file])

    def _cut(self, file: int) -> Span:
        """The front of the file's first gap, with the rest of the gap where that would be too little for a share."""
        (start, end), *others = self._gaps[file]
        cut = start + (self._size() if start else FIRST)
        if cut + SMALLEST > end:
            cut = end
        self._gaps[file] = [(cut, end), *others] if cut < end else others
        if not self._gaps[file]:
            del self._gaps[file]
        return start, cut

    def _size(self) -> int:
        even = sum(map(_length, self._gaps.values())) // (len(self._held) + 1)
        return max(min(even // 2, LARGEST), SMALLEST) // ALIGNED * ALIGNED


def _length(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)
