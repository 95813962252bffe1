"""Recovery checkpoints: sharded, whole or not there, and used only by the run that they belong to.

    recovery/step-0000120/     weights and optimizer states, a part per worker (torch.distributed.checkpoint)
                 manifest.json written last: step, fingerprint, workers, files with sizes, what the phase had counted

A draft is renamed into place once its manifest is written. The newest two are kept.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import MANIFEST, write_atomically
from instructlab_pipeline.errors import WorkerError, boundary
from instructlab_pipeline.training.world import World

KEPT = 2
_REMEDY = "make room on the disk, then run the same command again: the checkpoint before this one is intact"


@dataclass(kw_only=True)
class Progress:
    """How far a phase has come: `step` steps are done, and what they counted."""

    step: int = 0
    epoch_losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)  # of held-out samples, after each epoch
    loss_sum: float = 0.0  # of this epoch, over its supervised tokens, in nats
    loss_tokens: int = 0
    recent_losses: list[float] = field(default_factory=list)  # of whole steps, to know a spike by


def newest(recovery: Path, fingerprint: str) -> Path | None:
    """The newest whole checkpoint of this run; a torn one, or another run's, is passed over."""
    return next((path for path in _newest_first(recovery) if _is_whole(path, fingerprint)), None)


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def folder_of(recovery: Path, step: int) -> Path:
    return recovery / f"step-{step:08d}"


def sweep(recovery: Path) -> None:
    """Remove the drafts that a crash left."""
    for path in recovery.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def manifest_of(progress: Progress, *, fingerprint: str, world: World) -> dict[str, Any]:
    """What tells a checkpoint from another, but for its files."""
    return {"fingerprint": fingerprint, "workers": world.size, **asdict(progress)}


def write(recovery: Path, step: int, state: dict[str, Any], manifest: dict[str, Any], world: World | None) -> None:
    """Write a checkpoint of `state`, which nobody may change meanwhile; all workers of `world` call this together.

    Raises:
        WorkerError: it cannot be written; the one before is intact.
    """
    import torch.distributed.checkpoint as dcp

    target = folder_of(recovery, step)
    draft = recovery / f".{target.name}"
    with boundary(WorkerError, f"saving a checkpoint in {recovery}", remedy=_REMEDY), _first_cause():
        # the first worker comes back once all have written
        group = world.background if world else None
        dcp.save(state, checkpoint_id=draft, process_group=group, no_dist=group is None)
        if world is None or world.leads:
            _commit(draft, target, manifest)
            _prune(recovery)


def load(path: Path, state: dict[str, Any], world: World, *, alone: bool = False) -> Progress:
    """Fill `state` in place, whatever number of workers wrote it; says how far that had come.

    alone: only this worker loads.

    Raises:
        WorkerError: it cannot be read.
    """
    import torch.distributed.checkpoint as dcp

    remedy = f"delete {path}: the one before it may do"
    with boundary(WorkerError, f"loading the checkpoint in {path}", remedy=remedy), _first_cause():
        dcp.load(state, checkpoint_id=path, no_dist=alone or not world.shards)
    manifest = json.loads((path / MANIFEST).read_bytes())
    return Progress(**{name: manifest[name] for name in asdict(Progress())})


@contextmanager
def _first_cause() -> Iterator[None]:
    """Torch wraps what went wrong on each worker into something that is no Exception, with a traceback of each."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise RuntimeError(str(cause)) from cause


def _newest_first(recovery: Path) -> Iterator[Path]:
    yield from sorted(recovery.glob("step-*"), reverse=True)


def _is_whole(path: Path, fingerprint: str) -> bool:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        sizes = {name: (path / name).stat().st_size for name in manifest["files"]}
    except (OSError, ValueError, KeyError):
        return False
    return bool(manifest["fingerprint"] == fingerprint and sizes == manifest["files"])


def _commit(draft: Path, target: Path, manifest: dict[str, Any]) -> None:
    files = {file.name: file.stat().st_size for file in sorted(draft.iterdir())}
    write_atomically(draft / MANIFEST, json.dumps({**manifest, "files": files}))
    shutil.rmtree(target, ignore_errors=True)  # torn: a whole one would have been gone on from
    draft.rename(target)


def _prune(recovery: Path) -> None:
    for path in list(_newest_first(recovery))[KEPT:]:
        shutil.rmtree(path)
