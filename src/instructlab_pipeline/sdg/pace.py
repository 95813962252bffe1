"""How many calls an endpoint gets at once: as many as allowed, fewer while it pushes back.

A call that was pushed back keeps its place while it waits as it was told to. So what is turned away is at most one call
for each place and wait, and whatever is not turned away stays busy. On top of that the number of places goes down by
half the share of those that wait (multiplicative decrease as DCTCP has it, RFC 8257), and up by one for each round of
successes. An endpoint that turns all calls away and works on none is out: that says nothing about how many it can take.
"""

from dataclasses import dataclass, field

OUT = 0.25  # of the usual time of a call: an endpoint that has had no call for longer than that is out
MEMORY = 64  # calls that the usual time is averaged over, roughly


@dataclass(kw_only=True)
class Pace:
    """Times are seconds of one monotonic clock, given by the caller. `most`: what the limit never exceeds."""

    most: int
    limit: float = 0.0
    _count: int = 0
    _in_flight: dict[int, float] = field(default_factory=dict)  # when each was sent, in that order
    _waiting: int = 0
    _shrunk_at: float = float("-inf")
    _succeeded_since: bool = True
    _usual_s: float = 0.0

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    @property
    def taken(self) -> int:
        """Places of calls that are in flight, or wait as they were told to."""
        return len(self._in_flight) + self._waiting

    def has_room(self) -> bool:
        return self.taken < int(self.limit)

    def sent(self, now: float) -> int:
        """Take a place for a call, and give it a number."""
        self._count += 1
        self._in_flight[self._count] = now
        return self._count

    def succeeded(self, number: int, now: float) -> None:
        sent_at = self._in_flight.pop(number)
        self._usual_s += (now - sent_at - self._usual_s) / (MEMORY if self._usual_s else 1)
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._succeeded_since = self._succeeded_since or sent_at >= self._shrunk_at

    def failed(self, number: int) -> None:
        """A fault of the endpoint or of the way to it: no word about how much it can take."""
        del self._in_flight[number]

    def pushed_back(self, number: int, now: float) -> None:
        """Fewer at once, but once only for calls that were sent at the same pace. The place stays taken."""
        sent_at = self._in_flight.pop(number)
        self._waiting += 1
        if self._succeeded_since and sent_at >= self._shrunk_at and not self._is_out(now):
            self.limit = max(1.0, self.limit * (1 - self._waiting / self.taken / 2))
            self._shrunk_at = now
            self._succeeded_since = False

    def waited(self) -> None:
        """A call that was pushed back has waited long enough: its place is free."""
        self._waiting -= 1

    def _is_out(self, now: float) -> bool:
        oldest = next(iter(self._in_flight.values()), now)
        return now - oldest < OUT * self._usual_s
