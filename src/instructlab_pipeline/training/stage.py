"""The door of the training room: both phases, each from a model and a file of samples to a model.

Phase 1 learns the knowledge at a constant rate, phase 2 the skills and a replay of it at a rate that falls.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import (
    Artifact,
    Facts,
    digest_of,
    file_digest,
    shards_digest,
    write_atomically,
    write_jsonl,
)
from instructlab_pipeline.params.quantities import amount
from instructlab_pipeline.stage import Context, unkeyed
from instructlab_pipeline.training.job import Schedule, TrainingJob
from instructlab_pipeline.training.launch import Processes, fit, train
from instructlab_pipeline.training.validation import overfitting

MODEL = "model"
CHECKPOINTS = "checkpoints"
SUMMARY = "training.json"
LEFT_OUT = "left_out.jsonl"
_NUMERICS = ("torch", "transformers")  # another version may round differently


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    model: Artifact
    dataset: Artifact
    train_num_workers: int
    train_warmup_ratio: float
    train_batch_size: int
    train_sequence_length: int
    train_gradient_accumulation_steps: int
    train_seed: int
    output_save_checkpoints: bool
    output_checkpoint_frequency: int
    train_lora_rank: int
    train_moments_8bit: bool
    train_validation_share: float
    train_compile: str = unkeyed()
    train_tensorboard: bool = unkeyed()
    train_cpu_limit: int = unkeyed()
    train_memory_per_worker: str = unkeyed()


@dataclass(frozen=True, kw_only=True)
class Phase1Inputs(_Inputs):
    train_epochs_phase_1: int
    train_learning_rate_phase_1: float


@dataclass(frozen=True, kw_only=True)
class Phase2Inputs(_Inputs):
    train_phase_1: Artifact
    train_epochs_phase_2: int
    train_learning_rate_phase_2: float


@dataclass(frozen=True, kw_only=True)
class _Phase:
    """What tells the phases apart. `start`: the Hugging Face folder to go on from, `start_digest` its content's."""

    name: str
    data: str
    start: Path
    start_digest: str
    epochs: int
    learning_rate: float
    schedule: Schedule


def run_phase_1(inputs: Phase1Inputs, context: Context) -> Facts:
    """Knowledge, from the base model."""
    phase = _Phase(
        name="train_phase_1",
        data="phase_1.jsonl",
        start=inputs.model / "files",
        start_digest=inputs.model.digest,
        epochs=inputs.train_epochs_phase_1,
        learning_rate=inputs.train_learning_rate_phase_1,
        schedule="constant",
    )
    return _run(phase, inputs, context)


def run_phase_2(inputs: Phase2Inputs, context: Context) -> Facts:
    """Skills and replay, from the model of phase 1 where there is one, else from the base model."""
    first = inputs.train_phase_1
    has_model = (first / MODEL).is_dir()
    phase = _Phase(
        name="train_phase_2",
        data="phase_2.jsonl",
        start=first / MODEL if has_model else inputs.model / "files",
        start_digest=first.digest if has_model else inputs.model.digest,
        epochs=inputs.train_epochs_phase_2,
        learning_rate=inputs.train_learning_rate_phase_2,
        schedule="cosine",
    )
    return _run(phase, inputs, context)


def _run(phase: _Phase, inputs: _Inputs, context: Context) -> Facts:
    data = inputs.dataset / phase.data
    if not data.exists() or data.stat().st_size == 0:
        return _skip(f"the dataset has no samples for it ({phase.data} is empty)", phase, context)
    job = _job(phase, inputs, context)
    processes = Processes(
        workers=inputs.train_num_workers,
        cpus=inputs.train_cpu_limit,
        memory=int(amount(inputs.train_memory_per_worker) or 0),
        compile=inputs.train_compile,
    )
    result = train(fit(job, processes, context.events), processes, context.events)
    return _finish(job, result, context)


def _skip(reason: str, phase: _Phase, context: Context) -> Facts:
    context.events.point("notice", message=f"{phase.name} is skipped: {reason}")
    facts = {"skipped": reason}
    _write_summary(context.folder, facts)
    return facts


def _job(phase: _Phase, inputs: _Inputs, context: Context) -> TrainingJob:
    from instructlab_pipeline.training.tokens import tokens_key

    data = inputs.dataset / phase.data
    data_digest = shards_digest(data)
    key = tokens_key(data_digest, phase.start, max_sample_tokens=inputs.train_sequence_length)
    learning: dict[str, Any] = {
        "epochs": phase.epochs,
        "learning_rate": phase.learning_rate,
        "schedule": phase.schedule,
        "warmup_ratio": inputs.train_warmup_ratio,
        "samples_per_step": inputs.train_batch_size
        * inputs.train_gradient_accumulation_steps
        * inputs.train_num_workers,
        "max_sample_tokens": inputs.train_sequence_length,
        "seed": inputs.train_seed,
        "lora_rank": inputs.train_lora_rank,
        "moments_8bit": inputs.train_moments_8bit,
        "validation_share": inputs.train_validation_share,
    }
    return TrainingJob(
        name=phase.name,
        model=phase.start,
        data=data,
        output=context.folder,
        work=context.work,
        tokens=context.cache / "tokens" / key,
        fingerprint=digest_of([learning, key, phase.start_digest, _code_digest()]),
        micro_batch_tokens=inputs.train_batch_size * inputs.train_sequence_length,
        keep_every_epochs=inputs.output_checkpoint_frequency if inputs.output_save_checkpoints else 0,
        tensorboard=inputs.train_tensorboard,
        **learning,
    )


def _code_digest() -> str:
    """Of this room's sources and of the libraries that do its arithmetic."""
    from importlib.metadata import version

    sources = {path.name: file_digest(path) for path in Path(__file__).parent.glob("*.py")}
    return digest_of([sources, {name: version(name) for name in _NUMERICS}])


def _finish(job: TrainingJob, result: dict[str, Any], context: Context) -> Facts:
    left_out = result.pop("left_out")
    tokens_per_second = result.pop("tokens_per_second")
    too_long = sum(sample["reason"] == "too long" for sample in left_out)
    facts = {"skipped": None, **result, "overlong": too_long, "final_loss": result["epoch_losses"][-1]}
    _write_summary(context.folder, facts)
    if left_out:
        write_jsonl(context.folder / LEFT_OUT, left_out)
        context.events.point(
            "notice", message=f"{job.name} left out {len(left_out)} samples ({too_long} too long): see {LEFT_OUT}"
        )
    if told := overfitting(facts["validation_losses"]):
        context.events.point("notice", message=f"{job.name}: {told}; its model is that of epoch {facts['best_epoch']}")
    if job.epochs_folder.exists():
        job.epochs_folder.rename(context.folder / CHECKPOINTS)
    shutil.rmtree(job.recovery, ignore_errors=True)
    return {**facts, "tokens_per_second": tokens_per_second}


def _write_summary(folder: Path, facts: Facts) -> None:
    write_atomically(folder / SUMMARY, json.dumps(facts, indent=2) + "\n")
