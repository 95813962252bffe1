"""The stages in order, and what it takes to run them again: reuse of what is sealed, continuation of what is not.

    parameters ─┬─> model ──────────────────────────────┐
                └─> taxonomy ─> sdg ─> dataset ─> train_phase_1 ─> eval_phase_1
                                  │                     └────────> train_phase_2 ─> eval_final ─> publish
                                  └─ evaluation set ───────────────────────────────────^

A stage runs when no sealed folder with its key exists, neither in this run nor in one that shares its cache.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import Artifact, Facts, ManifestError
from instructlab_pipeline.dataset import stage as dataset
from instructlab_pipeline.errors import ServiceError, UsageError, WorkerError
from instructlab_pipeline.evaluation import stage as evaluation
from instructlab_pipeline.evaluation.questions import content_digest
from instructlab_pipeline.events import Events
from instructlab_pipeline.model import stage as model
from instructlab_pipeline.modelcar.source import schemes_of
from instructlab_pipeline.params.table import Parameters
from instructlab_pipeline.publish import stage as publish
from instructlab_pipeline.publish.inputs import PublishInputs
from instructlab_pipeline.publish.memory import MEMORY as LAYERS
from instructlab_pipeline.publish.previous import published_evaluation
from instructlab_pipeline.publish.sealing import layer_readers
from instructlab_pipeline.run_storage import RunStorage
from instructlab_pipeline.sdg import stage as sdg
from instructlab_pipeline.sdg.parts import VERSION as SDG_VERSION
from instructlab_pipeline.stage import Context, Stage, key_of
from instructlab_pipeline.taxonomy import stage as taxonomy
from instructlab_pipeline.training import stage as training
from instructlab_pipeline.training.families import PROVEN_FAMILIES

STAGES: tuple[Stage, ...] = (
    Stage(
        name="model",
        inputs=model.ModelInputs,
        run=lambda inputs, context: model.run(inputs, context, schemes_of(inputs), PROVEN_FAMILIES),
        fingerprint=lambda inputs: model.fingerprint(inputs.sdg_base_model, schemes_of(inputs)),
    ),
    Stage(
        name="taxonomy",
        inputs=taxonomy.TaxonomyInputs,
        run=taxonomy.run,
        fingerprint=lambda inputs: taxonomy.fingerprint(inputs.sdg_repo_url, inputs.sdg_repo_revision),
        notices=lambda inputs: taxonomy.notices(inputs.sdg_repo_url, inputs.sdg_repo_revision),
        version=5,
    ),
    Stage(
        name="sdg",
        inputs=sdg.SdgInputs,
        run=sdg.run,
        fingerprint=sdg.fingerprint,
        memories=("journal", "leaves"),
        version=SDG_VERSION,
    ),
    Stage(
        name="dataset",
        inputs=dataset.DatasetInputs,
        run=lambda inputs, context: dataset.run(
            inputs, context, given_away=evaluation.given_away(inputs.sdg, inputs.eval_questions)
        ),
        fingerprint=lambda inputs: content_digest(inputs.eval_questions or ()),
        version=4,
    ),
    Stage(
        name="train_phase_1",
        inputs=training.Phase1Inputs,
        run=training.run_phase_1,
        readers=layer_readers,
        memories=(LAYERS,),
    ),
    Stage(
        name="eval_phase_1",
        inputs=evaluation.EvalPhase1Inputs,
        run=evaluation.run_phase_1,
        fingerprint=evaluation.fingerprint,
        memories=evaluation.MEMORIES,
        version=4,
    ),
    Stage(
        name="train_phase_2",
        inputs=training.Phase2Inputs,
        run=training.run_phase_2,
        readers=layer_readers,
        memories=(LAYERS,),
    ),
    Stage(
        name="eval_final",
        inputs=evaluation.EvalFinalInputs,
        run=lambda inputs, context: evaluation.run_final(inputs, context, published=_published_version(inputs)),
        fingerprint=evaluation.fingerprint,
        memories=evaluation.MEMORIES,
        version=4,
    ),
    Stage(
        name="publish",
        inputs=PublishInputs,
        run=publish.run,
        fingerprint=publish.fingerprint,
        lost=publish.lost,
        memories=(LAYERS,),
        version=4,
    ),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What became of a stage: `made`, or `reused` from this run or from another one that shares its cache.

    `place`: where a person finds its folder.
    """

    name: str
    status: str
    seconds: float
    artifact: Artifact
    place: str


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where stages run, and whom they tell.

    `deputy`, called with a stage's name and key, performs it on other machines, which seal it in the storage.
    """

    storage: RunStorage
    parameters: Parameters
    events: Events
    deputy: Callable[[str, str], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A stage's inputs, the outside's state, the key of both; and what the stage sealed last, whatever its key."""

    inputs: Any
    fingerprint: str
    key: str
    sealed: Artifact | None


def run(workshop: Workshop, *, until: str = STAGE_NAMES[-1]) -> Iterable[StageResult]:
    """Perform the stages in order up to `until`, yielding each result as soon as it is there.

    Raises:
        PipelineError: a stage failed; everything before it is sealed and will be reused.
    """
    done: dict[str, Artifact] = {}
    for stage in STAGES[: STAGE_NAMES.index(until) + 1]:
        result = perform(stage, workshop, done)
        done[stage.name] = result.artifact
        yield result


def run_one(workshop: Workshop, name: str) -> StageResult:
    """Perform one stage on what the stages before it have sealed in the same run."""
    stage = STAGES[STAGE_NAMES.index(name)]
    done = {needed: _sealed_before(workshop.storage, name, needed) for needed in needed_stages(stage)}
    return perform(stage, workshop, done)


def perform(stage: Stage, workshop: Workshop, done: Mapping[str, Artifact]) -> StageResult:
    started = time.monotonic()
    storage = workshop.storage
    with workshop.events.watched(stage.name):
        asked = asked_for(stage, workshop, done)
        for notice in stage.notices(asked.inputs):
            workshop.events.point("notice", message=notice)

    found = reusable(stage, workshop, asked)
    if found is not None:
        artifact = storage.adopt(found)
        workshop.events.point("reused", stage=stage.name, facts=artifact.facts)
        return _result("reused", artifact, started, storage)

    if workshop.deputy is not None:
        return _result("made", _made_by_deputy(workshop.deputy, stage.name, asked.key, storage), started, storage)
    for name in needed_stages(stage):
        storage.bring(done[name])
    with storage.working(stage.name, stage.memories):
        artifact = _made(stage, workshop, asked, done)
        storage.keep(artifact)
    return _result("made", artifact, started, storage)


def _made(stage: Stage, workshop: Workshop, asked: Asked, done: Mapping[str, Artifact]) -> Artifact:
    """Run the stage in a folder that is empty but for its `work/`, and seal what it leaves there."""
    run = workshop.storage.folder
    folder = run.stage(stage.name)
    artifacts.unseal(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with workshop.events.span(stage.name) as result:
        facts: Facts = stage.run(asked.inputs, Context(folder=folder, cache=run.cache, events=workshop.events))
        result["facts"] = facts
        origins = {name: done[name].digest for name in needed_stages(stage)}
        facts = {**facts, "fingerprint": asked.fingerprint} if asked.fingerprint else facts
        readers = stage.readers(run.cache)
        return artifacts.seal(folder, kind=stage.name, key=asked.key, inputs=origins, facts=facts, readers=readers)


def _made_by_deputy(deputy: Callable[[str, str], None], name: str, key: str, storage: RunStorage) -> Artifact:
    deputy(name, key)
    artifact = storage.sealed(name)
    if artifact is None or artifact.key != key:
        raise WorkerError(
            f"{storage.place(name)} was not sealed as asked for",
            remedy="use the same version of the image, and the same secrets, for the steps and for their jobs",
        )
    return artifact


def _result(status: str, artifact: Artifact, started: float, storage: RunStorage) -> StageResult:
    return StageResult(
        name=artifact.kind,
        status=status,
        seconds=time.monotonic() - started,
        artifact=artifact,
        place=storage.place(artifact.kind),
    )


def asked_for(stage: Stage, workshop: Workshop, done: Mapping[str, Artifact]) -> Asked:
    """What a stage is asked for now. `done`: the artifacts of the stages that it needs."""
    inputs = stage.inputs(**_filled(stage, workshop.parameters, done))
    sealed = _sealed(workshop.storage, stage.name, workshop.events)
    fingerprint = _fingerprint(stage, inputs, sealed, workshop.events)
    return Asked(inputs=inputs, fingerprint=fingerprint, key=key_of(stage, inputs, fingerprint), sealed=sealed)


def reusable(stage: Stage, workshop: Workshop, asked: Asked) -> Artifact | None:
    """What was asked for as it lies, in this run or in another one that shares its cache, whole and not lost."""
    found = _undamaged(asked.sealed, asked.key, workshop)
    found = found or workshop.storage.made_elsewhere(stage.name, asked.key)
    return None if found is None or _is_lost(stage, asked.inputs, found, workshop) else found


def _published_version(inputs: evaluation.EvalFinalInputs) -> evaluation.Published:
    """Rooms do not import each other: this is where the evaluation gets to see what was published."""
    return lambda: published_evaluation(inputs.output_oci_model_uri, insecure=inputs.output_registry_insecure)


def _filled(stage: Stage, parameters: Parameters, done: Mapping[str, Artifact]) -> dict[str, Any]:
    """A stage's inputs by name: an earlier stage's artifact, a parameter's value, or `parameters`, all of them."""
    given = {**asdict(parameters), "parameters": asdict(parameters), **done}
    return {item.name: given[item.name] for item in fields(stage.inputs)}


def needed_stages(stage: Stage) -> list[str]:
    return [item.name for item in fields(stage.inputs) if item.name in STAGE_NAMES]


def _sealed_before(storage: RunStorage, name: str, needed: str) -> Artifact:
    artifact = storage.sealed(needed)
    if artifact is None:
        raise UsageError(
            f"stage {name} needs {needed}, which is not finished in {storage.place()}",
            remedy=f"run `instructlab-pipeline stage {needed} --run-dir {storage.place()}` first",
        )
    return artifact


def _fingerprint(stage: Stage, inputs: Any, sealed: Artifact | None, events: Events) -> str:
    """The outside's present state; where it cannot be reached, its state when this run last saw it."""
    try:
        return stage.fingerprint(inputs)
    except ServiceError as error:
        seen = sealed.facts.get("fingerprint") if sealed else None
        if not seen or sealed is None or sealed.key != key_of(stage, inputs, seen):
            raise
        events.point("notice", message=f"{error.message}; going on with what stage {stage.name} fetched before")
        return str(seen)


def _undamaged(sealed: Artifact | None, key: str, workshop: Workshop) -> Artifact | None:
    if sealed is None or sealed.key != key:
        return None
    if (complaint := workshop.storage.damage(sealed)) is not None:
        workshop.events.point("notice", message=f"{complaint}: stage {sealed.kind} runs again")
        return None
    return sealed


def _is_lost(stage: Stage, inputs: Any, artifact: Artifact, workshop: Workshop) -> bool:
    """Whether what the stage made outside of the run is gone; what cannot be asked about counts as being there."""
    if stage.lost is None:
        return False
    workshop.storage.bring(artifact)
    try:
        complaint = stage.lost(inputs, artifact)
    except ServiceError as error:
        workshop.events.point(
            "notice", message=f"{error.message}; what stage {stage.name} made there is taken to be there still"
        )
        return False
    if complaint is not None:
        workshop.events.point("notice", message=f"{complaint}: stage {stage.name} runs again")
    return complaint is not None


def _sealed(storage: RunStorage, name: str, events: Events) -> Artifact | None:
    """What a stage left sealed; where its manifest was tampered with, the stage runs again."""
    try:
        return storage.sealed(name)
    except ManifestError as error:
        events.point("notice", message=f"{error.message}: stage {name} runs again")
        return None


def as_json(result: StageResult) -> dict[str, Any]:
    return {
        "stage": result.name,
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "digest": result.artifact.digest,
        "facts": result.artifact.facts,
    }
