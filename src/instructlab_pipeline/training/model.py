"""The student: a transformers model that takes packed samples and gives their loss, sharded over the workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from instructlab_pipeline.errors import SourceError, WorkerError, boundary
from instructlab_pipeline.training import attention
from instructlab_pipeline.training.batch import Batch, make_batch
from instructlab_pipeline.training.families import PROVEN_FAMILIES
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.kernels import use_liger
from instructlab_pipeline.training.lora import attach, merged
from instructlab_pipeline.training.loss import Head, summed_loss
from instructlab_pipeline.training.masks import Encoded
from instructlab_pipeline.training.memory import IN_ONE_PIECE
from instructlab_pipeline.training.recompute import recompute_layers
from instructlab_pipeline.training.world import World

LEAK_TOLERANCE = 1e-6  # relative; the shapes are the same, so the sums are too
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}  # as safetensors says
_MODEL_REMEDY = "sdg_base_model must name a complete, unquantized model in safetensors files"


# Tensors of a model's files by name, on no device: what matters is their shapes and types.
Stored = Mapping[str, Tensor]


class Student(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """`lm`, with a loss over supervised tokens in place of logits for all.

    stored: for each weight that `lm` came with, what it is in the files that it came from, and goes back to.
    """

    def __init__(self, lm: Any, stored: Mapping[str, Stored]) -> None:
        super().__init__()
        self.lm = lm
        self.stored = stored
        self.head = Head.of(lm.config)

    def forward(self, batch: Batch) -> Tensor:
        """The batch's summed loss times its scale."""
        # use_cache=False: with a cache, transformers forgets where samples begin
        hidden = self.lm.base_model(
            input_ids=batch.ids,
            position_ids=batch.positions,
            use_cache=False,
            layout=batch.layout,
        ).last_hidden_state[0]
        weight = self.lm.get_output_embeddings().weight
        return summed_loss(
            hidden.index_select(0, batch.before), weight, batch.targets, head=self.head, scale=batch.scale
        )

    def learning(self) -> list[Tensor]:
        """The weights that training changes."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def files_of(self, name: str) -> dict[str, Tensor]:
        """A weight as its files have it, whole and on the CPU; all workers call this together."""
        whole = merged(self.lm, name).to("cpu", copy=True)
        parts = _in_files(self.lm, {name: whole})
        return {part: tensor.to(self.stored[name][part].dtype).contiguous() for part, tensor in parts.items()}


def load_student(folder: Path, *, recompute: bool = False, longest: int = 0) -> Student:
    """The model in `folder`, in float32 on the CPU, without dropout.

    recompute: its layers compute most things again on the way back rather than keep them. longest: sample, in tokens.

    Raises:
        SourceError: its family is not proven, it cannot be read or written back, or samples so long would change how it
            reads others in their pack.
    """
    from transformers import AutoModelForCausalLM

    config = _config(folder)
    if config.model_type not in PROVEN_FAMILIES:
        raise SourceError(
            f"the model in {folder} is of the family {config.model_type!r}, on which training has not been proven",
            remedy=f"choose a base model of one of these: {', '.join(PROVEN_FAMILIES)}",
        )
    _check_positions(config, longest)
    with boundary(SourceError, f"loading the model in {folder}", remedy=_MODEL_REMEDY):
        lm = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=torch.float32, attn_implementation=attention.register()
        )
    for module in lm.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if recompute:
        recompute_layers(lm)
    student = Student(lm, _stored(lm, folder))
    student.train()
    return student


def beyond_positions(folder: Path, *, longest: int) -> str | None:
    """What to say of samples of up to `longest` tokens, where the model was made for shorter ones."""
    limit: int | None = getattr(_config(folder), "max_position_embeddings", None)
    if limit is None or longest <= limit:
        return None
    return (
        f"samples have up to {longest} tokens, and the model was made for {limit} (max_position_embeddings): it may "
        "read the rest badly, before and after training"
    )


def adapt(student: Student, job: TrainingJob, *, cuda: bool = False) -> Student:
    """Make `student` learn the way the job wants it: by adapters, with compiled layers or else fused kernels."""
    if cuda and not job.compile:
        use_liger(student.lm)
    if job.lora_rank:
        attach(student.lm, rank=job.lora_rank, seed=job.seed)
    if job.compile:
        for layer in student.lm.base_model.layers:
            layer.compile(dynamic=True)  # one program for all layers and packs: see attention.Layout
    return student


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    with boundary(SourceError, f"reading the model in {folder}", remedy=_MODEL_REMEDY):
        return AutoConfig.from_pretrained(folder)


def _check_positions(config: Any, longest: int) -> None:
    """Some rotations (LongRoPE, dynamic NTK) turn all tokens of a pack otherwise once one of its samples is long."""
    rotations = getattr(config, "rope_parameters", None) or {}
    for rotation in [rotations] if "rope_type" in rotations else rotations.values():
        limits = {
            "longrope": rotation.get("original_max_position_embeddings"),
            "dynamic": config.max_position_embeddings,
        }
        limit = limits.get(rotation["rope_type"])
        if limit is not None and longest > limit:
            raise SourceError(
                f"with samples of more than {limit} tokens, this model ({rotation['rope_type']}) reads shorter ones "
                "beside them in another way",
                remedy=f"set train_sequence_length to {limit} at most",
            )


def _in_files(lm: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of the model's files, where transformers fuses, splits or renames what it reads from them."""
    from transformers.core_model_loading import revert_weight_conversion

    parts: dict[str, Tensor] = revert_weight_conversion(lm, dict(weights))
    return parts


def _stored(lm: Any, folder: Path) -> dict[str, Stored]:
    """What the files in `folder` hold for each weight: transformers would make up one that is missing."""
    names = {name: _in_files(lm, {name: weight.to("meta")}) for name, weight in lm.named_parameters()}
    kinds = _kinds(folder, {part for parts in names.values() for part in parts})
    return {name: {part: tensor.to(kinds[part]) for part, tensor in parts.items()} for name, parts in names.items()}


def _kinds(folder: Path, names: set[str]) -> dict[str, torch.dtype]:
    from safetensors import safe_open

    found: dict[str, torch.dtype] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in names.intersection(file.keys()):
                kind = file.get_slice(name).get_dtype()
                if kind not in _DTYPES:
                    raise SourceError(f"{path}: {name} is of type {kind}, which cannot be tuned", remedy=_MODEL_REMEDY)
                found[name] = _DTYPES[kind]
    if missing := sorted(names - found.keys()):
        raise SourceError(
            f"{folder} lacks these weights of the model, or names them in another way: {', '.join(missing[:5])}",
            remedy=_MODEL_REMEDY,
        )
    return found


def shard(student: Student, world: World, *, offload: bool = False) -> Student:
    """Spread weights, gradients and optimizer states over the workers (FSDP2), large models layer by layer.

    On GPUs the arithmetic is bfloat16, while weights and the sum of gradients stay float32.
    """
    if not offload:
        student.to(world.device)
    if not world.shards:
        return student
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, fully_shard

    precision = (
        MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if world.is_cuda
        else MixedPrecisionPolicy()
    )
    policies = {"mp_policy": precision, **({"offload_policy": CPUOffloadPolicy()} if offload else {})}
    if sum(weight.numel() for weight in student.parameters()) > IN_ONE_PIECE:
        for layer in student.lm.base_model.layers:
            fully_shard(layer, **policies)
    fully_shard(student, **policies)
    for module in student.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the loss is scaled already: gradients add up
            module.set_force_sum_reduction_for_comms(True)
    for module in student.modules() if offload else ():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(world.device))  # such as the frequencies of positions
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
        loss = float(student(make_batch(pack, scale=1.0, device=device)))
    if hasattr(student, "reshard"):
        student.reshard()  # without a backward pass FSDP would leave weights whole, and an optimizer would train copies
    return loss
