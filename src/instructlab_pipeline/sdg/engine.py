"""Takes every leaf through its flow: rows to the scheduler, replies back into rows, finished leaves to their writer."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.sdg.calls import Call
from instructlab_pipeline.sdg.filters import REFUSAL
from instructlab_pipeline.sdg.funnel import main_reasons
from instructlab_pipeline.sdg.journal import Journal
from instructlab_pipeline.sdg.leaf_run import LeafRun
from instructlab_pipeline.sdg.lengths import Lengths
from instructlab_pipeline.sdg.outlook import Outlook
from instructlab_pipeline.sdg.replies import BadReply
from instructlab_pipeline.sdg.rows import Rejected, Row, advance, call_of, next_try
from instructlab_pipeline.sdg.scheduler import Lane, Patience, Scheduler, Settled

ENOUGH_ROWS = 3000  # under way: many times what any endpoint takes at once, in leaves of some ten megabytes together
LEAVES_INTERVAL_S = 5.0  # between two accounts of the leaves that are under way
HOPELESS_AFTER = 40  # first replies without a single usable one: a teacher that cannot do this at all

Errand = tuple[LeafRun, Row]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`models` by role (teacher, judge); `threshold` for the smallest score of a row, 0..1."""

    models: Mapping[str, str]
    random_seed: int
    threshold: float
    patience: Patience


class Engine:
    """`finished` is called once for each leaf, as soon as it is done, in any order."""

    def __init__(
        self,
        runs: Sequence[LeafRun],
        settings: Settings,
        *,
        lanes: Mapping[str, Lane],
        journal: Journal,
        events: Events,
        finished: Callable[[LeafRun], None],
    ) -> None:
        self._unstarted = deque(runs)
        self._settings = settings
        self._events = events
        self._finished = finished
        self._scheduler: Scheduler[Errand] = Scheduler(
            lanes=lanes,
            journal=journal,
            prepare=self._prepare,
            settle=self._settle,
            patience=settings.patience,
        )
        self._lanes = lanes
        self._outlook = Outlook(started=time.monotonic())
        self._outlook.expect(runs)
        self._total = sum(run.quota.training + run.quota.evaluation for run in runs)
        self._lengths = Lengths()
        self._under_way: dict[int, LeafRun] = {}  # by order
        self._leaves_told_at = time.monotonic()
        self._kept = 0
        self._usable = 0
        self._unusable = 0

    async def run(self) -> None:
        """Raises:
        ServiceError: an endpoint is gone, or none of its replies can be used.
        SourceError: a leaf ended without a single sample.
        """
        self._start_leaves()
        await self._scheduler.run()

    def _start_leaves(self) -> None:
        """Enough of them for every call to find work, and no more: rows under way are what memory is spent on."""
        while self._unstarted and self._scheduler.unsettled < ENOUGH_ROWS:
            run = self._unstarted.popleft()
            self._under_way[run.order] = run
            self._send_all(run, run.begin())
            if run.is_over:
                self._end(run)

    def _send_all(self, run: LeafRun, rows: Iterable[Row]) -> None:
        for row in rows:
            self._send(run, row)

    def _send(self, run: LeafRun, row: Row) -> None:
        """Longest remaining chain first, so that no tail is left; then leaf by leaf, what shares a chunk together.

        What a leaf's next round depends on goes before all that can wait.
        """
        remaining = self._lengths.remaining(run.flow, row.step)
        chunk = row.ask.chunk.id if row.ask.chunk else ""
        self._scheduler.add(
            (run, row),
            role=run.flow.steps[row.step].by,
            priority=(run.can_wait(row), -remaining, run.order, chunk, row.place),
        )

    def _prepare(self, errand: Errand) -> Call:
        run, row = errand
        settings = self._settings
        return call_of(run.flow, run.leaf, row, models=settings.models, random_seed=settings.random_seed)

    def _settle(self, errand: Errand, call: Call, settled: Settled) -> None:
        run, row = errand
        run.tally.count(settled)
        self._outlook.settled(run.order, reused=settled.reused)
        self._lengths.learn(run.flow, row.step, settled.reply.tokens_out)
        kept_before = run.kept.total()
        for outcome in self._outcomes(run, row, call, settled):
            if isinstance(outcome, Row) and outcome.step < len(run.flow.steps):
                run.went_out(outcome)
                self._send(run, outcome)
            else:
                run.take(outcome)
        self._send_all(run, run.came_back(row))
        self._show(run.kept.total() - kept_before)
        if run.is_over:
            self._end(run)
        self._start_leaves()

    def _outcomes(self, run: LeafRun, row: Row, call: Call, settled: Settled) -> Sequence[Row | Rejected]:
        fields = settled.found
        if isinstance(fields, BadReply):
            self._count_unusable(fields.detail)
            rejected = Rejected(row=row, reason=fields.reason, detail=fields.detail)
            return [next_try(row, fields, finish=settled.reply.finish) or rejected]
        outcomes = advance(run.flow, run.leaf, row, fields, key=call.key, threshold=self._settings.threshold)
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Rejected) and outcome.reason == REFUSAL]
        if refusals and len(refusals) == len(outcomes):
            self._count_unusable(refusals[0].detail)
        else:
            self._usable += 1
        if not outcomes and row.step == 0:
            run.came_back_empty(row)
        return outcomes

    def _count_unusable(self, detail: str) -> None:
        self._unusable += 1
        if self._usable == 0 and self._unusable >= HOPELESS_AFTER:
            raise self._hopeless(detail)

    def _end(self, run: LeafRun) -> None:
        if run.quota.training and not run.selection.training:
            if self._usable == 0 and run.rejected:
                raise self._hopeless(run.rejected[-1].detail)
            raise SourceError(
                f"{run.leaf.path}: not one sample was accepted ({main_reasons(run.rejected)})",
                remedy=_remedy(run),
            )
        self._outlook.over(run.order)
        del self._under_way[run.order]
        self._finished(run)

    def _standings(self) -> Mapping[str, tuple[int, int]]:
        return {run.leaf.path: run.standing for run in self._under_way.values() if run.quota.training}

    def _hopeless(self, detail: str) -> ServiceError:
        names = " and ".join(sorted(set(self._settings.models.values())))
        return ServiceError(
            f"not one of the first {self._unusable} replies of {names} can be used; the last: {detail}",
            remedy="use a chat model that is willing, at an endpoint that takes `response_format` with a JSON schema",
        )

    def _show(self, gained: int) -> None:
        """Tell how things stand: samples, how much of what may be in flight is, calls, and the time that is left."""
        self._kept += gained
        now = time.monotonic()
        if not self._outlook.is_due(now) and self._kept < self._total:
            return
        if now - self._leaves_told_at >= LEAVES_INTERVAL_S:
            self._leaves_told_at = now
            self._events.point("leaves", leaves=self._standings())
        paces = {id(lane.pace): lane.pace for lane in self._lanes.values()}.values()
        self._events.progress(
            "sdg",
            self._kept,
            self._total,
            unit="samples",
            busy=round(sum(pace.taken for pace in paces) / sum(pace.most for pace in paces), 3),
            calls_per_s=round(self._outlook.calls_per_s, 2),
            left_s=self._outlook.left_s,
        )


def _remedy(run: LeafRun) -> str:
    """What to do for a leaf that ended without a sample: held-out questions come first, and may leave nothing."""
    held_out = len(run.selection.evaluation)
    if any(rejected.reason == "in_evaluation_set" for rejected in run.rejected):
        return (
            f"lower eval_num_samples: {held_out} questions of this leaf are held out, and what is left is like them; "
            "or give it more documents"
        )
    return "look at its seed examples and documents; another teacher or sdg_quality_threshold may help"
