"""The student: a transformers model that takes packed samples and gives their loss, sharded over the workers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from instructlab_pipeline.errors import SourceError, WorkerError, boundary
from instructlab_pipeline.training import attention
from instructlab_pipeline.training.batch import Batch, make_batch
from instructlab_pipeline.training.loss import Head, summed_loss
from instructlab_pipeline.training.masks import Encoded
from instructlab_pipeline.training.world import World

# Families whose packed loss and gradients are tested to be those of the samples one by one.
PROVEN_FAMILIES = ("gemma2", "granite", "llama", "mistral", "phi3", "qwen2", "qwen3")
LEAK_TOLERANCE = 1e-6  # relative; the shapes are the same, so the sums are too


class Student(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """`lm`, with a loss over supervised tokens in place of logits for all."""

    def __init__(self, lm: Any) -> None:
        super().__init__()
        self.lm = lm
        self.head = Head.of(lm.config)

    def forward(self, batch: Batch) -> Tensor:
        """The batch's summed loss times its scale."""
        # use_cache=False: with a cache, transformers forgets where samples begin
        hidden = self.lm.base_model(
            input_ids=batch.ids,
            position_ids=batch.positions,
            use_cache=False,
            sample_lengths=batch.sample_lengths,
            cu_seq_lens_q=batch.cu_seq_lens,
        ).last_hidden_state[0]
        weight = self.lm.get_output_embeddings().weight
        return summed_loss(
            hidden.index_select(0, batch.before), weight, batch.targets, head=self.head, scale=batch.scale
        )

    def named_weights(self) -> list[tuple[str, Tensor]]:
        """The model's own weights by the names of its files; one that is tied to another appears once."""
        return list(self.lm.named_parameters())


def load_student(folder: Path) -> Student:
    """The model in `folder`, in float32 on the CPU, without dropout.

    Raises:
        SourceError: its family is not proven, or it cannot be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with boundary(SourceError, f"reading the model in {folder}", remedy="check the folder that sdg_base_model names"):
        config = AutoConfig.from_pretrained(folder)
    if config.model_type not in PROVEN_FAMILIES:
        raise SourceError(
            f"the model in {folder} is of the family {config.model_type!r}, on which training has not been proven",
            remedy=f"choose a base model of one of these: {', '.join(PROVEN_FAMILIES)}",
        )
    with boundary(SourceError, f"loading the model in {folder}", remedy="check its safetensors files"):
        lm = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=torch.float32, attn_implementation=attention.register()
        )
    for module in lm.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    student = Student(lm)
    student.train()
    return student


def shard(student: Student, world: World) -> Student:
    """Spread weights, gradients and optimizer states over the workers (FSDP2), layer by layer.

    On GPUs the arithmetic is bfloat16, while weights and the sum of gradients stay float32.
    """
    student.to(world.device)
    if not world.shards:
        return student
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    precision = (
        MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if world.is_cuda
        else MixedPrecisionPolicy()
    )
    for layer in student.lm.base_model.layers:
        fully_shard(layer, mp_policy=precision)
    fully_shard(student, mp_policy=precision)
    for module in student.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the loss is scaled already: gradients add up
            module.set_force_sum_reduction_for_comms(True)
    return student


def check_isolation(student: Student, device: torch.device) -> None:
    """Prove on two packed samples that neither sees the other; all workers call this together.

    Raises:
        WorkerError: the second sample's loss depends on the first one, or on being packed.
    """
    vocabulary = student.lm.config.vocab_size
    first, other, second = (_probe(seed, vocabulary) for seed in (1, 2, 3))
    unseen = (first[0], np.zeros_like(first[1])), (other[0], np.zeros_like(other[1]))
    alone, behind, behind_other = (
        _loss(student, pack, device) for pack in ([second], [unseen[0], second], [unseen[1], second])
    )
    tolerance = 2e-2 if device.type == "cuda" else 1e-4  # another shape, other rounding: bfloat16 there, float32 here
    if abs(behind - behind_other) > LEAK_TOLERANCE * abs(behind) or abs(behind - alone) > tolerance * abs(alone):
        raise WorkerError(
            f"packed samples see each other: a sample's loss is {alone} alone, "
            f"{behind} and {behind_other} behind others",
            remedy="this model cannot be trained with these versions of torch and transformers: report it",
        )


def _probe(seed: int, vocabulary: int) -> Encoded:
    ids = np.random.default_rng(seed).integers(0, vocabulary, 12, dtype=np.uint32)
    return ids, np.arange(12) > 0


def _loss(student: Student, pack: list[Encoded], device: torch.device) -> float:
    with torch.no_grad():
        return float(student(make_batch(pack, scale=1.0, device=device)))
