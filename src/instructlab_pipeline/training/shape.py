"""How large a model is, from the headers of its files: no weight is read, and no torch is needed."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from instructlab_pipeline.errors import SourceError, boundary

_LENGTH_BYTES = 8  # of a safetensors header, before it
_REMEDY = "sdg_base_model must name a complete model in safetensors files, with its config.json"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """parameters: all weights. hidden, inner, queries, keys: sizes in values of one token in one layer.

    Of a mixture of experts, inner is that of the experts which see a token, together.
    """

    parameters: int
    layers: int
    hidden: int
    inner: int
    queries: int
    keys: int
    vocabulary: int

    @classmethod
    def of(cls, config: dict[str, Any], *, parameters: int) -> Self:
        """From a Hugging Face config.json."""
        heads = config["num_attention_heads"]
        head_size = config.get("head_dim") or config["hidden_size"] // heads
        return cls(
            parameters=parameters,
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            inner=_inner(config),
            queries=heads * head_size,
            keys=(config.get("num_key_value_heads") or heads) * head_size,
            vocabulary=config["vocab_size"],
        )

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and as many of the head."""
        return self.vocabulary * self.hidden

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters of `rank` beside all linear layers."""
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return self.layers * rank * (attention + 3 * (self.hidden + self.inner))

    @property
    def layer(self) -> int:
        """Weights of one layer."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        return attention + 3 * self.hidden * self.inner


def _inner(config: dict[str, Any]) -> int:
    if not (config.get("num_local_experts") or config.get("num_experts")):
        return int(config["intermediate_size"])
    expert = config.get("moe_intermediate_size") or config["intermediate_size"]
    return int(config["num_experts_per_tok"] * expert + config.get("shared_intermediate_size", 0))


def read_shape(folder: Path) -> Shape:
    """The shape of the model in a Hugging Face folder.

    Raises:
        SourceError: its files cannot be read, or do not say.
    """
    with boundary(SourceError, f"reading the size of the model in {folder}", remedy=_REMEDY):
        parameters = sum(_count(path) for path in sorted(folder.glob("*.safetensors")))
        return Shape.of(json.loads((folder / "config.json").read_bytes()), parameters=parameters)


def _count(path: Path) -> int:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
