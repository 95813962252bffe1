"""Attention over packed samples that never crosses from one to the next.

Registered with transformers under `NAME`, so that a model built with it is handed no mask at all: the layout of the
pack arrives as keyword arguments of the model's forward and does what a mask would.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

NAME = "per_sample"


def register() -> str:
    """Make the attention known to transformers; returns the name to build a model with."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    return NAME


class Layout:
    """Where samples lie in a pack; an object of no known kind, so that compiled layers do not depend on what it says.

    lengths: of the samples, in order. starts: [samples + 1] int32, running sums of the lengths; on GPUs only.
    block_masks: of FlexAttention, by window; made when first needed, and shared by the layers.
    """

    def __init__(self, lengths: list[int], starts: Tensor | None) -> None:
        self.lengths = lengths
        self.starts = starts
        self.block_masks: dict[int | None, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a family's attention does: scores times `scaling`, capped softly, the last `window` tokens only."""

    scaling: float
    window: int | None
    softcap: float | None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a program of its own for each pack would be made
def packed_attention(  # noqa: PLR0913 - the signature that transformers calls
    module: nn.Module,  # noqa: ARG001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    *,
    layout: Layout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each sample.

    query: [1, heads, T, size]; key, value: [1, fewer heads, T, size].
    Returns [1, T, heads, size]. There is no dropout: the same step gives the same gradients.
    """
    size = query.shape[3]
    form = Form(scaling=size**-0.5 if scaling is None else scaling, window=sliding_window, softcap=softcap)
    if layout.starts is not None and query.dtype in {torch.bfloat16, torch.float16}:
        if softcap is None:
            return _all_samples(query, key, value, form, layout.starts, max(layout.lengths)), None
        return flexible(query, key, value, form, layout, kernel=_compiled_flex_attention()), None
    split = (tensor.split(layout.lengths, 2) for tensor in (query, key, value))
    out = [_one_sample(q, k, v, form) for q, k, v in zip(*split, strict=True)]
    return torch.cat(out, 2).transpose(1, 2), None


def _all_samples(query: Tensor, key: Tensor, value: Tensor, form: Form, starts: Tensor, longest: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # FlashAttention as torch ships it; CUDA only

    heads_last = [tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value)]
    reach = (-1 if form.window is None else form.window - 1, 0)
    out: Tensor = varlen_attn(
        *heads_last, starts, starts, longest, longest, scale=form.scaling, window_size=reach, enable_gqa=True
    )
    return out[None]


def flexible(query: Tensor, key: Tensor, value: Tensor, form: Form, layout: Layout, *, kernel: Any) -> Tensor:
    """All samples at once by FlexAttention, which can cap scores softly; [1, T, heads, size].

    On GPUs its compiled `kernel` never has the scores whole. Uncompiled it has, and no way back on CPUs.
    """
    if form.window not in layout.block_masks:
        layout.block_masks[form.window] = _block_mask(layout.lengths, form.window, query.device)
    out: Tensor = kernel(
        query,
        key,
        value,
        score_mod=None if form.softcap is None else partial(_capped, form.softcap),
        block_mask=layout.block_masks[form.window],
        scale=form.scaling,
        enable_gqa=True,
    )
    return out.transpose(1, 2)


@lru_cache(maxsize=1)
def _compiled_flex_attention() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


def _capped(softcap: float, score: Tensor, *_where: Tensor) -> Tensor:
    return softcap * torch.tanh(score / softcap)


def _block_mask(lengths: list[int], window: int | None, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    number = torch.repeat_interleave(torch.tensor(lengths)).to(device)  # of each token's sample
    reach = sum(lengths) if window is None else window

    def is_seen(_batch: Tensor, _head: Tensor, at: Tensor, other: Tensor) -> Tensor:
        return (number[at] == number[other]) & (at >= other) & (at - other < reach)

    return create_block_mask(is_seen, None, None, len(number), len(number), device=device)


def _one_sample(query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
    if form.softcap is not None:
        return _softcapped(query, key, value, form, form.softcap)
    length = query.shape[2]
    mask = None if form.window is None or length <= form.window else _visible(length, form.window, query.device)
    out: Tensor = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=form.scaling, enable_gqa=True
    )
    return out


def _softcapped(query: Tensor, key: Tensor, value: Tensor, form: Form, softcap: float) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * (form.scaling / softcap))
    hidden = ~_visible(query.shape[2], form.window, query.device)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1, dtype=torch.float32)
    return weights.to(query.dtype) @ value


def _visible(length: int, window: int | None, device: torch.device) -> Tensor:
    """[length, length] bool: a token sees itself and those before it, `window` of them in all."""
    mask = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return mask if window is None else mask.triu(1 - window)
