"""A training worker: `python -m instructlab_pipeline.training.worker JOB.json`, as the agent starts it."""

import json
import os
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import CHUNK_BYTES, shards_of, write_atomically
from instructlab_pipeline.errors import PipelineError, WorkerError
from instructlab_pipeline.processes import die_with_parent
from instructlab_pipeline.training.failure import OutOfMemory, explained, record_failure
from instructlab_pipeline.training.job import TrainingJob


def main() -> None:
    die_with_parent()
    job = TrainingJob.read(Path(sys.argv[1]))
    try:
        _work(job)
    except PipelineError as error:
        record_failure(job.failure, error)
        _exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - a process ends here, and the pipeline wants to know why
        traceback.print_exc()
        record_failure(job.failure, _told(error))
        _exit(WorkerError.exit_code)
    _exit(0)


def _exit(code: int) -> None:
    """Leave at once: Python's own way out, with gloo's threads still running, now and then ends in an abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _work(job: TrainingJob) -> None:
    from instructlab_pipeline.training.meter import Meter
    from instructlab_pipeline.training.model import adapt, beyond_positions, check_isolation, load_student, shard
    from instructlab_pipeline.training.shape import read_shape
    from instructlab_pipeline.training.telemetry import Telemetry
    from instructlab_pipeline.training.trainer import Trainer
    from instructlab_pipeline.training.world import join, leave

    world = join()
    job = _agreed(job, world)
    telemetry = Telemetry(job.telemetry, speaks=world.leads)
    tokens = _tokens(job, tokenizes=world.local_rank == 0, telemetry=telemetry)
    if told := beyond_positions(job.model, longest=int(tokens.lengths.max())):
        telemetry.tell("notice", message=f"{job.name}: {told}")
    student = adapt(
        load_student(job.model, recompute=job.recompute, longest=job.max_sample_tokens), job, cuda=world.is_cuda
    )
    student = shard(student, world, offload=job.offload)
    check_isolation(student, world.device)
    meter = Meter(read_shape(job.model), world, budget=job.micro_batch_tokens)
    trainer = Trainer(job=job, tokens=tokens, student=student, world=world, telemetry=telemetry, meter=meter)
    first_step, started = trainer.progress.step, time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    _deliver(trainer)
    if world.local_rank == 0:
        write_atomically(job.result, json.dumps(_result(trainer, trainer.progress.step - first_step, seconds)))
    leave(world)


def _agreed(job: TrainingJob, world: Any) -> TrainingJob:
    """The job as the machine with the least memory planned it: micro-batches must be the same for all."""
    tokens, keeps = world.least([job.micro_batch_tokens, int(not job.recompute)])
    return replace(job, micro_batch_tokens=tokens, recompute=not keeps)


def _tokens(job: TrainingJob, *, tokenizes: bool, telemetry: Any) -> Any:
    """The tokenized samples; one worker of each machine makes them, where they are not there yet."""
    from instructlab_pipeline.training.tokens import open_tokens, wait_for_tokens, write_tokens

    if tokenizes and open_tokens(job.tokens) is None:
        from transformers import AutoTokenizer

        from instructlab_pipeline.training.masks import Encoder

        total = _count_lines(job.data)
        write_tokens(
            job.data,
            Encoder(AutoTokenizer.from_pretrained(job.model)),
            job.tokens,
            max_sample_tokens=job.max_sample_tokens,
            progress=lambda done: telemetry.tell("tokenized", done=done, total=total),
        )
    return wait_for_tokens(job.tokens)


def _count_lines(data: Path) -> int:
    """Of all shards, a megabyte at a time: they need not fit into memory."""
    count = 0
    for shard in shards_of(data):
        with shard.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                count += piece.count(b"\n")
    return count


def _deliver(trainer: Any) -> None:
    """The phase's model: as training left it, or as it was after an earlier epoch that was kept and did better."""
    from instructlab_pipeline.training.export import adopt, export

    job, world, best = trainer.job, trainer.world, trainer.best_epoch()
    if best == job.epochs:
        export(trainer.student, job.model, job.output / "model", world)
    elif world.leads:
        adopt(job.epoch_folder(best), job.output / "model")


def _result(trainer: Any, steps: int, seconds: float) -> dict[str, Any]:
    """What the phase came to; `tokens` and `supervised_tokens` are those of one epoch."""
    tokens, plan = trainer.tokens, trainer.plan
    trained = int(tokens.starts[-1]) * steps / max(1, plan.steps_per_epoch)
    return {
        "steps": plan.total_steps,
        "epochs": plan.epochs,
        "samples": len(tokens),
        "tokens": int(tokens.starts[-1]),
        "supervised_tokens": int(tokens.counts.sum()),
        "left_out": list(tokens.left_out),
        "epoch_losses": trainer.progress.epoch_losses,
        "validation_losses": trainer.progress.validation_losses,
        "best_epoch": trainer.best_epoch(),
        "tokens_per_second": round(trained / seconds, 1),
    }


def _told(error: Exception) -> WorkerError:
    return _out_of_memory(error) if _is_out_of_memory(error) else explained(str(error)) or _crash(error)


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _out_of_memory(error: Exception) -> OutOfMemory:
    return OutOfMemory(
        f"a training worker is out of memory: {_first_line(error)}",
        remedy="lower train_batch_size (and raise train_gradient_accumulation_steps to learn the same), "
        "lower train_sequence_length, or raise train_num_workers",
    )


def _crash(error: Exception) -> WorkerError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return WorkerError(
        f"a training worker failed in {place.filename}, line {place.lineno}: "
        f"{type(error).__name__}: {_first_line(error)}",
        remedy="worker.log in the stage's work folder has the whole story; the same command goes on from the last "
        "checkpoint",
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


if __name__ == "__main__":
    main()
