"""One file fetched in pieces, several at once, each noted when the disk has it: what a kill leaves is gone on with.

NAME.part     the file, with holes where pieces are missing
NAME.pieces   how far its pieces came: offsets before which a piece is there from its beginning, one a line
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.model.source import Entry, PieceSource

PIECE_BYTES = 16 << 20
BLOCK_BYTES = 1 << 20  # hashed at once
PAUSE_S = 0.5  # before a broken piece is gone on with


class Part:
    """A file that grows under `path`. What comes is written at once; a thread of its own secures and hashes it."""

    def __init__(self, target: Path, size: int, *, md5: str = "") -> None:
        """`md5`: what the whole has to have, where that is known."""
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.pieces")
        self._size = size
        self._wanted, self._md5, self._hashed = md5, hashlib.md5(usedforsecurity=False), 0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = self._notes.exists() and self.path.exists() and self.path.stat().st_size == self._size
        reached = [int(line) for line in self._notes.read_text().splitlines()] if known else []
        self._reached = {_start_of_piece(offset): offset for offset in sorted(reached)}
        self._notes.open("a" if known else "w").close()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        os.truncate(self._file, self._size)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pieces")
        self._work = [self._thread.submit(self._hash_on)]
        return self

    def __exit__(self, *_exception: object) -> None:
        self._thread.shutdown()
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
        """The piece that ends or stops at `reached` is there so far."""
        self._work.append(self._thread.submit(self._secure, reached))

    def is_right(self) -> bool:
        """Once all is there: whether it has the digest that it has to have. After this the disk has it.

        Raises:
            OSError: the disk did not take what was written.
        """
        self._work.append(self._thread.submit(os.fdatasync, self._file))
        for work in self._work:
            work.result()
        return not self._wanted or (self._hashed == self._size and self._md5.hexdigest() == self._wanted)

    def forget(self) -> None:
        """Nothing is to be gone on with: the file is complete, or wrong."""
        self._notes.unlink(missing_ok=True)

    def _secure(self, reached: int) -> None:
        """Note what came only when the disk has it, or a power cut would leave a hole that no digest shows."""
        if not self._wanted:
            os.fdatasync(self._file)
        with self._notes.open("a") as notes:
            notes.write(f"{reached}\n")
        self._reached[_start_of_piece(reached)] = reached
        self._hash_on()

    def _hash_on(self) -> None:
        """As far as the file is there without a hole."""
        while self._wanted and self._hashed < self._reached.get(self._hashed // PIECE_BYTES * PIECE_BYTES, 0):
            end = self._reached[self._hashed // PIECE_BYTES * PIECE_BYTES]
            data = os.pread(self._file, min(end - self._hashed, BLOCK_BYTES), self._hashed)
            self._md5.update(data)
            self._hashed += len(data)


async def fetch_piece(
    source: PieceSource, entry: Entry, part: Part, span: tuple[int, int], advance: Callable[[int], None]
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
