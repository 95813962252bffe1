"""One leaf's way to its quotas, in overlapping rounds: while one is under way, the next is already planned.

Most of what is needed is the first round; the rest is the second, which can wait. When the first is settled (all its
rows have come to an end), what it lacks is planned, and done before the second: a shortfall is made up for while there
is other work. Rounds are settled in an order that planning fixes: the first, what makes up for it, the second, ...

What is planned depends on settled rounds and on nothing else, which is why neither the order of replies nor a crash can
change the result.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from instructlab_pipeline.sdg.flows import Flow
from instructlab_pipeline.sdg.leaves import Leaf
from instructlab_pipeline.sdg.plan import Planner, evenly, scattered, shares
from instructlab_pipeline.sdg.rows import EVALUATION, TRAINING, Ask, Rejected, Row
from instructlab_pipeline.sdg.scheduler import Settled
from instructlab_pipeline.sdg.selection import Quota, Selection, select

OPENING_SHARE = 0.6  # of what a leaf needs; the rest is planned at once, and done last
LATER_ITEMS = 3  # a call after the first round, at most: short calls end early, and the end of a run waits for them
LAST_ITEMS = 20  # that a leaf lacks in the end, at most, are asked for one by one: nothing else is left to wait behind
SPARE_DEVIATIONS = 2  # that a leaf asks for beyond what it lacks in the end, so that hardly any has to ask once more
LARGEST_ROUND = 20_000  # items; a leaf that needs more has more rounds, and memory for one of them
EARLY_ROUNDS = 2  # that make up for the first one while the second waits
SMALLEST_YIELD = 0.2  # a round asks for at most five times what is needed, however poor the rounds before were
PRIOR_ITEMS = 10  # the flow's own guess of its yield counts as much as this many items

EARLY, LATE = "early", "late"  # further rounds: while the second is under way, and after it


@dataclass(kw_only=True)
class Tally:
    """Calls of one leaf: made now or known before; retries, and tokens as the endpoints counted them, of both."""

    made: int = 0
    reused: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def count(self, settled: Settled) -> None:
        self.made += not settled.reused
        self.reused += settled.reused
        self.retries += settled.reply.retries
        self.tokens_in += settled.reply.tokens_in
        self.tokens_out += settled.reply.tokens_out


@dataclass(kw_only=True)
class Round:
    """Calls that were planned together, and what became of them. `barren`: those that got an empty list."""

    asks: list[Ask]
    rows_out: int
    finished: list[Row] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    barren: list[Row] = field(default_factory=list)


@dataclass(kw_only=True)
class LeafRun:
    """`order`: the leaf's place among all.

    `most_rounds`: what was planned at first counts as one round, however it was done; then each further one counts. One
    that follows on the discovery that a chunk or form has no more to give counts as none: the need only moves on to
    others, of which there are finitely many.

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
    tally: Tally = field(default_factory=Tally)
    selection: Selection = field(default_factory=Selection)
    kept: Counter[str] = field(default_factory=Counter)  # by stream: passed, not yet compared with each other
    _waiting: deque[Quota] = field(init=False)
    _rounds: list[Round] = field(default_factory=list)
    _open: deque[Round] = field(default_factory=deque)
    _rounds_left: Counter[str] = field(init=False)
    _found_an_end: bool = False  # since the last plan: a chunk or task that has no more to give
    _finished: list[Row] = field(default_factory=list)
    _rejected: list[Rejected] = field(default_factory=list)
    _planned: Counter[str] = field(default_factory=Counter)  # items, by stream
    _asked: Counter[str] = field(default_factory=Counter)  # items of settled rounds, by stream, without barren calls

    def __post_init__(self) -> None:
        self._waiting = deque(self.demands)
        self._face_next_demand()

    @property
    def is_over(self) -> bool:
        return not self._open

    @property
    def standing(self) -> tuple[int, int]:
        """Samples that passed so far, and how many are wanted."""
        return self.kept[TRAINING], self.quota.training

    @property
    def rejected(self) -> list[Rejected]:
        return sorted([*self._rejected, *self.selection.rejected], key=lambda rejected: rejected.row.place)

    def begin(self) -> list[Row]:
        """The first rows to be sent: most of what is needed, and behind them the rest."""
        return [*self._next_round(OPENING_SHARE), *self._next_round()] or self._rows_for_next_demands()

    def can_wait(self, row: Row) -> bool:
        """Whether the row is of the round that others go before, so that there is work while they are made up for."""
        return row.place[0] == 1

    def went_out(self, row: Row) -> None:
        self._round_of(row).rows_out += 1

    def take(self, outcome: Row | Rejected) -> None:
        """A row came to its end."""
        if isinstance(outcome, Rejected):
            self._round_of(outcome.row).rejected.append(outcome)
            return
        self._round_of(outcome).finished.append(outcome)
        stream = outcome.ask.stream
        self.kept[stream] = min(self.kept[stream] + 1, self._wanted(stream))

    def came_back_empty(self, row: Row) -> None:
        self._round_of(row).barren.append(row)

    def came_back(self, row: Row) -> list[Row]:
        """The row has led to whatever it leads to; the rows of further rounds, if it was the last of its round."""
        self._round_of(row).rows_out -= 1
        rows = []
        while self._open and not self._open[0].rows_out:
            self._settle(self._open.popleft())
            rows += self._next_round()
        return rows if self._open else self._rows_for_next_demands()

    def forget_rows(self) -> None:
        """The leaf is written down: keep its counts alone."""
        self.selection = Selection()
        self._finished.clear()
        self._rejected.clear()
        self._rounds.clear()
        self.planner.forget()

    def _rows_for_next_demands(self) -> list[Row]:
        rows: list[Row] = []
        while not rows and self._waiting:
            self._face_next_demand()
            rows = self._next_round()
        return rows

    def _face_next_demand(self) -> None:
        self.quota = self._waiting.popleft()
        self._rounds_left = Counter({EARLY: EARLY_ROUNDS, LATE: self.most_rounds - 1})
        self._select()

    def _settle(self, settled: Round) -> None:
        self._finished += settled.finished
        self._rejected += settled.rejected
        for row in sorted(settled.barren, key=lambda row: row.place):
            self._found_an_end = self.planner.exhaust(row.ask) or self._found_an_end
        self._asked += _items(settled.asks)
        self._asked -= _items(row.ask for row in settled.barren)
        self._select()

    def _select(self) -> None:
        self.selection = select(self._finished, self.quota, kind=self.leaf.kind)
        self.kept = Counter({EVALUATION: len(self.selection.evaluation), TRAINING: len(self.selection.training)})

    def _next_round(self, share_of_need: float = 1.0) -> list[Row]:
        purse = EARLY if self._open else LATE
        is_charged = len(self._rounds) > 1 and not self._found_an_end and not self._is_opening()
        if is_charged and not self._rounds_left[purse]:
            return []
        asks = [*self._plan(EVALUATION, share_of_need), *self._plan(TRAINING, share_of_need)]
        if not asks:
            return []
        self._rounds_left[purse] -= is_charged
        self._found_an_end = False
        self._planned += _items(asks)
        return self._opened(Round(asks=asks, rows_out=len(asks)))

    def _opened(self, planned: Round) -> list[Row]:
        """The round's rows. What makes up for losses is settled before what was planned at first and can wait."""
        number = len(self._rounds)
        self._rounds.append(planned)
        if number > 1:
            self._open.appendleft(planned)
        else:
            self._open.append(planned)
        return [Row(place=(number, index), ask=ask) for index, ask in enumerate(planned.asks)]

    def _is_opening(self) -> bool:
        """Whether less has been planned than the flow expects to be needed, as for leaves of many rounds."""
        return any(
            self._wanted(stream) > self._gained(stream).total()
            and self._planned[stream] * self.flow.fan_out * self.flow.expected_yield < self._wanted(stream)
            for stream in (EVALUATION, TRAINING)
        )

    def _plan(self, stream: str, share_of_need: float) -> list[Ask]:
        """Calls for what is missing, and in the last rounds for some more, as chance may have it."""
        share = self._yield(stream)
        gained = self._gained(stream)
        lacking = self._wanted(stream) - gained.total()
        if lacking <= 0:
            return []
        gained += self._expected(stream, share)
        spare = self._deviations() * math.sqrt(lacking * (1 - share))
        missing = self._wanted(stream) * share_of_need - gained.total() + spare
        items = min(math.ceil(missing / share / self.flow.fan_out), LARGEST_ROUND)
        if items <= 0:
            return []
        likely = math.ceil(items * self.flow.fan_out * share)
        needed = shares(likely, [gained[index] for index in range(self.planner.num_examples)])
        return self.planner.plan(stream, needed, counts=evenly(items, self._most_at_once(items)))

    def _most_at_once(self, items: int) -> int:
        """How many of these items one call may be asked for."""
        most = self.flow.steps[0].count
        if not self._rounds:
            return most
        return min(most, LATER_ITEMS) if self._open or items > LAST_ITEMS else 1

    def _deviations(self) -> int:
        """Standard deviations by which more is asked for than is likely to be needed: none while something follows."""
        return 0 if self._open or len(self._rounds) < 2 else SPARE_DEVIATIONS

    def _gained(self, stream: str) -> Counter[int]:
        """What settled rounds gave, by seed example."""
        chosen = self.selection.evaluation if stream == EVALUATION else self.selection.training
        return Counter(row.ask.seed_example for row in chosen)

    def _expected(self, stream: str, share: float) -> Counter[int]:
        """What rounds that are under way are likely to give, by seed example."""
        items: Counter[int] = Counter()
        for ask in (ask for planned in self._open for ask in planned.asks if ask.stream == stream):
            items[ask.seed_example] += ask.count
        return Counter({index: round(count * self.flow.fan_out * share) for index, count in items.items()})

    def _yield(self, stream: str) -> float:
        """The share of asked items that pass, by what the settled rounds showed and what the flow expects."""
        dropped = Counter(rejected.row.ask.stream for rejected in self.selection.rejected)
        passed = sum(row.ask.stream == stream for row in self._finished) - dropped[stream]
        asked = self._asked[stream] * self.flow.fan_out
        share = (passed + PRIOR_ITEMS * self.flow.expected_yield) / (asked + PRIOR_ITEMS)
        return min(1.0, max(SMALLEST_YIELD, share))

    def _wanted(self, stream: str) -> int:
        return self.quota.evaluation if stream == EVALUATION else self.quota.training

    def _round_of(self, row: Row) -> Round:
        return self._rounds[row.place[0]]


def start(order: int, leaf: Leaf, flow: Flow, demands: Sequence[Quota], *, most_rounds: int, seed: int) -> LeafRun:
    planner = Planner(
        chunks=scattered(leaf.chunks, seed=seed) or [None],
        weights=flow.forms,
        num_examples=len(leaf.seed_examples),
    )
    return LeafRun(order=order, leaf=leaf, flow=flow, demands=demands, most_rounds=most_rounds, planner=planner)


def _items(asks: Iterable[Ask]) -> Counter[str]:
    """How many items are asked for, by stream."""
    items: Counter[str] = Counter()
    for ask in asks:
        items[ask.stream] += ask.count
    return items
