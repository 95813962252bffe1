"""From numbers to places on a picture: linear scales, and ticks at numbers that people like."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps `low..high` to `start..end`, in pixels; a domain without width maps to `start`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        width = self.high - self.low
        share = (value - self.low) / width if width else 0.0
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most `most + 1` of them."""
    if not high > low:
        return [low]
    step = _nice((high - low) / most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _nice(step: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= step * (1 - 1e-9))


def thinned(points: Sequence[tuple[float, float]], *, most: int) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of its neighbours, so that a spike still shows and no file grows huge."""
    if len(points) <= most:
        return list(points)
    bounds = [round(number * len(points) / most) for number in range(most + 1)]
    groups = [points[start:end] for start, end in itertools.pairwise(bounds)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
