"""How many calls an endpoint gets at once: as many as allowed, fewer while it pushes back.

Additive increase, multiplicative decrease, by how much of the traffic is pushed back (as DCTCP, RFC 8257, does it): an
endpoint that turns away every second call is overloaded, one that turns away every fiftieth has its own reasons.
"""

from dataclasses import dataclass

SHORTEST_MEMORY = 16  # calls; the share of those pushed back is averaged over the last round or so
OVERLOADED = 0.5  # share of calls pushed back from which on everybody keeps quiet


@dataclass(kw_only=True)
class Pace:
    """Times are seconds of one monotonic clock, given by the caller. `most`: what the limit never exceeds."""

    most: int
    in_flight: int = 0
    limit: float = 0.0
    _share: float = 0.0
    _shrunk_at: float = float("-inf")
    _succeeded_since: bool = True
    _quiet_until: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = float(self.most)
        self._memory = max(SHORTEST_MEMORY, self.most)

    def has_room(self, now: float) -> bool:
        return self.in_flight < int(self.limit) and now >= self._quiet_until

    def succeeded(self) -> None:
        """One more at once for every round of successes."""
        self._share -= self._share / self._memory
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._succeeded_since = True

    def pushed_back(self, *, sent_at: float, now: float, quiet_s: float) -> None:
        """Fewer at once; and where most calls are pushed back, none for `quiet_s`.

        Calls that were sent at the same pace count once; and an endpoint that answers nothing at all says nothing about
        how many calls it can take.
        """
        self._share += (1 - self._share) / self._memory
        if sent_at > self._shrunk_at and self._succeeded_since:
            self.limit = max(1.0, self.limit * (1 - self._share / 2))
            self._shrunk_at = now
            self._succeeded_since = False
        if self._share > OVERLOADED:
            self._quiet_until = max(self._quiet_until, now + quiet_s)
