"""Adapters of low rank (LoRA, by peft): the model's own weights stay as they are, and small matrices beside them learn.

    y = W x + (alpha / rank) B A x        A [rank, in], B [out, rank], alpha = 2 rank

An exported model has B A added to W, so that whatever loads the base model loads it too.
"""

from typing import Any

import torch
from torch import Tensor, nn

from instructlab_pipeline.errors import UsageError

_ADAPTER = "default"  # peft's name for the only one
_REMEDY = "pip install 'instructlab-pipeline[lora]', or leave train_lora_rank at 0"


def attach(lm: Any, *, rank: int, seed: int) -> None:
    """Put an adapter beside every linear layer of `lm` but its head; B is 0 at first, so that nothing changes yet.

    Raises:
        UsageError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UsageError("train_lora_rank needs peft, which is not installed", remedy=_REMEDY) from error
    torch.manual_seed(seed)  # A is drawn, by every worker alike
    linear = [name for name, module in lm.named_modules() if isinstance(module, nn.Linear) and _is_inside(name, lm)]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear), lm)


def _is_inside(name: str, lm: Any) -> bool:
    return lm.get_submodule(name) is not lm.get_output_embeddings()


def merged(lm: Any, name: str) -> Tensor:
    """The weight that `name` meant before adapters came, with what they learned; all workers call this together."""
    path, _, kind = name.rpartition(".")
    module = lm.get_submodule(path)
    if not hasattr(module, "base_layer"):
        return _whole(getattr(module, kind))
    base = _whole(getattr(module.base_layer, kind))
    if kind != "weight":
        return base
    down, up = (_whole(part[_ADAPTER].weight) for part in (module.lora_A, module.lora_B))
    return base + module.scaling[_ADAPTER] * (up @ down)


def _whole(weight: Tensor) -> Tensor:
    """Put together from the parts that workers hold."""
    weight = weight.detach()
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight
