"""One leaf's way to its quotas, in rounds: plan, let the rows come back, select, and plan again for what is missing.

Only the rounds of one leaf wait for each other. What a round plans depends on the whole rounds before it and on nothing
else, which is why neither the order of replies nor a crash can change the result.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from instructlab_pipeline.sdg.flows import Flow
from instructlab_pipeline.sdg.leaves import Leaf
from instructlab_pipeline.sdg.plan import Planner, scattered
from instructlab_pipeline.sdg.rows import EVALUATION, TRAINING, Ask, Rejected, Row
from instructlab_pipeline.sdg.scheduler import Settled
from instructlab_pipeline.sdg.selection import Quota, Selection, select


@dataclass(kw_only=True)
class Tally:
    """Calls of one leaf: made now or known before; tokens as the endpoints counted them, of both."""

    made: int = 0
    reused: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def count(self, settled: Settled) -> None:
        self.made += not settled.reused
        self.reused += settled.reused
        self.retries += settled.retries
        self.tokens_in += settled.reply.tokens_in
        self.tokens_out += settled.reply.tokens_out


@dataclass(kw_only=True)
class LeafRun:
    """`order`: the leaf's place among all. `rows_out`: its rows on their way; the round ends when there are none.

    `most_rounds` counts rounds that fell short by quality. One that found out where there is no more to get counts as
    none: the need only moves on to other chunks and forms, of which there are finitely many.

    `demands`: the quotas to meet, one after the other. A leaf that lost samples to other leaves is asked for more in a
    further one, so that all that it was asked before stays as it was.
    """

    order: int
    leaf: Leaf
    flow: Flow
    demands: Sequence[Quota]
    most_rounds: int
    planner: Planner
    quota: Quota = field(init=False)
    rows_out: int = 0
    tally: Tally = field(default_factory=Tally)
    selection: Selection = field(default_factory=Selection)
    kept: Counter[str] = field(default_factory=Counter)  # by stream: passed, not yet compared with each other
    _round: int = 0
    _waiting: deque[Quota] = field(init=False)
    _rounds_left: int = field(init=False)
    _found_an_end: bool = False  # in this round: a chunk or task that has no more to give
    _finished: list[Row] = field(default_factory=list)
    _rejected: list[Rejected] = field(default_factory=list)
    _fruitful: Counter[str] = field(default_factory=Counter)  # by stream: planned calls that gave items

    def __post_init__(self) -> None:
        self._waiting = deque(self.demands)
        self._face_next_demand()

    @property
    def rejected(self) -> list[Rejected]:
        return sorted([*self._rejected, *self.selection.rejected], key=lambda rejected: rejected.row.place)

    def next_round(self) -> list[Row]:
        """The planned calls of the next round; none when the quotas are met, or nothing more can be done for them."""
        rows = self._planned_rows()
        while not rows and self._waiting:
            self._face_next_demand()
            rows = self._planned_rows()
        return rows

    def _face_next_demand(self) -> None:
        self.quota = self._waiting.popleft()
        self._rounds_left = self.most_rounds

    def _planned_rows(self) -> list[Row]:
        self.selection = select(self._finished, self.quota, kind=self.leaf.kind)
        self.kept = Counter({EVALUATION: len(self.selection.evaluation), TRAINING: len(self.selection.training)})
        self._rounds_left -= not self._found_an_end
        self._found_an_end = False
        if self._rounds_left < 0:
            return []
        asks = [*self._plan(EVALUATION), *self._plan(TRAINING)]
        rows = [Row(place=(self._round, index), ask=ask) for index, ask in enumerate(asks)]
        self._fruitful.update(ask.stream for ask in asks)
        self._round += 1
        return rows

    def take(self, outcome: Row | Rejected) -> None:
        """A row came to its end."""
        if isinstance(outcome, Rejected):
            self._rejected.append(outcome)
            return
        self._finished.append(outcome)
        stream = outcome.ask.stream
        self.kept[stream] = min(self.kept[stream] + 1, self._wanted(stream))

    def forget_rows(self) -> None:
        """The leaf is written down: keep its counts alone."""
        self.selection = Selection()
        self._finished.clear()
        self._rejected.clear()

    def came_back_empty(self, ask: Ask) -> None:
        self._found_an_end = self.planner.exhaust(ask) or self._found_an_end
        self._fruitful[ask.stream] -= 1

    def _plan(self, stream: str) -> list[Ask]:
        chosen = self.selection.evaluation if stream == EVALUATION else self.selection.training
        missing = self._wanted(stream) - len(chosen)
        accepted = Counter(row.ask.seed_example for row in chosen)
        needed = shares(missing, [accepted[index] for index in range(self.planner.num_examples)])
        return self.planner.plan(stream, needed, self._yield(stream))

    def _yield(self, stream: str) -> float:
        """The share of asked items that passed: a guess in the first round, then what the rounds before showed."""
        asked = self._fruitful[stream] * self.flow.items_per_call
        if not asked:
            return self.flow.expected_yield
        dropped = Counter(rejected.row.ask.stream for rejected in self.selection.rejected)
        passed = sum(row.ask.stream == stream for row in self._finished) - dropped[stream]
        return min(1.0, passed / asked)

    def _wanted(self, stream: str) -> int:
        return self.quota.evaluation if stream == EVALUATION else self.quota.training


def start(order: int, leaf: Leaf, flow: Flow, demands: Sequence[Quota], *, most_rounds: int, seed: int) -> LeafRun:
    planner = Planner(
        chunks=scattered(leaf.chunks, seed=seed) or [None],
        weights=flow.forms,
        num_examples=len(leaf.seed_examples),
        items_per_call=flow.items_per_call,
    )
    return LeafRun(order=order, leaf=leaf, flow=flow, demands=demands, most_rounds=most_rounds, planner=planner)


def shares(missing: int, accepted: Sequence[int]) -> list[int]:
    """`missing` items dealt out so that all counts end as equal as they can."""
    needed = [0] * len(accepted)
    for _ in range(missing):
        poorest = min(range(len(accepted)), key=lambda index: (accepted[index] + needed[index], index))
        needed[poorest] += 1
    return needed
