"""Which bytes of a file are there."""

from bisect import bisect_right

Span = tuple[int, int]  # start and end, in bytes


class Spans:
    """A set of positions, as spans in order that neither touch nor overlap."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, start: int, end: int) -> None:
        apart = [span for span in self._spans if span[1] < start or end < span[0]]
        touched = [span for span in self._spans if not (span[1] < start or end < span[0])]
        merged = (min([start, *(span[0] for span in touched)]), max([end, *(span[1] for span in touched)]))
        self._spans = sorted([*apart, merged])

    def reach(self, position: int) -> int:
        """How far everything is there from `position` on; `position` itself where nothing is."""
        index = bisect_right(self._spans, (position, float("inf"))) - 1
        return max(position, self._spans[index][1]) if index >= 0 else position

    def missing(self, size: int) -> list[Span]:
        """What is not there below `size`."""
        found: list[Span] = []
        start = self.reach(0)
        while start < size:
            following = [span[0] for span in self._spans if span[0] > start]
            end = min([size, *following])
            found.append((start, end))
            start = self.reach(end)
        return found
