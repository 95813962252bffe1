"""What a client made of the hardware, from the first arrival to the last end."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Meter:
    """Times are the engine's. `timeline`: slot-seconds in each whole second since the first arrival.

    `tokens_read`: of `prompt_tokens`, those that the prefix cache did not know.
    """

    first_arrival: float | None = None
    last_end: float = 0.0
    slot_seconds: float = 0.0
    busy_s: float = 0.0
    tokens_made: float = 0.0
    tokens_wasted: float = 0.0
    prompt_tokens: float = 0.0
    tokens_read: float = 0.0
    finished: int = 0
    most_active: int = 0
    longest_queue: int = 0
    timeline: list[float] = field(default_factory=list)

    @property
    def window_s(self) -> float:
        return 0.0 if self.first_arrival is None else max(0.0, self.last_end - self.first_arrival)

    def arrived(self, now: float) -> None:
        if self.first_arrival is None:
            self.first_arrival = now

    def crowd(self, *, active: int, waiting: int) -> None:
        self.most_active = max(self.most_active, active)
        self.longest_queue = max(self.longest_queue, waiting)

    def passed(self, start: float, duration_s: float, active: int) -> None:
        self.slot_seconds += active * duration_s
        self.busy_s += duration_s
        since = start - (self.first_arrival or 0.0)
        end = since + duration_s
        while since < end:
            second = int(since)
            until = min(end, second + 1.0)
            self.timeline += [0.0] * (second + 1 - len(self.timeline))
            self.timeline[second] += active * (until - since)
            since = until

    def finish(self, now: float, tokens: float) -> None:
        self.finished += 1
        self.tokens_made += tokens
        self.last_end = now

    def waste(self, now: float, tokens: float) -> None:
        """Tokens that were made and reached nobody."""
        self.tokens_made += tokens
        self.tokens_wasted += tokens
        self.last_end = now
