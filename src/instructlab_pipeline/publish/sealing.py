"""Digests of layers, taken while the tuned model is sealed: its files are read then anyway, and need not be hashed once
more when they are published.
"""

import hashlib
from pathlib import Path

from instructlab_pipeline.artifacts import File, Reader, ReadersFor
from instructlab_pipeline.publish.image import LARGE_BYTES, around, identity_of
from instructlab_pipeline.publish.inputs import TUNED
from instructlab_pipeline.publish.memory import MEMORY, Memory


def layer_readers(cache: Path) -> ReadersFor:
    """For each file that has a layer of its own; the digest is left in the memory that publishing looks into."""

    def reader(path: str, size: int) -> Reader | None:
        alone = path.startswith(TUNED) and size >= LARGE_BYTES
        return _LayerReader(path.removeprefix(TUNED), size, Memory(cache / MEMORY)) if alone else None

    return reader


class _LayerReader:
    def __init__(self, path: str, size: int, memory: Memory) -> None:
        before, self._after = around(path, size)
        self._path, self._memory, self._whole = path, memory, hashlib.sha256(before)

    def read(self, chunk: bytes) -> None:
        self._whole.update(chunk)

    def end(self, file: File) -> None:
        self._whole.update(self._after)
        self._memory.keep(identity_of({self._path: file.sha256}), f"sha256:{self._whole.hexdigest()}")
