"""What a step took: time by what it went into, memory, and how much of the device's arithmetic was put to use."""

import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructlab_pipeline.training.shape import Shape
from instructlab_pipeline.training.speed import peak_flops, step_flops
from instructlab_pipeline.training.world import World


class Meter:
    """One worker's. `budget`: tokens that fit a micro-batch.

    On a GPU, the optimizer's work is waited for by the next step, and is counted there.
    """

    def __init__(self, shape: Shape, world: World, *, budget: int) -> None:
        self._shape = shape
        self._world = world
        self._budget = budget
        self._peak = peak_flops(world.device) if world.leads else None
        self._parts: dict[str, float] = defaultdict(float)
        self._started = time.perf_counter()

    def start(self) -> None:
        """A step begins."""
        self._parts.clear()
        self._started = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time spent inside is the step's `name`_s."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._parts[f"{name}_s"] += time.perf_counter() - started

    def read(self, lengths: NDArray[np.int64], supervised: int, micro_batches: int) -> dict[str, Any]:
        """What the step, over all workers, took until now.

        lengths: tokens of each of its samples. idle_share: of the room in its micro-batches (nothing is padded).
        """
        seconds = time.perf_counter() - self._started
        tokens = int(lengths.sum())
        room = micro_batches * self._budget * self._world.size
        return {
            "tokens": tokens,
            "supervised_tokens": supervised,
            "tokens_per_second": round(tokens / seconds, 1),
            "micro_batches": micro_batches,
            "idle_share": round(1 - tokens / room, 4),
            "mfu": self._utilization(step_flops(self._shape, lengths, supervised) / seconds),
            "memory_bytes": self._memory(),
            "seconds": round(seconds, 4),
            **{name: round(part, 4) for name, part in self._parts.items()},
        }

    def _utilization(self, flops_per_second: float) -> float | None:
        return round(flops_per_second / (self._peak * self._world.size), 4) if self._peak else None

    def _memory(self) -> int:
        """The most that this worker has taken so far, on its GPU where it has one."""
        if self._world.is_cuda:
            import torch

            return int(torch.cuda.max_memory_allocated(self._world.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
