"""AdamW whose two moments take 8 bits each in place of 32: 10 bytes a parameter for all states instead of 16.

Rows of a weight are quantized in blocks of up to 256 values, each with a scale of its own (Dettmers et al., arXiv
2110.02861). No block reaches beyond a row, and workers share rows, so what is learned does not depend on their number.
What is rounded is the square root of the first moment and the fourth root of the second, so that small values keep
apart, and change, beside large ones. A second moment is never rounded to 0, which something would be divided by.

Vectors (norms, biases) keep moments of 32 bits: they are few.

Shapes: R rows, C values of a row, B blocks of a row.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 256
_AT_ONCE = 1 << 22  # values in float32 at a time
_LARGEST = {torch.int8: 127, torch.uint8: 255}

State = dict[str, Tensor]


class AdamW8bit(torch.optim.Optimizer):  # type: ignore[misc]  # torch is untyped here
    """As `torch.optim.AdamW`, with the same meaning of its settings; weights and gradients are float32."""

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(weights, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # noqa: ARG002 - as torch calls it
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Torch's own would make every state as wide as the weights."""
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for weight, name in zip(group["params"], saved["params"], strict=True):
                if name in state_dict["state"]:
                    self.state[weight] = dict(state_dict["state"][name])
            group.update({setting: value for setting, value in saved.items() if setting != "params"})

    def _update(self, weight: Tensor, group: Mapping[str, Any]) -> None:
        state: State = self.state[weight]
        if not state:
            state.update(_fresh(weight))
        state["step"] += 1
        step = float(state["step"])
        parts = {name: _local(part) for name, part in state.items() if name != "step"}
        values, slopes = _local(weight), _local(weight.grad)
        for rows in _portions(values):
            _update_rows(values[rows], slopes[rows], {name: part[rows] for name, part in parts.items()}, group, step)


def _fresh(weight: Tensor) -> State:
    """States of a weight that was never updated, spread over the workers as it is."""
    step = torch.zeros(())
    if weight.dim() == 1:
        return {"step": step, "first": torch.zeros_like(weight), "second": torch.zeros_like(weight)}
    return {
        "step": step,
        "first": torch.zeros_like(weight, dtype=torch.int8),
        "second": torch.zeros_like(weight, dtype=torch.uint8),
        "first_scale": _scales(weight),
        "second_scale": _scales(weight),
    }


def _scales(weight: Tensor) -> Tensor:
    """[R, B] float32."""
    rows = weight.shape[0]
    shape = torch.Size((rows, math.ceil(weight.numel() / rows / BLOCK)))
    local = torch.zeros(len(_local(weight)), shape[1], device=weight.device)
    if not hasattr(weight, "to_local"):
        return local
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(local, weight.device_mesh, weight.placements, shape=shape, stride=(shape[1], 1))


def _local(tensor: Tensor) -> Tensor:
    """What this worker holds of it."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _portions(weight: Tensor) -> Iterator[slice]:
    """Rows that are updated at once."""
    rows = len(weight)
    count = max(1, _AT_ONCE * rows // max(1, weight.numel()))
    return (slice(first, first + count) for first in range(0, rows, count))


def _update_rows(weight: Tensor, slope: Tensor, state: State, group: Mapping[str, Any], step: float) -> None:
    beta_1, beta_2 = group["betas"]
    first, second = _moment(state, "first"), _moment(state, "second")
    first.lerp_(slope, 1 - beta_1)
    second.mul_(beta_2).addcmul_(slope, slope, value=1 - beta_2)
    divisor = second.sqrt().div_(math.sqrt(1 - beta_2**step)).add_(group["eps"])
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    weight.addcdiv_(first, divisor, value=-group["lr"] / (1 - beta_1**step))
    for name, moment in (("first", first), ("second", second)):
        if f"{name}_scale" in state:
            _quantize(moment, state[name], state[f"{name}_scale"])


def _moment(state: State, name: str) -> Tensor:
    """In float32: of a vector the state itself, else a copy."""
    codes = state[name]
    if f"{name}_scale" not in state:
        return codes
    roots = _blocks(codes.float()) * state[f"{name}_scale"][..., None]
    roots = roots.flatten(1)[:, : codes[:1].numel()]
    powers = roots * roots.abs() if codes.dtype == torch.int8 else roots.square().square_()
    return powers.view_as(codes)


def _quantize(moment: Tensor, codes: Tensor, scales: Tensor) -> None:
    """Into `codes`, int8 for what has a sign and uint8 for what has none, and `scales`."""
    signed = codes.dtype == torch.int8
    roots = moment.sign() * moment.abs().sqrt() if signed else moment.sqrt().sqrt_()
    blocks = _blocks(roots)
    largest = blocks.abs().amax(-1) / _LARGEST[codes.dtype]
    scales.copy_(largest)
    blocks = (blocks / largest.clamp_(min=torch.finfo(torch.float32).tiny)[..., None]).round_()
    if not signed:
        blocks.clamp_(min=1)
    codes.copy_(blocks.flatten(1)[:, : codes[:1].numel()].view_as(codes))


def _blocks(values: Tensor) -> Tensor:
    """[R, C] or more dimensions to [R, B, 256], the last block of a row filled up with zeros."""
    rows = values.flatten(1)
    return pad(rows, (0, -rows.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
