"""How many calls an endpoint gets at once: as many as allowed, fewer while it pushes back.

Additive increase, multiplicative decrease, as in TCP. The height of the last push-back is remembered: near it the limit
grows slowly, since each probe beyond it costs a pause, elsewhere by one for every round of successes.
"""

from dataclasses import dataclass

SHRINK = 0.85  # of the limit is left after a push-back: one call in ten too many is not half of them too many
CAUTION = 0.05  # of the usual growth, within one call of the last push-back


@dataclass(kw_only=True)
class Pace:
    """Times are seconds of one monotonic clock, given by the caller. `most`: what the limit never exceeds."""

    most: int
    in_flight: int = 0
    limit: float = 0.0
    _pushed_back_at: float = float("inf")  # the limit then
    _shrunk_at: float = float("-inf")
    _succeeded_since: bool = True
    _quiet_until: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    def has_room(self, now: float) -> bool:
        return self.in_flight < int(self.limit) and now >= self._quiet_until

    def succeeded(self) -> None:
        growth = CAUTION if abs(self.limit - self._pushed_back_at) < 1 else 1.0
        self.limit = min(float(self.most), self.limit + growth / self.limit)
        self._succeeded_since = True

    def pushed_back(self, *, sent_at: float, now: float, quiet_s: float) -> None:
        """Fewer at once, and none for `quiet_s`.

        Calls that were sent at the same pace count once; and an endpoint that answers nothing at all says nothing about
        how many calls it can take.
        """
        if sent_at > self._shrunk_at and self._succeeded_since:
            self._pushed_back_at = self.limit
            self.limit = max(1.0, self.limit * SHRINK)
            self._shrunk_at = now
            self._succeeded_since = False
        self._quiet_until = max(self._quiet_until, now + quiet_s)
