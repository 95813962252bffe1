"""Continuous batching in virtual time.

The model is moved on from event to event, each at its exact moment, whenever it is looked at: O(log n) for a sequence
whatever its length, and a late look changes nothing. No clock is read here: the caller says what time it is.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Blocks
from dataclasses import dataclass
from enum import Enum, auto

from simulator.hardware import Hardware
from simulator.meter import Meter
from simulator.prefix_cache import PrefixCache


class State(Enum):
    WAITING = auto()
    READING = auto()
    WRITING = auto()
    OVER = auto()


@dataclass(eq=False, slots=True, kw_only=True)
class Sequence:
    """One reply in the making. `finished` is called when its last token is there.

    `blocks`: of the prompt, for the prefix cache. Once its reading has begun, `cached`: tokens that need not be read,
    and `unread`: those that have to be yet.
    """

    tokens_to_make: int
    prompt_tokens: int
    finished: Callable[[], None]
    blocks: Blocks = ()
    state: State = State.WAITING
    cached: int = 0
    unread: float | None = None
    written_from: float = 0.0


class Engine:
    def __init__(self, hardware: Hardware, *, now: float) -> None:
        self.hardware = hardware
        self._cache = PrefixCache(blocks=hardware.cache_blocks)
        self.meter = Meter()
        self.waiting: deque[Sequence] = deque()
        self._now = now
        self._reading: deque[Sequence] = deque()
        self._ends: list[tuple[float, int, Sequence]] = []  # by the value of _tokens_each at which each ends
        self._writing = 0
        self._tokens_each = 0.0  # tokens that a sequence would have made by now, had it always been writing
        self._count = 0

    @property
    def active(self) -> int:
        return self._writing + len(self._reading)

    def submit(self, sequence: Sequence, now: float) -> None:
        self.advance(now)
        self.meter.arrived(self._now)
        self.waiting.append(sequence)
        self._admit()

    def cancel(self, sequence: Sequence, now: float) -> None:
        """The client went away: what the sequence held is free at once."""
        self.advance(now)
        if sequence.state is State.READING:
            self._reading.remove(sequence)
        elif sequence.state is State.WRITING:
            self._writing -= 1
            self.meter.waste(self._now, self._tokens_each - sequence.written_from)
        sequence.state = State.OVER
        self._admit()

    def next_event_at(self) -> float | None:
        """When `advance` should be called next, if nothing happens before."""
        if not self.active:
            return None
        return self._now + min(self._seconds_to_events())

    def advance(self, now: float) -> None:
        """Everything that happens until `now`, in order."""
        while self.active:
            until_read, until_written = self._seconds_to_events()
            duration_s = min(until_read, until_written)
            if self._now + duration_s > now:
                self._pass(now - self._now)
                return
            self._pass(duration_s)
            if until_read <= until_written:
                self._write(self._reading.popleft())
            else:
                self._finish()
        self._now = max(self._now, now)

    def _seconds_to_events(self) -> tuple[float, float]:
        """Until the first prompt is read, and until the first sequence is written."""
        while self._ends and self._ends[0][2].state is State.OVER:
            heapq.heappop(self._ends)
        step_s = self._step_s()
        chunks = self._unread_of_first() / self.hardware.chunk if self._reading else math.inf
        tokens = max(0.0, self._ends[0][0] - self._tokens_each) if self._ends else math.inf
        return chunks * step_s, tokens * step_s

    def _unread_of_first(self) -> float:
        """Prompts are read one after the other: what those before it have left in the cache is known by now."""
        first = self._reading[0]
        if first.unread is None:
            first.cached = self._cache.known_tokens(first.blocks)
            first.unread = float(first.prompt_tokens - first.cached)
            self.meter.prompt_tokens += first.prompt_tokens
            self.meter.tokens_read += first.unread
        return first.unread

    def _step_s(self) -> float:
        reading_s = self.hardware.chunk * self.hardware.prefill_s if self._reading else 0.0
        return self.hardware.step_s(self._writing) + reading_s

    def _pass(self, duration_s: float) -> None:
        if duration_s <= 0:
            return
        steps = duration_s / self._step_s()
        self.meter.passed(self._now, duration_s, self.active)
        self._tokens_each += steps
        if self._reading:
            self._reading[0].unread = self._unread_of_first() - steps * self.hardware.chunk
        self._now += duration_s

    def _admit(self) -> None:
        while self.waiting and self.active < self.hardware.slots:
            sequence = self.waiting.popleft()
            if sequence.state is State.OVER:
                continue
            sequence.state = State.READING
            self._reading.append(sequence)
        self.meter.crowd(active=self.active, waiting=len(self.waiting))

    def _write(self, sequence: Sequence) -> None:
        self._cache.remember(sequence.blocks)
        sequence.state = State.WRITING
        sequence.written_from = self._tokens_each
        self._writing += 1
        self._count += 1
        heapq.heappush(self._ends, (self._tokens_each + sequence.tokens_to_make, self._count, sequence))

    def _finish(self) -> None:
        _, _, sequence = heapq.heappop(self._ends)
        sequence.state = State.OVER
        self._writing -= 1
        self.meter.finish(self._now, sequence.tokens_to_make)
        self._admit()
        sequence.finished()
