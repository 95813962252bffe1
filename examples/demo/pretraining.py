"""The first schooling of a tiny model: next-token prediction on short conversations, one process, a minute at most.

Batches hold conversations of like length, so that padding is rare and no conversation sees another. Everything is a
function of the seed: the same conversations give the same weights on the same machine.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

IGNORED = -100  # a label that the loss passes over, by the convention of transformers
BETAS = (0.9, 0.95)
WARMUP = 0.05  # share of the steps in which the rate climbs


@dataclass(frozen=True, kw_only=True)
class Schooling:
    """How to pre-train. `max_steps` cuts the epochs short, for tests."""

    epochs: int = 4
    batch_size: int = 8
    learning_rate: float = 1.2e-3
    seed: int = 42
    max_steps: int | None = None


def pretrain(
    model: "PreTrainedModel",
    conversations: Sequence[Sequence[int]],
    schooling: Schooling,
    *,
    on_step: Callable[[int, int, float], None],
) -> None:
    """Teach `model` the token ids of `conversations`; `on_step` hears (step, steps, loss in nats a token)."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), betas=BETAS, weight_decay=0.0, fused=True)
    batches = list(_batches(conversations, schooling))[: schooling.max_steps]
    model.train()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = schooling.learning_rate * _rate(step / len(batches))
        ids, labels = _padded(batch)
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        on_step(step + 1, len(batches), loss.item())
    model.eval()


def _batches(conversations: Sequence[Sequence[int]], schooling: Schooling) -> Iterator[list[Sequence[int]]]:
    """Every conversation once an epoch, in batches of like length that come in random order."""
    order = random.Random(schooling.seed)
    for _ in range(schooling.epochs):
        by_length = sorted(conversations, key=lambda ids: (len(ids), order.random()))
        starts = list(range(0, len(by_length), schooling.batch_size))
        order.shuffle(starts)
        for start in starts:
            yield by_length[start : start + schooling.batch_size]


def _padded(batch: Sequence[Sequence[int]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Token ids and labels, [B, T] int64. Padding stands at the end, where causal attention never looks back from."""
    import torch

    length = max(map(len, batch))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in batch])
    labels = torch.tensor([[*row, *[IGNORED] * (length - len(row))] for row in batch])
    return ids, labels


def _rate(progress: float) -> float:
    """Share of the full learning rate: a linear climb, then a cosine down to nothing."""
    if progress < WARMUP:
        return (progress + 0.01) / (WARMUP + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))
