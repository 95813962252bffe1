"""Our trainer on random tokens on the GPU, as the job on the command line has it: full sequences, all learned."""

import sys
from pathlib import Path

import numpy as np

from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.meter import Meter
from instructlab_pipeline.training.model import adapt, check_isolation, load_student, shard
from instructlab_pipeline.training.shape import read_shape
from instructlab_pipeline.training.telemetry import Telemetry
from instructlab_pipeline.training.tokens import Tokens
from instructlab_pipeline.training.trainer import Trainer
from instructlab_pipeline.training.world import join


def main() -> None:
    job = TrainingJob.read(Path(sys.argv[1]))
    world = join()
    student = adapt(load_student(job.model, recompute=job.recompute), job, cuda=world.is_cuda)
    student = shard(student, world, offload=job.offload)
    check_isolation(student, world.device)
    shape = read_shape(job.model)
    trainer = Trainer(
        job=job,
        tokens=_tokens(job, shape.vocabulary),
        student=student,
        world=world,
        telemetry=Telemetry(job.telemetry, speaks=True),
        meter=Meter(shape, world, budget=job.micro_batch_tokens),
    )
    trainer.train()


def _tokens(job: TrainingJob, vocabulary: int) -> Tokens:
    """One step's samples, so that an epoch is a step."""
    length, count = job.max_sample_tokens, job.samples_per_step
    supervised = np.ones(count * length, np.bool_)
    supervised[::length] = False
    return Tokens(
        ids=np.random.default_rng(0).integers(0, vocabulary, count * length, dtype=np.uint32),
        supervised=supervised,
        starts=np.arange(count + 1, dtype=np.int64) * length,
        counts=np.full(count, length - 1, np.int64),
        lines=np.arange(1, count + 1, dtype=np.int64),
        left_out=(),
    )


if __name__ == "__main__":
    main()
