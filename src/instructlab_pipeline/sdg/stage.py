"""The sdg stage: leaves in; accepted samples, rejected ones with reasons, and a held-out evaluation set out."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, digest_of, write_atomically
from instructlab_pipeline.sdg.accounts import facts_of
from instructlab_pipeline.sdg.engine import Settings
from instructlab_pipeline.sdg.flows import Flow, chosen_flows
from instructlab_pipeline.sdg.leaves import KNOWLEDGE, MULTIPLE_CHOICE, Leaf, read_leaves
from instructlab_pipeline.sdg.merge import NOTHING, Merger, Share
from instructlab_pipeline.sdg.scheduler import Patience
from instructlab_pipeline.sdg.selection import Quota
from instructlab_pipeline.sdg.studio import Demand, Studio
from instructlab_pipeline.sdg.teachers import Address, model_of, open_teachers, require_teacher
from instructlab_pipeline.stage import Context, unkeyed

MULTIPLE_CHOICE_METRIC = "mcq_accuracy"
FUNNEL = "funnel.json"
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
    sdg_flows: str | None = unkeyed()  # their content is in the fingerprint
    eval_metrics: tuple[str, ...] = unkeyed()  # and so is whether they need multiple-choice items
    sdg_teacher_endpoint: str | None = unkeyed()
    sdg_judge_endpoint: str | None = unkeyed()
    sdg_batch_size: int = unkeyed()
    sdg_num_workers: int = unkeyed()

    @property
    def flows(self) -> Mapping[str, Flow]:
        """By kind; the one for multiple choice only where such items are asked for."""
        flows = chosen_flows(self.sdg_flows)
        if MULTIPLE_CHOICE_METRIC not in self.eval_metrics:
            del flows[MULTIPLE_CHOICE]
        return flows

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
    flows = [flow.digest for flow in inputs.flows.values()]
    return " ".join([model_of(inputs.teacher), model_of(inputs.judge), digest_of(flows)])


def run(inputs: SdgInputs, context: Context) -> Facts:
    """Make `sdg_scale_factor` accepted samples for each seed example, and `eval_num_samples` held-out questions.

    Raises:
        UsageError: no teacher. ServiceError: an endpoint failed; run again and every finished call is reused.
        SourceError: a leaf gave no sample at all.
    """
    require_teacher(inputs.sdg_teacher_endpoint)
    demands = demands_of(read_leaves(inputs.taxonomy), inputs)
    shares, models = asyncio.run(_generate(demands, inputs, context))
    for flow in {demand.flow.name: demand.flow for demand in demands}.values():
        write_atomically(context.folder / FLOWS / f"{flow.name}.yaml", flow.text)
    funnels = {share.name: share.funnel() for share in shares}
    write_atomically(context.folder / FUNNEL, json.dumps(funnels, indent=2, ensure_ascii=False) + "\n")
    _tell_shortfalls(funnels, context)
    return facts_of(shares, models)


def demands_of(leaves: Sequence[Leaf], inputs: SdgInputs) -> list[Demand]:
    """What each leaf is to give, in order, and behind them their multiple-choice items."""
    evaluation = math.ceil(inputs.eval_num_samples / len(leaves))
    flows = inputs.flows
    own = [
        Demand(
            leaf=leaf,
            flow=flows[leaf.kind],
            quotas=[Quota(training=inputs.sdg_scale_factor * len(leaf.seed_examples), evaluation=evaluation)],
        )
        for leaf in leaves
    ]
    return [*own, *_multiple_choice(leaves, flows.get(MULTIPLE_CHOICE), inputs.eval_num_samples)]


def _multiple_choice(leaves: Sequence[Leaf], flow: Flow | None, wanted: int) -> list[Demand]:
    """As many items as the evaluation asks, spread over the knowledge leaves; none unless a metric needs them."""
    with_documents = [leaf for leaf in leaves if leaf.kind == KNOWLEDGE] if flow else []
    share = math.ceil(wanted / max(len(with_documents), 1))
    return [
        Demand(leaf=leaf, flow=flow, quotas=[Quota(training=0, evaluation=share)]) for leaf in with_documents if flow
    ]


async def _generate(
    demands: Sequence[Demand], inputs: SdgInputs, context: Context
) -> tuple[list[Share], Mapping[str, str]]:
    """Finish every leaf, and those that lost samples to others once more, until no more is missing or to be had."""
    async with open_teachers(inputs.teacher, inputs.judge, context.events) as teachers:
        studio = Studio(
            teachers=teachers,
            settings=Settings(
                models=teachers.models,
                random_seed=inputs.sdg_random_seed,
                threshold=inputs.sdg_quality_threshold,
                patience=Patience(),
            ),
            most_in_flight=inputs.sdg_num_workers * inputs.sdg_batch_size,
            most_rounds=inputs.sdg_max_attempts,
            context=context,
        )
        for _ in range(inputs.sdg_max_attempts):
            shares = await studio.shares(demands)
            merger = Merger(shares)
            lacking = [pair for pair in zip(demands, shares, strict=True) if pair[1].missing != NOTHING]
            if not lacking:
                break
            for demand, share in lacking:
                demand.raise_by(share.missing)
    merger.write(context.folder, taxonomy_commit=inputs.taxonomy.facts["commit"])
    return shares, teachers.models


def _tell_shortfalls(funnels: Mapping[str, Mapping[str, Any]], context: Context) -> None:
    for name, funnel in funnels.items():
        short = [
            f"{funnel[got]} of {funnel[wanted]} {what}"
            for got, wanted, what in (
                ("accepted", "target", "samples"),
                ("evaluation", "evaluation_target", "evaluation items"),
            )
            if funnel[got] < funnel[wanted]
        ]
        if short:
            reasons = ", ".join(f"{count} {reason}" for reason, count in funnel["rejected"].items())
            message = f"{name}: {' and '.join(short)}, and no more to be had ({reasons or 'none was rejected'})"
            context.events.point("notice", message=message)
