"""Our trainer on the job that is named on the command line, in this process."""

import json
import sys
from pathlib import Path
from statistics import fmean

import torch
from measure import measured

from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.meter import Meter
from instructlab_pipeline.training.model import load_student, shard
from instructlab_pipeline.training.shape import read_shape
from instructlab_pipeline.training.speed import peak_flops, step_flops
from instructlab_pipeline.training.telemetry import Telemetry
from instructlab_pipeline.training.tokens import wait_for_tokens
from instructlab_pipeline.training.trainer import Trainer
from instructlab_pipeline.training.world import World


def main() -> None:
    job = TrainingJob.read(Path(sys.argv[1]))
    job.telemetry.unlink(missing_ok=True)
    world = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))
    trainer = Trainer(
        job=job,
        tokens=wait_for_tokens(job.tokens),
        student=shard(load_student(job.model), world),
        world=world,
        telemetry=Telemetry(job.telemetry, speaks=True),
        meter=Meter(read_shape(job.model), world, budget=job.micro_batch_tokens),
    )

    def work() -> int:
        trainer.train()
        return len(trainer.tokens)

    measured(work)
    losses = [json.loads(line)["loss"] for line in job.telemetry.read_text().splitlines()]
    print(json.dumps({"loss": fmean(losses), "flops": _flops(trainer), "peak": peak_flops(world.device)}))


def _flops(trainer: Trainer) -> float:
    tokens = trainer.tokens
    return step_flops(read_shape(trainer.job.model), tokens.lengths, int(tokens.counts.sum()))


if __name__ == "__main__":
    main()
