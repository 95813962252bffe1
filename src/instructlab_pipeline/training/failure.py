"""Why a worker failed, passed from the worker to the pipeline in a file."""

import contextlib
import json
import shutil
from pathlib import Path

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import PipelineError, SourceError, WorkerError


class OutOfMemory(WorkerError):  # noqa: N818 - as Python's and torch's own are called
    """Smaller micro-batches may help; they change nothing in what is learned."""


_PEER = "look at the log of the worker that ended first, on its machine; then run the same command again"
_CLUES = (
    (
        "collective operation timeout",
        "the workers waited for each other in vain (NCCL timeout)",
        "see whether all machines reach each other (NCCL_DEBUG=INFO tells more); then run the same command again",
    ),
    ("NCCL error", "the GPUs cannot talk to each other", "NCCL_DEBUG=INFO tells more; then run the same command again"),
    ("Connection closed by peer", "another worker has ended", _PEER),
    ("Connection reset by peer", "another worker has ended", _PEER),
    ("Connection refused", "another worker is not there", _PEER),
)
_SHOWN = 200  # characters of a library's message
_LEAST_BYTES = 1 << 20
_KINDS = {kind.__name__: kind for kind in (SourceError, WorkerError, OutOfMemory)}


def record_failure(path: Path, error: PipelineError) -> None:
    """Keep `error`, unless another worker was first: what follows a failure is seldom its cause."""
    if not path.exists():
        kind = type(error).__name__ if type(error).__name__ in _KINDS else WorkerError.__name__
        with contextlib.suppress(OSError):  # no room even for this: whoever reads it looks at the disk
            write_atomically(path, json.dumps({"kind": kind, "message": error.message, "remedy": error.remedy}))


def read_failure(path: Path) -> PipelineError | None:
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return _KINDS[record["kind"]](record["message"], remedy=record["remedy"])


def explained(told: str) -> WorkerError | None:
    """What a library's message, or a log, comes to in the user's words; None where it says nothing known."""
    lines = told.splitlines()
    for clue, message, remedy in _CLUES:
        if line := next((line.strip() for line in lines if clue in line), None):
            return WorkerError(f"{message}: {line[:_SHOWN]}", remedy=remedy)
    return None


def full_disk(folder: Path) -> WorkerError | None:
    """What to say where workers could not even say why they failed; None where there is room."""
    if not folder.exists() or shutil.disk_usage(folder).free > _LEAST_BYTES:
        return None
    return WorkerError(
        f"the disk of {folder} is full",
        remedy="make room on it, then run the same command again: it goes on from the last checkpoint that is whole",
    )
