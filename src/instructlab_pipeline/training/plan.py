"""What each step learns and how fast: pure functions of the seed, the epoch and the step.

Nothing here depends on the number of workers or on packing, so a run can resume from a step number alone, and the same
steps follow on any number of workers.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from instructlab_pipeline.training.job import Schedule

Pack = list[int]  # the samples of one micro-batch


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The optimizer steps of a phase: every epoch passes over all samples once, in an order of its own.

    The last step of an epoch takes what is left, so no sample is lost.
    """

    num_samples: int
    samples_per_step: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.num_samples / self.samples_per_step)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def epoch_of(self, step: int) -> int:
        return step // self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        return (step + 1) % self.steps_per_epoch == 0

    def samples(self, step: int) -> NDArray[np.int64]:
        """The samples of `step`, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        first = index * self.samples_per_step
        return _epoch_order(self.seed, epoch, self.num_samples)[first : first + self.samples_per_step]


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_samples: int) -> NDArray[np.int64]:
    return np.random.default_rng([abs(seed), int(seed < 0), epoch]).permutation(num_samples)


def learning_rate(step: int, *, total_steps: int, peak: float, warmup_ratio: float, schedule: Schedule) -> float:
    """The rate of `step`, counted from 0: up to `peak` over the first share of the steps, then as scheduled.

    `cosine` falls towards 0, which it would reach one step after the last.
    """
    warmup_steps = math.ceil(warmup_ratio * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    passed = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * passed))


def pack(samples: Sequence[int], lengths: Sequence[int], *, budget: int, workers: int) -> list[list[Pack]]:
    """Each worker's micro-batches: as few as fit `budget` tokens, equally many for each worker, and of like size.

    `lengths[i]` is the number of tokens of `samples[i]`, at most `budget`. A pack is empty only where there are fewer
    samples than workers: workers step together, so an idle one still takes part.
    """
    longest_first = sorted(range(len(samples)), key=lambda i: (-lengths[i], samples[i]))
    tight = _first_fit(longest_first, lengths, budget)
    num_packs = max(1, math.ceil(len(tight) / workers)) * workers
    packs = _spread(longest_first, lengths, num_packs, budget) or tight + [[] for _ in range(num_packs - len(tight))]
    packs.sort(key=lambda pack: -sum(lengths[i] for i in pack))
    named = [[samples[i] for i in pack] for pack in packs]
    return [[named[first + _dealt(worker, first, workers)] for first in range(0, num_packs, workers)]
            for worker in range(workers)]  # fmt: skip


def _first_fit(longest_first: Sequence[int], lengths: Sequence[int], budget: int) -> list[Pack]:
    packs: list[Pack] = []
    room: list[int] = []
    for i in longest_first:
        place = next((p for p, free in enumerate(room) if free >= lengths[i]), len(packs))
        if place == len(packs):
            packs.append([])
            room.append(budget)
        packs[place].append(i)
        room[place] -= lengths[i]
    return packs


def _spread(longest_first: Sequence[int], lengths: Sequence[int], num_packs: int, budget: int) -> list[Pack] | None:
    """The same samples in `num_packs` packs of like size, or None where that overflows one."""
    packs: list[Pack] = [[] for _ in range(num_packs)]
    lightest = [(0, place) for place in range(num_packs)]
    for i in longest_first:
        tokens, place = lightest[0]
        if tokens + lengths[i] > budget:
            return None
        packs[place].append(i)
        heapq.heapreplace(lightest, (tokens + lengths[i], place))
    return packs


def _dealt(worker: int, first: int, workers: int) -> int:
    """Like a snake: the heaviest pack of one round goes to whoever had the lightest of the round before."""
    return worker if (first // workers) % 2 == 0 else workers - 1 - worker
