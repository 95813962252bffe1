"""One pool of calls over all leaves, flows and steps. Nothing waits for anything but its own reply.

Rows queue by priority at the lane of their endpoint. A row whose call the journal knows goes on at once; for others the
scheduler keeps as many calls in flight as the lane's pace allows. A row that meets trouble leaves its slot and queues
again.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.http_client import Answer
from instructlab_pipeline.sdg.calls import REFUSED, Call, Reply
from instructlab_pipeline.sdg.endpoint import Busy, Endpoint, Refused, Unsteady, shown
from instructlab_pipeline.sdg.journal import Journal
from instructlab_pipeline.sdg.pace import Pace
from instructlab_pipeline.sdg.replies import BadReply, read

Row = TypeVar("Row")
Priority = tuple[Any, ...]
QUIET_OVER_S = 0.001  # timers may fire a hair early
LONGEST_PAUSE_S = 5.0  # before a busy endpoint that does not say when to come back is asked again
POISON = Reply(text="the endpoint failed on this call again and again, and on no other", finish=REFUSED)
BREATH = 200  # replies from the journal between two looks at the network


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When to try again, and when to give up.

    `faults`: failures of one call after which it is the row's own, if others succeed meanwhile, else the endpoint's.
    `silence_s`: how long an endpoint may push back without a single success.
    """

    faults: int = 8
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    silence_s: float = 180.0

    def delay_s(self, faults: int) -> float:
        """Doubling, and scattered so that rows that failed together do not return together."""
        return min(self.longest_delay_s, self.first_delay_s * 2.0 ** (faults - 1)) * random.uniform(0.5, 1.0)


@dataclass(kw_only=True)
class Lane:
    """An endpoint, its pace, and the rows that wait for it."""

    endpoint: Endpoint
    pace: Pace
    succeeded_at: float = float("-inf")
    queue: list[tuple[Priority, int, Any]] = field(default_factory=list)


@dataclass(eq=False, kw_only=True, slots=True)
class Ticket(Generic[Row]):
    """A row on its way through one call."""

    row: Row
    role: str
    priority: Priority
    retries: int = 0
    faults: int = 0
    troubled_since: float | None = None


class Settled(NamedTuple):
    """How a call ended: paid for now, or known from the journal or from a twin of it.

    `found`: the fields of the reply, or what is wrong with it.
    """

    reply: Reply
    found: Mapping[str, Any] | BadReply
    reused: bool


class Scheduler(Generic[Row]):
    """`prepare` makes a row's call; `settle` takes its end, and may add further rows before it returns."""

    def __init__(
        self,
        *,
        lanes: Mapping[str, Lane],
        journal: Journal,
        prepare: Callable[[Row], Call],
        settle: Callable[[Row, Call, Settled], None],
        patience: Patience,
    ) -> None:
        self._lanes = lanes
        self._journal = journal
        self._prepare = prepare
        self._settle_row = settle
        self._patience = patience
        self.unsettled = 0
        self._count = 0
        self._twins: dict[str, list[Ticket[Row]]] = {}  # attempt key of a call in flight -> rows that wait for the same
        self._over = asyncio.Event()
        self._failure: Exception | None = None
        self._held_back: list[tuple[str, Reply]] = []  # by key
        self._proven = False

    def add(self, row: Row, *, role: str, priority: Priority) -> None:
        """Lower priorities go first."""
        self.unsettled += 1
        self._enqueue(Ticket(row=row, role=role, priority=priority))

    async def run(self) -> None:
        """Return when every row is settled.

        Raises:
            PipelineError: an endpoint is gone, the disk is full, or `settle` said so; finished calls are kept.
        """
        now = asyncio.get_running_loop().time()
        for lane in self._lanes.values():
            lane.succeeded_at = now
        try:
            self._fill()
            await self._over.wait()
        finally:
            await self._stop()
        if self._failure is not None:
            raise self._failure

    def _enqueue(self, ticket: Ticket[Row]) -> None:
        self._count += 1
        heapq.heappush(self._lanes[ticket.role].queue, (ticket.priority, self._count, ticket))

    def _fill(self) -> None:
        """Start what fits, and see whether all is done. Whoever may have made room calls this."""
        try:
            for _ in range(BREATH):
                lane = next((lane for lane in self._lanes.values() if lane.queue and lane.pace.has_room()), None)
                if lane is None or self._over.is_set():
                    break
                self._start(heapq.heappop(lane.queue)[2], lane)
            else:
                asyncio.get_running_loop().call_soon(self._fill)
        except Exception as error:  # noqa: BLE001 - as in _ended
            self._fail(error)
        if not self.unsettled:
            self._over.set()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._over.set()

    def _start(self, ticket: Ticket[Row], lane: Lane) -> None:
        call = self._prepare(ticket.row)
        known = self._journal.get(call.attempt_key) or self._journal.get(call.key)
        if known is not None:
            self._settle(ticket, call, Settled(reply=known, found=read(known, call.form.schema), reused=True))
        elif call.attempt_key in self._twins:
            self._twins[call.attempt_key].append(ticket)
        else:
            self._twins[call.attempt_key] = []
            number = lane.pace.sent(asyncio.get_running_loop().time())
            lane.endpoint.ask(call, partial(self._ended, ticket, call, lane, number))

    def _ended(self, ticket: Ticket[Row], call: Call, lane: Lane, number: int, outcome: Answer | Exception) -> None:
        try:
            self._take(ticket, call, lane, number, outcome)
        except Exception as error:  # noqa: BLE001 - whatever happens must end the run, not vanish in the event loop
            self._fail(error)
        self._fill()

    def _take(self, ticket: Ticket[Row], call: Call, lane: Lane, number: int, outcome: Answer | Exception) -> None:
        clock = asyncio.get_running_loop().time
        try:
            reply = lane.endpoint.reply(outcome)
        except Refused as refusal:
            reply = Reply(text=str(refusal), finish=REFUSED)
        except Busy as trouble:
            lane.pace.pushed_back(number, clock())
            self._try_again(ticket, call, lane, trouble)
            return
        except Unsteady as trouble:
            lane.pace.failed(number)
            self._try_again(ticket, call, lane, trouble)
            return
        lane.succeeded_at = clock()
        lane.pace.succeeded(number, lane.succeeded_at)
        self._settle_all(ticket, call, self._remembered(call, reply._replace(retries=ticket.retries)))

    def _remembered(self, call: Call, reply: Reply) -> Settled:
        """Keep nothing until one reply could be used: an endpoint that is set up wrongly will be asked again."""
        found = read(reply, call.form.schema)
        is_bad = isinstance(found, BadReply)
        self._held_back.append((call.attempt_key if is_bad else call.key, reply))
        self._proven = self._proven or not is_bad
        if self._proven:
            for key, held_reply in self._held_back:
                self._journal.put(key, held_reply)
            self._held_back.clear()
        return Settled(reply=reply, found=found, reused=False)

    def _try_again(self, ticket: Ticket[Row], call: Call, lane: Lane, trouble: Busy | Unsteady) -> None:
        now = asyncio.get_running_loop().time()
        ticket.retries += 1
        ticket.faults += isinstance(trouble, Unsteady)
        ticket.troubled_since = ticket.troubled_since or now
        if now - max(lane.succeeded_at, ticket.troubled_since) > self._patience.silence_s:
            raise self._gone(lane, trouble)
        if ticket.faults >= self._patience.faults:
            if lane.succeeded_at < ticket.troubled_since:
                raise self._gone(lane, trouble)
            poison = POISON._replace(retries=ticket.retries - 1)
            self._settle_all(ticket, call, Settled(reply=poison, found=read(poison, call.form.schema), reused=False))
            return
        waiting = [ticket, *self._twins.pop(call.attempt_key)]
        leave = lane.pace.waited if isinstance(trouble, Busy) else None
        asyncio.get_running_loop().call_later(self._delay_s(ticket, trouble), self._come_back, waiting, leave)

    def _come_back(self, waiting: Sequence[Ticket[Row]], leave: Callable[[], None] | None) -> None:
        """Rows have waited: `leave` frees the place that was kept for them, before anybody looks for one."""
        if leave is not None:
            leave()
        for ticket in waiting:
            self._enqueue(ticket)
        self._fill()

    def _delay_s(self, ticket: Ticket[Row], trouble: Busy | Unsteady) -> float:
        """What the endpoint asked for; else longer each time, though never long for its being busy."""
        if isinstance(trouble, Unsteady):
            return self._patience.delay_s(ticket.faults)
        if trouble.retry_after_s:
            return trouble.retry_after_s + QUIET_OVER_S
        return min(LONGEST_PAUSE_S, self._patience.delay_s(ticket.retries))

    def _settle_all(self, ticket: Ticket[Row], call: Call, settled: Settled) -> None:
        twins = self._twins.pop(call.attempt_key)
        self._settle(ticket, call, settled)
        for twin in twins:
            self._settle(twin, call, settled._replace(reused=True))

    def _settle(self, ticket: Ticket[Row], call: Call, settled: Settled) -> None:
        self._settle_row(ticket.row, call, settled)
        self.unsettled -= 1

    async def _stop(self) -> None:
        self._over.set()
        for lane in self._lanes.values():
            lane.endpoint.client.stop()
        await self._journal.flush()

    @staticmethod
    def _gone(lane: Lane, trouble: Exception) -> ServiceError:
        endpoint = lane.endpoint
        return ServiceError(
            f"the {endpoint.role} at {shown(endpoint.url)} is gone: {trouble}",
            remedy="bring it back and run the same command again: every finished call is kept",
        )
