"""A Hugging Face folder of the student: what any tool loads, byte for byte the same for the same weights.

Everything but the weights is copied from the model that training started from.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import WorkerError, boundary
from instructlab_pipeline.training.model import Student
from instructlab_pipeline.training.world import World

SHARD_BYTES = 5_000_000_000
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_REMEDY = "make room on the disk, then run the same command again: it goes on from the last checkpoint"
_WEIGHT_SUFFIXES = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf")


def export(student: Student, base: Path, folder: Path, world: World, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write the student into `folder`, whole or not at all; all workers call this together.

    Weights go out in the type that `base` has them in. One shard at a time is in memory, on the first worker.

    Raises:
        WorkerError: it cannot be written.
    """
    with boundary(WorkerError, f"writing the model to {folder}", remedy=_REMEDY):
        _export(student, base, folder, world, shard_bytes)
    world.wait()


def _export(student: Student, base: Path, folder: Path, world: World, shard_bytes: int) -> None:
    draft = folder.with_name(f".{folder.name}.draft")
    if world.leads:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        draft.mkdir(parents=True)
    sizes = {name: sum(part.nbytes for part in parts.values()) for name, parts in sorted(student.stored.items())}
    plan = shards(sizes, shard_bytes)
    for file_name, names in plan.items():
        _write_shard(draft / file_name, student, names, world)
    if world.leads:
        where = {
            part: file_name for file_name, names in plan.items() for name in names for part in student.stored[name]
        }
        _write_index(draft, where, sum(sizes.values()))
        _copy_companions(base, draft)
        for path in draft.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        draft.rename(folder)


def adopt(exported: Path, folder: Path) -> None:
    """Make a model that was exported before the one in `folder`; its files are shared, not copied.

    Raises:
        WorkerError: it cannot be written.
    """
    with boundary(WorkerError, f"writing the model to {folder}", remedy=_REMEDY):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(exported, folder, copy_function=os.link)


def shards(sizes: Mapping[str, int], limit: int) -> dict[str, list[str]]:
    """Which weights go into which file, in order: each file up to `limit` bytes, a larger weight alone in its own."""
    groups: list[list[str]] = []
    filled = 0
    for name, size in sizes.items():
        if not groups or filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    if len(groups) == 1:
        return {WEIGHTS: groups[0]}
    return {f"model-{i:05d}-of-{len(groups):05d}.safetensors": names for i, names in enumerate(groups, start=1)}


def _write_shard(path: Path, student: Student, names: list[str], world: World) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    for name in names:
        parts = student.files_of(name)
        if world.leads:
            tensors |= parts
    if world.leads:
        save_file(tensors, path, metadata={"format": "pt"})


def _write_index(folder: Path, where: Mapping[str, str], total_size: int) -> None:
    if len(set(where.values())) > 1:
        index = {"metadata": {"total_size": total_size}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _copy_companions(base: Path, folder: Path) -> None:
    """Configuration, tokenizer, chat template, license: whatever lies beside the weights."""
    for path in sorted(base.rglob("*")):
        if path.is_file() and not path.name.endswith(_WEIGHT_SUFFIXES):
            target = folder / path.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
