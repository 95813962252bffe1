"""The training loop: steps that are the same on any number of workers, and can go on from any checkpoint."""

import contextlib
import math
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instructlab_pipeline.errors import Interrupted, WorkerError
from instructlab_pipeline.training.batch import Batch, make_batch
from instructlab_pipeline.training.checkpoint import Progress
from instructlab_pipeline.training.export import export
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.meter import Meter
from instructlab_pipeline.training.model import Student
from instructlab_pipeline.training.moments import AdamW8bit
from instructlab_pipeline.training.plan import Pack, Plan, learning_rate, pack
from instructlab_pipeline.training.recovery import Recovery
from instructlab_pipeline.training.spike import is_spike, remembered
from instructlab_pipeline.training.telemetry import Telemetry
from instructlab_pipeline.training.tokens import Tokens, name_of
from instructlab_pipeline.training.validation import best_epoch, split
from instructlab_pipeline.training.world import World

BETAS = (0.9, 0.95)  # as Llama, OLMo and most recipes for language models have them
WEIGHT_DECAY = 0.0
CLIP_NORM = 1.0
NAMED_LINES = 8


@dataclass(kw_only=True)
class Trainer:
    """One worker's part of a phase."""

    job: TrainingJob
    tokens: Tokens
    student: Student
    world: World
    telemetry: Telemetry
    meter: Meter
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.learned, self.held_out = split(len(self.tokens), share=self.job.validation_share, seed=self.job.seed)
        self.plan = Plan(
            num_samples=len(self.learned),
            samples_per_step=self.job.samples_per_step,
            epochs=self.job.epochs,
            seed=self.job.seed,
        )
        self.recovery = Recovery(self.job, self.world, self.telemetry)
        self.lengths = self.tokens.lengths
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.Optimizer:
        kind = AdamW8bit if self.job.moments_8bit else partial(torch.optim.AdamW, fused=True)
        return kind(self.student.learning(), lr=0.0, betas=BETAS, weight_decay=WEIGHT_DECAY)

    def train(self) -> None:
        """All steps that are left, from the newest checkpoint on.

        Raises:
            WorkerError: the loss is not a number, or has leapt up; a checkpoint cannot be written.
            Interrupted: SIGTERM came; what was learned is saved.
        """
        self.progress = self.recovery.resume(self.student, self.optimizer)
        with _terminated() as terminated:
            for step in range(self.progress.step, self.plan.total_steps):
                self.recovery.check()
                stop, save = self._step(step, [bool(terminated), self.recovery.is_due])
                if self.plan.ends_epoch(step):
                    self._end_epoch(self.plan.epoch_of(step) + 1)
                if save or stop:
                    self.recovery.save(self.progress, self.student, self.optimizer)
                if stop:
                    self.recovery.finish()
                    raise Interrupted(f"{self.job.name} was asked to stop and saved its state after step {step + 1}")
        self.recovery.finish()

    def _step(self, step: int, wishes: list[bool]) -> list[bool]:
        """One optimizer step; says for each wish whether any worker has it."""
        self.meter.start()
        samples = self.learned[self.plan.samples(step)]
        with self.meter.part("data"):
            packs = self._packs(samples)
        supervised = int(self.tokens.counts[samples].sum())
        loss = self._accumulate(packs, scale=1.0 / supervised)
        with self.meter.part("wait"):
            loss, squares, *wished = self.world.sum([loss, self._gradient_squares(), *map(float, wishes)])
        norm = math.sqrt(squares)
        self._check(step, samples, loss, norm)
        rate = self._rate(step)
        with self.meter.part("optimizer"):
            self._update(rate, shrink=min(1.0, CLIP_NORM / (norm + 1e-6)))
        self._count(step, samples, loss, supervised)
        self.telemetry.tell(
            "step",
            step=step + 1,
            steps=self.plan.total_steps,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            **self.meter.read(self.lengths[samples], supervised, len(packs)),
        )
        return [wish > 0 for wish in wished]

    def _packs(self, samples: NDArray[np.int64]) -> list[Pack]:
        return pack(
            samples.tolist(),
            self.lengths[samples].tolist(),
            budget=self.job.micro_batch_tokens,
            workers=self.world.size,
        )[self.world.rank]

    def _accumulate(self, packs: list[Pack], *, scale: float) -> float:
        """Forward and backward over this worker's micro-batches; with the last, gradients add up over the workers."""
        losses = []
        for number, samples in enumerate(packs, start=1):
            if self.world.shards:
                self.student.set_requires_gradient_sync(number == len(packs))
            with self.meter.part("data"):
                batch = self._batch(samples, scale=scale)
            with self.meter.part("forward_backward"):
                loss = self.student(batch)
                loss.backward()
                losses.append(loss.detach())
        with self.meter.part("forward_backward"):  # a GPU is waited for here
            return float(torch.stack(losses).double().sum())

    def _batch(self, samples: Pack, *, scale: float) -> Batch:
        """An idle worker goes through the motions with any sample, which counts for nothing."""
        encoded = [self.tokens.sample(i) for i in samples or [0]]
        return make_batch(encoded, scale=scale if samples else 0.0, device=self.world.device)

    def _gradient_squares(self) -> float:
        """Sum of the squares of all gradients that this worker holds."""
        norms = torch._foreach_norm(self._gradients())  # noqa: SLF001 - as torch's own clipping does
        return float(torch.stack(norms).double().square().sum())

    def _gradients(self) -> list[Tensor]:
        found = (weight.grad for weight in self.student.parameters() if weight.grad is not None)
        return [grad.to_local() if hasattr(grad, "to_local") else grad for grad in found]

    def _update(self, rate: float, *, shrink: float) -> None:
        if shrink < 1.0:
            torch._foreach_mul_(self._gradients(), shrink)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _check(self, step: int, samples: NDArray[np.int64], loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._stray(step, samples, f"the loss is {loss:.3g} and the gradient norm {norm:.3g}")
        recent = self.progress.recent_losses
        if self._is_whole(samples) and is_spike(loss, recent):
            raise self._stray(
                step, samples, f"the loss, about {median(recent):.3g}, has risen to {loss:.3g} and stays there"
            )

    def _stray(self, step: int, samples: Iterable[int], fault: str) -> WorkerError:
        lines = sorted(int(self.tokens.lines[i]) for i in samples)
        named = ", ".join(map(str, lines[:NAMED_LINES])) + (" ..." if len(lines) > NAMED_LINES else "")
        return WorkerError(
            f"{self.job.name}: in step {step + 1} {fault}; the step's samples are lines {named} of "
            f"{name_of(self.job.data)}",
            remedy="lower train_learning_rate, or look at these samples",
        )

    def _is_whole(self, samples: NDArray[np.int64]) -> bool:
        """The last step of an epoch may have a few samples only, whose loss says little."""
        return 2 * len(samples) >= self.job.samples_per_step

    def _rate(self, step: int) -> float:
        return learning_rate(
            step,
            total_steps=self.plan.total_steps,
            peak=self.job.learning_rate,
            warmup_ratio=self.job.warmup_ratio,
            schedule=self.job.schedule,
        )

    def _count(self, step: int, samples: NDArray[np.int64], loss: float, supervised: int) -> None:
        progress = self.progress
        if self._is_whole(samples):
            progress.recent_losses = remembered(progress.recent_losses, loss)
        progress.step = step + 1
        progress.loss_sum += loss * supervised
        progress.loss_tokens += supervised
        if self.plan.ends_epoch(step):
            progress.epoch_losses.append(progress.loss_sum / progress.loss_tokens)
            progress.loss_sum, progress.loss_tokens = 0.0, 0

    def _end_epoch(self, epoch: int) -> None:
        if len(self.held_out):
            loss = self._validate()
            self.progress.validation_losses.append(loss)
            self.telemetry.tell("validation", epoch=epoch, step=self.progress.step, loss=loss)
        if self.job.keep_every_epochs and epoch % self.job.keep_every_epochs == 0:
            export(self.student, self.job.model, self.job.epoch_folder(epoch), self.world)

    def _validate(self) -> float:
        """Mean loss over the supervised tokens of the samples that are held out."""
        scale = 1.0 / int(self.tokens.counts[self.held_out].sum())
        with torch.no_grad():
            losses = [float(self.student(self._batch(samples, scale=scale))) for samples in self._packs(self.held_out)]
        if self.world.shards:
            self.student.reshard()  # without a backward pass FSDP would leave weights whole
        (loss,) = self.world.sum([sum(losses)])
        return loss

    def best_epoch(self) -> int:
        """Whose weights the phase ends with: the last epoch's, unless an earlier one that was kept did better."""
        epochs, every = self.job.epochs, self.job.keep_every_epochs
        if not len(self.held_out):
            return epochs
        return best_epoch(self.progress.validation_losses, kept=range(every, epochs + 1, every) if every else ())


@contextlib.contextmanager
def _terminated() -> Iterator[list[int]]:
    """A list that fills once SIGTERM comes, so that the step under way can end."""
    received: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)
