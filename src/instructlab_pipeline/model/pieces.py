"""One file fetched in pieces, several at once, each noted when the disk has it: what a kill leaves is gone on with.

NAME.part     the file, with holes where pieces are missing
NAME.pieces   how far its pieces came: offsets before which a piece is there from its beginning, one a line
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.model.source import Entry, Source

PIECE_BYTES = 16 << 20
PAUSE_S = 0.5  # before a broken piece is gone on with


class Part:
    """A file that grows under `path`."""

    def __init__(self, target: Path, size: int) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.pieces")
        self._size = size

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = self._notes.exists() and self.path.exists() and self.path.stat().st_size == self._size
        reached = [int(line) for line in self._notes.read_text().splitlines()] if known else []
        self._reached = {_start_of_piece(offset): offset for offset in sorted(reached)}
        self._notes.open("a" if known else "w").close()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        os.truncate(self._file, self._size)
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._file)

    def missing(self) -> list[tuple[int, int]]:
        """Start and end of what is not there yet of each piece."""
        pieces = ((start, min(start + PIECE_BYTES, self._size)) for start in range(0, self._size, PIECE_BYTES))
        left = ((self._reached.get(start, start), end) for start, end in pieces)
        return [(start, end) for start, end in left if start < end]

    def write(self, start: int, data: memoryview) -> None:
        while data:
            written = os.pwrite(self._file, data, start)
            data, start = data[written:], start + written

    def note(self, reached: int) -> None:
        """Noted only when the disk has it, or a power cut would leave a hole unseen."""
        os.fdatasync(self._file)
        with self._notes.open("a") as notes:
            notes.write(f"{reached}\n")

    def forget(self) -> None:
        """Nothing is to be gone on with: the file is complete, or wrong."""
        self._notes.unlink(missing_ok=True)


async def fetch_piece(
    source: Source, entry: Entry, part: Part, span: tuple[int, int], advance: Callable[[int], None]
) -> None:
    """One piece, gone on with where its connection broke.

    Raises:
        ServiceError: an attempt brought nothing.
    """
    start, end = span
    try:
        while start < end:
            before = start
            try:
                async for data in source.read(entry, start, end):
                    part.write(start, data)
                    start += len(data)
                    advance(len(data))
                _require_all(source.uri, entry, start, end)
            except ServiceError:
                if start == before:
                    raise
                await asyncio.sleep(PAUSE_S)
    finally:
        if start > span[0]:
            part.note(start)


def _start_of_piece(reached: int) -> int:
    return (reached - 1) // PIECE_BYTES * PIECE_BYTES


def _require_all(uri: str, entry: Entry, start: int, end: int) -> None:
    if start != end:
        raise ServiceError(
            f"{uri}: {entry.name} broke off {end - start} bytes before the end of a piece",
            remedy="run the same command again: it goes on where it stopped",
        )
