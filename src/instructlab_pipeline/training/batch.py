"""Samples laid end to end, as the model takes them.

Shapes: T tokens of all samples, S supervised ones among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from instructlab_pipeline.training.attention import Layout
from instructlab_pipeline.training.masks import Encoded


@dataclass(frozen=True, kw_only=True)
class Batch:
    """ids, positions: [1, T], positions start again with each sample.

    before: [S], the place before each target, within the same sample. targets: [S].
    scale: what the summed loss is multiplied by.
    """

    ids: Tensor
    positions: Tensor
    layout: Layout
    before: Tensor
    targets: Tensor
    scale: float


def make_batch(samples: Sequence[Encoded], *, scale: float, device: torch.device) -> Batch:
    """One or more encoded samples as a batch on `device`."""
    lengths = [len(ids) for ids, _ in samples]
    ids = torch.from_numpy(np.concatenate([ids for ids, _ in samples]).astype(np.int64))
    at = torch.from_numpy(np.concatenate([supervised for _, supervised in samples]).nonzero()[0])
    starts = torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32)
    return Batch(
        ids=ids[None].to(device),
        positions=torch.cat([torch.arange(length) for length in lengths])[None].to(device),
        layout=Layout(lengths, starts.to(device) if device.type == "cuda" else None),
        before=(at - 1).to(device),
        targets=ids[at].to(device),
        scale=scale,
    )
