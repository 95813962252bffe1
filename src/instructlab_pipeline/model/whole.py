"""One file fetched whole by a library that has its own ways, then held against its digest."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

from instructlab_pipeline.errors import Interrupted
from instructlab_pipeline.model.source import Entry, WholeSource

BLOCK_BYTES = 1 << 20


def fetch_whole(
    source: WholeSource, entry: Entry, folder: Path, *, advance: Callable[[int], None], given_up: Event
) -> Path:
    """The file, somewhere below `folder`.

    Raises:
        Interrupted: it was given up, which the next bytes noticed.
    """
    told = 0

    def tell(num_bytes: int) -> None:
        nonlocal told
        if given_up.is_set():
            raise Interrupted
        told += num_bytes
        advance(num_bytes)

    path = source.download(entry, folder, tell)
    advance(entry.size - told)
    return path


def is_whole(path: Path, entry: Entry) -> bool:
    """Whether it has the size and the digest of the listing; then the disk has it, too."""
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
        kind, _, wanted = entry.version.partition(":")
        digest = hashlib.sha1(usedforsecurity=False) if kind == "git" else hashlib.sha256()
        if kind == "git":  # the name that git gives to a file's content
            digest.update(f"blob {entry.size}\0".encode())
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
        return file.tell() == entry.size and digest.hexdigest() == wanted
