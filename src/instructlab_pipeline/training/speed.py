"""How much arithmetic a step is, and how much a device can do: their ratio is the MFU, model FLOPs utilization."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructlab_pipeline.training.shape import Shape

# Dense bfloat16 with float32 sums, in FLOP/s, as NVIDIA's data sheets have it. The first name that fits counts.
GPU_PEAKS = {
    "B200": 2.25e15,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H20": 148e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A100": 312e12,
    "A800": 312e12,
    "A40": 150e12,
    "A30": 165e12,
    "A10": 125e12,
}
_SIDE = 512  # of the square matrices that measure a CPU: 0.3 GFLOP each time
_TIMES = 6


def step_flops(shape: Shape, lengths: NDArray[np.int64], supervised: int) -> float:
    """Useful FLOPs of a step: forward, and twice that on the way back; what is recomputed does not count.

    lengths: tokens of each sample. supervised: how many of them the head sees. A sliding window is counted as if it
    reached back to the sample's start.
    """
    layers = shape.layers * (
        2.0 * shape.layer * float(lengths.sum()) + 2.0 * shape.queries * float(np.square(lengths, dtype=float).sum())
    )
    head = 2.0 * shape.embedding * supervised
    return 3.0 * (layers + head)


def peak_flops(device: Any) -> float | None:
    """FLOP/s that `device` can reach: from the table, or measured on a CPU; None for a GPU that is not in the table."""
    if device.type != "cuda":
        return _measured()
    import torch

    name = torch.cuda.get_device_name(device)
    return next((peak for known, peak in GPU_PEAKS.items() if known in name), None)


def _measured() -> float:
    """The best of a few products of matrices, with as many threads as training has: some 50 ms in all."""
    import torch

    one, other, out = (torch.ones(_SIDE, _SIDE) for _ in range(3))
    best = float("inf")
    for _ in range(_TIMES):
        started = time.perf_counter()
        torch.mm(one, other, out=out)
        best = min(best, time.perf_counter() - started)
    return 2.0 * _SIDE**3 / best
