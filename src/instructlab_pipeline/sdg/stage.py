"""The sdg stage: leaves in; accepted samples, rejected ones with reasons, and a held-out evaluation set out."""

import asyncio
import json
import math
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, digest_of, write_atomically, write_jsonl
from instructlab_pipeline.sdg.engine import Engine, Settings
from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.funnel import funnel_of
from instructlab_pipeline.sdg.journal import open_journal
from instructlab_pipeline.sdg.leaf_run import LeafRun, Tally, start
from instructlab_pipeline.sdg.leaves import KINDS, Leaf, read_leaves
from instructlab_pipeline.sdg.pace import Pace
from instructlab_pipeline.sdg.samples import Scribe
from instructlab_pipeline.sdg.scheduler import Lane, Patience
from instructlab_pipeline.sdg.selection import Quota
from instructlab_pipeline.sdg.teachers import Address, Teachers, model_of, open_teachers, require_teacher
from instructlab_pipeline.stage import Context, unkeyed

OUTPUTS = ("samples", "rejected", "evaluation")
FLOWS = "flows"  # the flows as they were used, so that a sample's prompts can be told years later


@dataclass(frozen=True, kw_only=True)
class SdgInputs:
    """A judge that is not set is the teacher. `sdg_max_attempts`: rounds in which a leaf may reach its target."""

    taxonomy: Artifact
    sdg_scale_factor: int
    sdg_random_seed: int
    sdg_quality_threshold: float
    sdg_max_attempts: int
    eval_num_samples: int
    sdg_teacher_model: str | None
    sdg_judge_model: str | None
    sdg_teacher_endpoint: str | None = unkeyed()
    sdg_judge_endpoint: str | None = unkeyed()
    sdg_batch_size: int = unkeyed()
    sdg_num_workers: int = unkeyed()

    @property
    def teacher(self) -> Address:
        endpoint = require_teacher(self.sdg_teacher_endpoint)
        return Address(role="teacher", endpoint=endpoint, model=self.sdg_teacher_model)

    @property
    def judge(self) -> Address:
        if self.sdg_judge_endpoint:
            return Address(role="judge", endpoint=self.sdg_judge_endpoint, model=self.sdg_judge_model)
        return Address(
            role="judge", endpoint=self.teacher.endpoint, model=self.sdg_judge_model or self.sdg_teacher_model
        )


def fingerprint(inputs: SdgInputs) -> str:
    """The models that will write and judge, also where the parameters leave them to the endpoints, and the flows.

    Raises:
        UsageError: no teacher, or its model must be named.
        ServiceError: an endpoint that must be asked does not answer.
    """
    flows = [built_in_flow(kind).digest for kind in KINDS]
    return " ".join([model_of(inputs.teacher), model_of(inputs.judge), digest_of(flows)])


def run(inputs: SdgInputs, context: Context) -> Facts:
    """Make `sdg_scale_factor` accepted samples for each seed example, and `eval_num_samples` held-out questions.

    Raises:
        UsageError: no teacher. ServiceError: an endpoint failed; run again and every finished call is reused.
        SourceError: a leaf gave no sample at all.
    """
    require_teacher(inputs.sdg_teacher_endpoint)
    report = asyncio.run(_generate(inputs, context))
    report.publish(context.folder)
    shutil.rmtree(report.parts)
    report.tell_shortfalls(context)
    return report.facts()


async def _generate(inputs: SdgInputs, context: Context) -> "Report":
    runs = _leaf_runs(read_leaves(inputs.taxonomy), inputs)
    async with open_teachers(inputs.teacher, inputs.judge, context.events) as teachers:
        report = Report(
            parts=_empty(context.work / "leaves"),
            runs=runs,
            teachers=teachers,
            taxonomy_commit=inputs.taxonomy.facts["commit"],
        )
        settings = Settings(
            models=teachers.models,
            random_seed=inputs.sdg_random_seed,
            threshold=inputs.sdg_quality_threshold,
            patience=Patience(),
        )
        with closing(open_journal(context.cache / "journal")) as journal:
            engine = Engine(
                runs,
                settings,
                lanes=_lanes(teachers, inputs.sdg_num_workers * inputs.sdg_batch_size),
                journal=journal,
                events=context.events,
                finished=report.write_leaf,
            )
            await engine.run()
    return report


def _leaf_runs(leaves: Sequence[Leaf], inputs: SdgInputs) -> list[LeafRun]:
    flows = {kind: built_in_flow(kind) for kind in {leaf.kind for leaf in leaves}}
    evaluation = math.ceil(inputs.eval_num_samples / len(leaves))
    return [
        start(
            order,
            leaf,
            flows[leaf.kind],
            Quota(training=inputs.sdg_scale_factor * len(leaf.seed_examples), evaluation=evaluation),
            most_rounds=inputs.sdg_max_attempts,
            seed=inputs.sdg_random_seed,
        )
        for order, leaf in enumerate(leaves)
    ]


def _lanes(teachers: Teachers, most_in_flight: int) -> dict[str, Lane]:
    """One lane for each endpoint: a judge at the teacher's address shares the teacher's."""
    endpoints = {endpoint.url: endpoint for endpoint in teachers.endpoints.values()}
    by_url = {url: Lane(endpoint=endpoint, pace=Pace(most=most_in_flight)) for url, endpoint in endpoints.items()}
    return {role: by_url[endpoint.url] for role, endpoint in teachers.endpoints.items()}


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@dataclass(kw_only=True)
class Report:
    """Each finished leaf goes to disk at once; at the end the parts are joined in the order of the leaves."""

    parts: Path
    runs: Sequence[LeafRun]
    teachers: Teachers
    taxonomy_commit: str
    funnels: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write_leaf(self, run: LeafRun) -> None:
        scribe = Scribe(run=run, models=self.teachers.models, taxonomy_commit=self.taxonomy_commit)
        for name in OUTPUTS:
            write_jsonl(self._part(run, name), getattr(scribe, name)())
        self.funnels[run.leaf.path] = funnel_of(run)
        run.forget_rows()

    def publish(self, folder: Path) -> None:
        for name in OUTPUTS:
            _join((self._part(run, name) for run in self.runs), folder / f"{name}.jsonl")
        for flow in {run.flow.name: run.flow for run in self.runs}.values():
            write_atomically(folder / FLOWS / f"{flow.name}.yaml", flow.text)
        funnels = dict(sorted(self.funnels.items()))
        (folder / "funnel.json").write_text(json.dumps(funnels, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def tell_shortfalls(self, context: Context) -> None:
        short = {path: funnel for path, funnel in sorted(self.funnels.items()) if funnel["shortfall"]}
        for path, funnel in short.items():
            reasons = ", ".join(f"{count} {reason}" for reason, count in funnel["rejected"].items())
            context.events.point(
                "notice",
                message=f"{path}: {funnel['accepted']} of {funnel['target']} samples, and no more to be had "
                f"({reasons or 'none was rejected'})",
            )

    def facts(self) -> Facts:
        tallies = [run.tally for run in self.runs]
        return {
            "samples": self._sum("accepted"),
            "evaluation": self._sum("evaluation"),
            "target": self._sum("target"),
            "rejected": sum(sum(funnel["rejected"].values()) for funnel in self.funnels.values()),
            "teacher": self.teachers.models["teacher"],
            "judge": self.teachers.models["judge"],
            "calls": {name: sum(getattr(tally, name) for tally in tallies) for name in ("made", "reused", "retries")},
            "tokens": {
                "in": sum(tally.tokens_in for tally in tallies),
                "out": sum(tally.tokens_out for tally in tallies),
            },
            "leaves": {run.leaf.path: self._leaf_facts(run.leaf.path, run.tally) for run in self.runs},
        }

    def _leaf_facts(self, path: str, tally: Tally) -> dict[str, Any]:
        funnel = self.funnels[path]
        return {name: funnel[name] for name in ("accepted", "target", "evaluation")} | {
            "made": tally.made,
            "reused": tally.reused,
        }

    def _part(self, run: LeafRun, name: str) -> Path:
        return self.parts / f"{run.order:06}.{name}.jsonl"

    def _sum(self, name: str) -> int:
        return sum(funnel[name] for funnel in self.funnels.values())


def _join(parts: Iterable[Path], whole: Path) -> None:
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file)
