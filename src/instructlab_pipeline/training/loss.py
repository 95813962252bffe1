"""The language model's head and its cross-entropy in one, in chunks, so that the logits of a batch never exist whole.

Shapes: S supervised positions, H hidden size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from instructlab_pipeline.training.memory import CHUNK


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a family does to its logits: divides them (Granite), caps them (Gemma 2)."""

    divisor: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, config: Any) -> "Head":
        return cls(
            divisor=getattr(config, "logits_scaling", None) or 1.0,
            softcap=getattr(config, "final_logit_softcapping", None),
        )


def summed_loss(hidden: Tensor, weight: Tensor, targets: Tensor, *, head: Head, scale: float) -> Tensor:
    """Sum of the cross-entropies in nats times `scale`, a float32 scalar.

    hidden: [S, H], in the position before each target. weight: [V, H]. targets: [S] int64.
    With `scale` = 1 / (supervised tokens of the global step), adding up over micro-batches and workers gives the mean
    over tokens, however these were packed.
    """
    loss: Tensor = _HeadLoss.apply(hidden, weight, targets, head, scale)
    return loss


class _HeadLoss(torch.autograd.Function):  # type: ignore[misc]  # torch is untyped here
    """Makes both gradients on the way forward, chunk by chunk: each chunk's logits are needed only once."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, head: Head, scale: float) -> Tensor:
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for start in range(0, len(targets), CHUNK):
            chunk = slice(start, start + CHUNK)
            loss, slope = _chunk_loss(hidden[chunk] @ weight.t(), targets[chunk], head)
            total += loss
            slope = slope.to(hidden.dtype)
            torch.mm(slope, weight, out=grad_hidden[chunk])
            if grad_weight is not None:
                _add_product(grad_weight, slope.t(), hidden[chunk], factor=scale / head.divisor)
        ctx.save_for_backward(
            grad_hidden.mul_(scale / head.divisor), None if grad_weight is None else grad_weight.to(weight.dtype)
        )
        return (total * scale).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden.mul_(grads[0]), None if grad_weight is None else grad_weight.mul_(grads[0]), None, None, None


def _chunk_loss(raw: Tensor, targets: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    """The summed loss of a chunk, and its slope: the gradient with respect to raw / divisor, [chunk, V], in float32."""
    logits = raw.float() if head.divisor == 1.0 else raw.float().div_(head.divisor)
    bend = None
    if head.softcap is not None:
        capped = torch.tanh(logits / head.softcap)
        logits, bend = capped * head.softcap, 1 - capped * capped
    at = targets[:, None]
    likelihoods = torch.log_softmax(logits, -1)
    loss = -likelihoods.gather(1, at).sum(dtype=torch.float64)
    slope = likelihoods.exp_().scatter_add_(1, at, torch.full_like(at, -1.0, dtype=torch.float32))
    return loss, slope if bend is None else slope.mul_(bend)


def _add_product(total: Tensor, left: Tensor, right: Tensor, *, factor: float) -> None:
    """Total += factor x left x right, in place where their types allow it."""
    if left.dtype == total.dtype:
        total.addmm_(left, right, alpha=factor)
    else:
        total.add_(left @ right, alpha=factor)
