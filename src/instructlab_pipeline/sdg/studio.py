"""Makes parts of leaves: those that are known are taken from the shelf, the others go through the engine together."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field

from instructlab_pipeline.sdg.engine import Engine, Settings
from instructlab_pipeline.sdg.flows import Flow
from instructlab_pipeline.sdg.journal import open_journal
from instructlab_pipeline.sdg.leaf_run import LeafRun, Tally, start
from instructlab_pipeline.sdg.leaves import Leaf
from instructlab_pipeline.sdg.merge import Share
from instructlab_pipeline.sdg.pace import Pace
from instructlab_pipeline.sdg.parts import Part, Shelf
from instructlab_pipeline.sdg.scheduler import Lane
from instructlab_pipeline.sdg.selection import Quota
from instructlab_pipeline.sdg.teachers import Teachers
from instructlab_pipeline.stage import Context


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a leaf is to give. `quotas` grows when the leaf lost samples to others: see `LeafRun.demands`."""

    leaf: Leaf
    flow: Flow
    quotas: list[Quota]

    @property
    def name(self) -> str:
        """What it is called where leaves are listed."""
        return f"{self.leaf.path} (multiple choice)" if self.flow.choices else self.leaf.path

    def raise_by(self, missing: Quota) -> None:
        last = self.quotas[-1]
        self.quotas.append(
            Quota(training=last.training + missing.training, evaluation=last.evaluation + missing.evaluation)
        )


@dataclass(frozen=True, kw_only=True)
class Studio:
    """`most_in_flight`: calls at once, for each endpoint. `most_rounds` in which a leaf may meet a quota."""

    teachers: Teachers
    settings: Settings
    most_in_flight: int
    most_rounds: int
    context: Context
    made: dict[str, int] = field(default_factory=dict)  # calls paid for so far, by the demand's name

    async def shares(self, demands: Sequence[Demand]) -> list[Share]:
        """Raises:
        ServiceError: an endpoint failed, or the disk is full; finished calls and leaves are kept.
        SourceError: a leaf gave no sample at all.
        """
        runs = [self._run(order, demand) for order, demand in enumerate(demands)]
        shelf = self._shelf()
        parts = {run.order: part for run in runs if (part := shelf.get(run)) is not None}
        unknown = [run for run in runs if run.order not in parts]
        if unknown:
            await self._make(unknown, shelf, parts)
        for order, demand in enumerate(demands):
            self._account(demand, parts[order].tally)
        return [
            Share(
                name=demand.name,
                leaf=demand.leaf.path,
                held_out_in="multiple_choice" if demand.flow.choices else "evaluation",
                part=parts[order],
                quota=demand.quotas[0],
            )
            for order, demand in enumerate(demands)
        ]

    def _account(self, demand: Demand, tally: Tally) -> None:
        """What was paid for when the same leaf was asked for less is reused by now, and was paid for all the same."""
        before = self.made.get(demand.name, 0)
        tally.made, tally.reused = tally.made + before, tally.reused - before
        self.made[demand.name] = tally.made

    async def _make(self, runs: Sequence[LeafRun], shelf: Shelf, parts: dict[int, Part]) -> None:
        def finished(run: LeafRun) -> None:
            part = parts[run.order] = shelf.put(run)
            self.context.events.point(
                "leaf", leaf=run.leaf.path, accepted=part.accepted, target=run.quota.training, **asdict(run.tally)
            )
            run.forget_rows()

        with closing(open_journal(self.context.cache / "journal")) as journal:
            engine = Engine(
                runs,
                self.settings,
                lanes=_lanes(self.teachers, self.most_in_flight),
                journal=journal,
                events=self.context.events,
                finished=finished,
            )
            await engine.run()

    def _run(self, order: int, demand: Demand) -> LeafRun:
        return start(
            order,
            demand.leaf,
            demand.flow,
            demand.quotas,
            most_rounds=self.most_rounds,
            seed=self.settings.random_seed,
        )

    def _shelf(self) -> Shelf:
        return Shelf(
            self.context.cache / "leaves",
            models=self.settings.models,
            threshold=self.settings.threshold,
            random_seed=self.settings.random_seed,
        )


def _lanes(teachers: Teachers, most_in_flight: int) -> Mapping[str, Lane]:
    """One lane for each endpoint: a judge at the teacher's address shares the teacher's."""
    endpoints = {endpoint.url: endpoint for endpoint in teachers.endpoints.values()}
    by_url = {url: Lane(endpoint=endpoint, pace=Pace(most=most_in_flight)) for url, endpoint in endpoints.items()}
    return {role: by_url[endpoint.url] for role, endpoint in teachers.endpoints.items()}
