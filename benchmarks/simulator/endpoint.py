"""An OpenAI-compatible endpoint on the simulated hardware: from a request's bytes to the moment of its answer."""

import json
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from simulator.engine import Engine, Sequence
from simulator.faults import Fault, Faults
from simulator.hardware import Hardware
from simulator.prefix_cache import blocks_of
from simulator.replies import Manner, Text, reply_to, tokens_in
from simulator.request import Request, read
from simulator.statistics import statistics

RETRY_AFTER_S = 1
_GARBAGE = "\u2588#%$ lorem ]]} "
_STATUS: dict[Fault | None, int] = {Fault.BUSY: 429, Fault.SERVER_ERROR: 500}
_SENT: dict[Fault | None, float] = {Fault.DISCONNECT: 0.0, Fault.CUT: 0.5}
_REFUSALS = {"429": "too many requests wait", "500": "something broke", "503": "the service is down"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`sent`: the share of the body that is put on the wire before the connection ends; 1 means all, and it stays."""

    status: int
    record: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    sent: float = 1.0


Respond = Callable[[Answer], None]


class Endpoint:
    def __init__(self, hardware: Hardware, manner: Manner, faults: Faults, *, loop: AbstractEventLoop) -> None:
        self.manner = manner
        self._faults = faults
        self._loop = loop
        self._timer: TimerHandle | None = None
        self.engine = Engine(hardware, now=loop.time())
        self.seen: Counter[bytes] = Counter()
        self.counts: Counter[str] = Counter()

    def statistics(self) -> dict[str, Any]:
        self.engine.advance(self._loop.time())
        return statistics(self.engine, self._faults, counts=self.counts, seen=self.seen)

    def complete(self, body: bytes, respond: Respond) -> Sequence | None:
        """Call `respond` when the answer is there, perhaps at once. A sequence is given back if it can be withdrawn."""
        self.counts["requests"] += 1
        try:
            request = read(body, longest=self.manner.longest_reply)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            respond(_refusal(400, f"this is not a chat completion: {error!r}"))
            return None
        self.seen[request.digest] += 1
        draw = Random(request.digest + b"%d" % self.seen[request.digest])
        status, fault = self._trouble(draw)
        self._count(status, fault)
        if status is not None:
            respond(_refusal(status, _REFUSALS[str(status)]))
            return None
        if fault is Fault.HANG:
            return None
        return self._submit(request, fault, draw, respond)

    def withdraw(self, sequence: Sequence) -> None:
        """The client went away."""
        self.counts["withdrawn"] += 1
        self.engine.cancel(sequence, self._loop.time())
        self._arm()

    def _trouble(self, draw: Random) -> tuple[int | None, Fault | None]:
        """A status to refuse with, or what else goes wrong."""
        now = self._loop.time()
        first = self.engine.meter.first_arrival
        if first is not None and self._faults.is_outage(now - first):
            return 503, None
        if self._faults.longest_queue and len(self.engine.waiting) >= self._faults.longest_queue:
            return 429, None
        fault = self._faults.drawn(draw)
        return _STATUS.get(fault), fault

    def _count(self, status: int | None, fault: Fault | None) -> None:
        if fault is not None:
            self.counts[fault] += 1
        elif status is not None:
            self.counts["outage" if status == 503 else "queue full"] += 1

    def _submit(self, request: Request, fault: Fault | None, draw: Random, respond: Respond) -> Sequence:
        text = _spoilt(reply_to(request, self.manner), fault)
        prompt_tokens = tokens_in(request.prompt)
        sequence = Sequence(
            tokens_to_make=self._tokens_to_make(request, text, fault, draw),
            prompt_tokens=prompt_tokens,
            blocks=blocks_of(request.prompt),
            finished=partial(self._finish, request, text, prompt_tokens, fault, respond),
        )
        self.engine.submit(sequence, self._loop.time())
        self._arm()
        return sequence

    def _tokens_to_make(self, request: Request, text: Text, fault: Fault | None, draw: Random) -> int:
        if fault is Fault.STRAGGLER:
            return min(text.num_tokens * self._faults.straggler_factor, request.max_tokens)
        if fault is Fault.DISCONNECT:
            return max(1, int(text.num_tokens * draw.random()))
        return text.num_tokens

    def _finish(self, request: Request, text: Text, prompt_tokens: int, fault: Fault | None, respond: Respond) -> None:
        self.counts["answered"] += 1
        record = _completion(request, text, prompt_tokens)
        respond(Answer(status=200, record=record, sent=_SENT.get(fault, 1.0)))

    def _arm(self) -> None:
        """A timer for the next event; one that is set for an earlier moment may stay, it sets another one."""
        due = self.engine.next_event_at()
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.engine.advance(self._loop.time())
        self._arm()


def _refusal(status: int, message: str) -> Answer:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    return Answer(status=status, record={"error": {"message": message, "type": "simulated"}}, headers=headers)


def _spoilt(text: Text, fault: Fault | None) -> Text:
    if fault is Fault.GARBAGE:
        return Text(content=_GARBAGE * max(1, text.num_tokens // len(_GARBAGE)), finish="stop")
    if fault is Fault.TRUNCATED:
        return Text(content=text.content[: len(text.content) // 2], finish="stop")
    if fault is Fault.EMPTY:
        return Text(content="", finish="stop")
    return text


def _completion(request: Request, text: Text, prompt_tokens: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": text.content}
    return {
        "id": f"chatcmpl-{request.digest.hex()}",
        "object": "chat.completion",
        "created": 0,
        "model": request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": text.finish}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": text.num_tokens,
            "total_tokens": prompt_tokens + text.num_tokens,
        },
    }


def dumped(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()
