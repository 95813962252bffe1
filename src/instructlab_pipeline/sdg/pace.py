"""How many calls an endpoint gets at once: as many as allowed, fewer while it pushes back (AIMD)."""

from dataclasses import dataclass

SHRINK = 0.85  # of the limit is left after a push-back: one tenth of a batch too many is not half of it too many


@dataclass(kw_only=True)
class Pace:
    """Times are seconds of one monotonic clock, given by the caller."""

    most: int
    limit: float = 0.0
    in_flight: int = 0
    _shrunk_at: float = float("-inf")
    _quiet_until: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    def has_room(self, now: float) -> bool:
        return self.in_flight < int(self.limit) and now >= self._quiet_until

    def succeeded(self) -> None:
        """One more at once for every round of successes."""
        self.limit = min(float(self.most), self.limit + 1 / self.limit)

    def pushed_back(self, *, sent_at: float, now: float, quiet_s: float) -> None:
        """Fewer at once, but only once for all calls that were sent at the same pace; and none for `quiet_s`."""
        if sent_at > self._shrunk_at:
            self.limit = max(1.0, self.limit * SHRINK)
            self._shrunk_at = now
        self._quiet_until = max(self._quiet_until, now + quiet_s)
