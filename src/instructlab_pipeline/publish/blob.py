"""Bytes that are written down nowhere until someone reads them: memory and whole files, one after the other."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.publish.steps import in_steps

CHUNK_BYTES = 1 << 20
UNREADABLE = "see whether the file is there and its disk is well, then run the same command again"


@dataclass(frozen=True, kw_only=True)
class SealedFile:
    """A file with the size and sha256 that it had when its artifact was sealed."""

    path: Path
    size: int
    sha256: str


Piece = bytes | SealedFile


@dataclass(frozen=True)
class Blob:
    pieces: tuple[Piece, ...]

    @cached_property
    def size(self) -> int:
        return sum(_size(piece) for piece in self.pieces)

    async def digest(self) -> str:
        return await self.check()

    async def check(self) -> str:
        """`sha256:...` of all bytes; meanwhile, on another core, every file is checked against its seal.

        Raises:
            SourceError: a file was changed or cut since it was sealed.
        """
        digest, _ = await asyncio.gather(in_steps(self._hashing()), in_steps(self._checking()))
        return digest

    async def stream(self, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` on, read in threads."""
        chunks = self.chunks(start)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on, none of the chunks empty.

        Raises:
            SourceError: a file cannot be read, or is shorter than it was when it was sealed.
        """
        for piece in self.pieces:
            size = _size(piece)
            if start < size:
                yield from [piece[start:]] if isinstance(piece, bytes) else _read(piece, start)
            start = max(0, start - size)

    def _hashing(self) -> Generator[None, None, str]:
        whole = hashlib.sha256()
        for chunk in self.chunks():
            whole.update(chunk)
            yield
        return f"sha256:{whole.hexdigest()}"

    def _checking(self) -> Generator[None, None, None]:
        for piece in self.pieces:
            if isinstance(piece, SealedFile):
                yield from _check(piece)


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size


def _check(file: SealedFile) -> Generator[None, None, None]:
    own = hashlib.sha256()
    for chunk in _read(file, 0):
        own.update(chunk)
        yield
    if own.hexdigest() != file.sha256:
        raise _changed(file)


def _read(file: SealedFile, start: int) -> Iterator[bytes]:
    """As many bytes as were sealed, as they are announced before the first one is sent.

    Raises:
        SourceError: it cannot be read, or is shorter now.
    """
    left = file.size - start
    with boundary(SourceError, "reading the model", remedy=UNREADABLE), file.path.open("rb") as stream:
        stream.seek(start)
        while left > 0 and (chunk := stream.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
    if left > 0:
        raise _changed(file)


def _changed(file: SealedFile) -> SourceError:
    return SourceError(
        f"{file.path} was changed after it was sealed",
        remedy=f"delete {file.path.parent} and run again: the stage that made it makes it anew",
    )
