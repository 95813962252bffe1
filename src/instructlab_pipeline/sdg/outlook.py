"""How far generation is and how long it will take, in calls: samples come late and in bursts, calls come evenly.

For leaves under way the flow's forecast is taken, corrected by how the forecasts of finished leaves turned out.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from instructlab_pipeline.sdg.forecast import calls_of_flow
from instructlab_pipeline.sdg.leaf_run import LeafRun

RATE_MEMORY_S = 30.0  # over which the rate of calls is averaged
LOOK_INTERVAL_S = 0.5


@dataclass(kw_only=True)
class Outlook:
    """Times are seconds of one monotonic clock, given by the caller. Leaves go by their order."""

    started: float
    _forecasts: dict[int, int] = field(default_factory=dict)
    _settled: Counter[int] = field(default_factory=Counter)
    _over: set[int] = field(default_factory=set)
    _paid: int = 0
    _rate: float = 0.0
    _looked_at: float = field(init=False)
    _paid_then: int = 0

    def __post_init__(self) -> None:
        self._looked_at = self.started

    def expect(self, runs: Iterable[LeafRun]) -> None:
        for run in runs:
            self._forecasts[run.order] = calls_of_flow(run.flow, run.quota.training + run.quota.evaluation)

    def settled(self, order: int, *, reused: bool) -> None:
        self._settled[order] += 1
        self._paid += not reused

    def over(self, order: int) -> None:
        self._over.add(order)

    def is_due(self, now: float) -> bool:
        """Whether it is time to say how things stand; the rate is brought up to date then."""
        elapsed = now - self._looked_at
        if elapsed < LOOK_INTERVAL_S:
            return False
        rate = (self._paid - self._paid_then) / elapsed
        weight = elapsed / min(RATE_MEMORY_S, max(now - self.started, elapsed))
        self._rate += (rate - self._rate) * min(1.0, weight)
        self._looked_at, self._paid_then = now, self._paid
        return True

    @property
    def calls_per_s(self) -> float:
        return self._rate

    @property
    def left_s(self) -> float | None:
        """None while nothing is known."""
        return self.calls_left / self._rate if self._rate > 0 else None

    @property
    def calls_left(self) -> float:
        turned_out = sum(self._settled[order] for order in self._over)
        foreseen = sum(self._forecasts[order] for order in self._over)
        factor = turned_out / foreseen if foreseen else 1.0
        return sum(
            max(factor * calls - self._settled[order], 1.0)
            for order, calls in self._forecasts.items()
            if order not in self._over
        )
