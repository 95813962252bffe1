"""Layers that forget what they computed and compute it again on the way back, except for their attention.

Attention is the one part whose work grows with the square of a sample's length, and its result is small.
"""

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

_KEPT = (
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "torch_attn._varlen_attn",
)


def recompute_layers(lm: Any) -> None:
    """From now on, `lm`'s layers keep what comes in and their attention, and nothing else; gradients stay the same."""
    kept = [_operator(name) for name in _KEPT]
    again = partial(
        checkpoint,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing is random in a step
        context_fn=partial(create_selective_checkpoint_contexts, kept),
    )
    for layer in lm.base_model.layers:
        layer.gradient_checkpointing = True  # read by transformers' GradientCheckpointingLayer
        layer._gradient_checkpointing_func = again  # noqa: SLF001 - the only way that leaves names of weights alone


def _operator(name: str) -> Any:
    import torch.nn.attention.varlen  # registers its operator

    namespace, operator = name.split(".")
    return getattr(getattr(torch.ops, namespace), operator).default
