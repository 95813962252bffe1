"""What a run would do, reuse and cost, before it does it. Nothing is made, and no teacher is asked."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from instructlab_pipeline import pipeline
from instructlab_pipeline.artifacts import Artifact
from instructlab_pipeline.evaluation.metrics import METRICS, Scale
from instructlab_pipeline.evaluation.questions import own_items
from instructlab_pipeline.evaluation.statistics import samples_for_clear_pass, share_for_clear_pass
from instructlab_pipeline.params.table import Parameters
from instructlab_pipeline.pipeline import STAGE_NAMES, STAGES, Asked, Workshop
from instructlab_pipeline.sdg.forecast import calls_expected
from instructlab_pipeline.stage import Stage
from instructlab_pipeline.taxonomy import stage as taxonomy

KNOWLEDGE = "knowledge"


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """`action`: "reuse" or "run". `why` it runs. `work`: what it then has to do, in words.

    `last_seconds`: how long it took when it last ran to its end in this run folder.
    """

    name: str
    action: str
    why: str
    work: str
    last_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The taxonomy in numbers: (kind, seed examples) of each leaf."""

    leaves: tuple[tuple[str, int], ...]

    def examples(self, *kinds: str) -> int:
        return sum(number for kind, number in self.leaves if not kinds or kind in kinds)


def foresee(workshop: Workshop) -> list[Foreseen]:
    """Each stage in order. The leaves are read, so that a fault in one shows now.

    Raises:
        PipelineError: what a run would stumble over too: a source that cannot be read, a leaf with faults.
    """
    parameters = workshop.parameters
    found = taxonomy.survey(parameters.sdg_repo_url, parameters.sdg_repo_revision, workshop.storage.folder.cache)
    survey = Survey(leaves=tuple((leaf.kind, len(leaf.seed_examples)) for leaf in found))
    work, took = _work(parameters, survey), _last_durations(workshop)
    done: dict[str, Artifact] = {}
    return [
        Foreseen(
            name=stage.name,
            action="run" if why else "reuse",
            why=why,
            work=work[stage.name] if why else "",
            last_seconds=took.get(stage.name),
        )
        for stage, why in _reasons(workshop, done)
    ]


def _reasons(workshop: Workshop, done: dict[str, Artifact]) -> Iterator[tuple[Stage, str]]:
    """Why each stage will run; "" where it is reused. `done` fills with what is reused."""
    for stage in STAGES:
        missing = [name for name in pipeline.needed_stages(stage) if name not in done]
        if missing:
            yield stage, f"{missing[0]} comes anew"
            continue
        asked = pipeline.asked_for(stage, workshop, done)
        artifact = pipeline.reusable(stage, workshop, asked)
        if artifact is None:
            yield stage, _why(stage, workshop, asked, done)
        else:
            done[stage.name] = artifact
            yield stage, ""


def _why(stage: Stage, workshop: Workshop, asked: Asked, done: Mapping[str, Artifact]) -> str:
    if asked.sealed is None:
        begun = (workshop.storage.folder.stage(stage.name) / "work").exists()
        return "goes on where it stopped" if begun else "not made yet"
    if asked.sealed.key == asked.key:
        return "what it made is damaged or gone"
    changed = [
        *_changed_parameters(stage, workshop, asked),
        *(name for name in pipeline.needed_stages(stage) if asked.sealed.inputs.get(name) != done[name].digest),
    ]
    if asked.sealed.facts.get("fingerprint", "") != asked.fingerprint:
        changed.append("what it reads from outside")
    return f"changed: {', '.join(changed)}" if changed else "made by another version of the program"


def _changed_parameters(stage: Stage, workshop: Workshop, asked: Asked) -> Iterator[str]:
    recorded = workshop.storage.record().get("parameters", {})
    for item in fields(stage.inputs):
        if item.name in recorded and item.metadata.get("keyed", True):
            before, now = recorded[item.name]["value"], getattr(asked.inputs, item.name)
            if before != (list(now) if isinstance(now, tuple) else now):
                yield f"{item.name} was {before}"


def _work(parameters: Parameters, survey: Survey) -> dict[str, str]:
    """What each stage has to do when it runs, in words."""
    knowledge = survey.examples(KNOWLEDGE) * parameters.sdg_scale_factor
    skills = survey.examples() * parameters.sdg_scale_factor - knowledge
    replay = round(knowledge * parameters.train_replay_ratio)
    phase_2 = skills + knowledge + replay
    return {
        "model": f"fetches {parameters.sdg_base_model}",
        "taxonomy": f"reads {len(survey.leaves)} leaves with {survey.examples()} seed examples",
        "sdg": _generation(parameters, survey),
        "dataset": f"about {knowledge:,} records for phase 1, {phase_2:,} for phase 2",
        "train_phase_1": _training(parameters, knowledge, parameters.train_epochs_phase_1),
        "train_phase_2": _training(parameters, phase_2, parameters.train_epochs_phase_2),
        "eval_phase_1": f"asks both models {parameters.eval_num_samples:,} questions or more",
        "eval_final": _evaluation(parameters),
        "publish": f"pushes to {parameters.output_oci_model_uri}",
    }


def _generation(parameters: Parameters, survey: Survey) -> str:
    questions = math.ceil(parameters.eval_num_samples / len(survey.leaves))
    items = [(kind, number * parameters.sdg_scale_factor + questions) for kind, number in survey.leaves]
    samples = survey.examples() * parameters.sdg_scale_factor
    in_flight = parameters.sdg_num_workers * parameters.sdg_batch_size
    made = f"{samples:,} samples and {questions * len(survey.leaves):,} questions"
    calls = f"about {calls_expected(items, sdg_flows=parameters.sdg_flows):,} calls, at most {in_flight:,} at once"
    return f"{made} by {calls}; calls that the journal holds cost nothing"


def _training(parameters: Parameters, records: int, epochs: int) -> str:
    if not records:
        return "nothing to train on: skipped"
    per_step = parameters.train_batch_size * parameters.train_gradient_accumulation_steps * parameters.train_num_workers
    per_epoch = math.ceil(records / per_step)
    return (
        f"about {per_epoch * epochs:,} steps: {epochs} epochs of {per_epoch:,}, {per_step} records a step, "
        f"{parameters.train_num_workers} workers"
    )


def _evaluation(parameters: Parameters) -> str:
    """Each metric grades either the questions with choices or the open ones."""
    metrics, own = [METRICS[name] for name in parameters.eval_metrics], own_items(parameters.eval_questions or ())
    asked = {
        with_choices: parameters.eval_num_samples + sum(bool(item.choices) == with_choices for item in own)
        for with_choices in {metric.wants_choices for metric in metrics}
    }
    deciding = [metric for metric in metrics if metric.decides]
    clear = clear_pass(
        min(asked[metric.wants_choices] for metric in deciding),
        parameters.eval_quality_threshold,
        is_share=all(metric.scale is Scale.SHARE for metric in deciding),
    )
    return f"asks the tuned model {sum(asked.values()):,} questions; {clear}"


def clear_pass(number: int, threshold: float, *, is_share: bool) -> str:
    """What it takes to pass clearly on so many questions, in words. `is_share`: grades are 0 or 1."""
    needed = samples_for_clear_pass(threshold, is_share=is_share)
    if needed is None:
        return f"no number of them passes {threshold} clearly"
    share = share_for_clear_pass(number, threshold, is_share=is_share)
    if share is None:
        return f"{number} are too few to pass {threshold} clearly, which takes {needed}: raise eval_num_samples"
    return f"{share:.0%} right answers pass {threshold} clearly"


def _last_durations(workshop: Workshop) -> dict[str, float]:
    ends = (event for event in workshop.storage.events() if event.get("event") == "end")
    return {event["name"]: event["seconds"] for event in ends if event.get("ok") and event["name"] in STAGE_NAMES}


def as_json(stages: list[Foreseen]) -> list[dict[str, Any]]:
    return [{item.name: getattr(stage, item.name) for item in fields(stage)} for stage in stages]
