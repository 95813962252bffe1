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
            loss, grad_logits = _chunk_loss(hidden[chunk] @ weight.t(), targets[chunk], head)
            grad_logits = grad_logits.mul_(scale).to(hidden.dtype)
            total += loss
            torch.mm(grad_logits, weight, out=grad_hidden[chunk])
            if grad_weight is not None:
                _add_product(grad_weight, grad_logits.t(), hidden[chunk])
        ctx.save_for_backward(grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype))
        return (total * scale).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], None if grad_weight is None else grad_weight * grads[0], None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _chunk_loss(raw: Tensor, targets: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    """The summed loss of a chunk, and its gradient with respect to `raw`, [chunk, V], in float32."""
    logits = raw.float() / head.divisor
    slope = None
    if head.softcap is not None:
        capped = torch.tanh(logits / head.softcap)
        logits, slope = capped * head.softcap, 1 - capped * capped
    at = targets[:, None]
    log_total = logits.logsumexp(-1, keepdim=True)
    loss = (log_total - logits.gather(1, at)).sum()
    grad = logits.sub_(log_total).exp_().scatter_add_(1, at, torch.full_like(log_total, -1.0))
    if slope is not None:
        grad *= slope
    return loss, grad.div_(head.divisor)
