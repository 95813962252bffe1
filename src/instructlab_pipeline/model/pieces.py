"""One file fetched in pieces, several at once, each noted when the disk has it: what a kill leaves is gone on with.

NAME.part     the file, with holes where pieces are missing
NAME.pieces   the spans that are there, start and end in bytes, one a line
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from typing import Self

from instructlab_pipeline.errors import Interrupted, ServiceError
from instructlab_pipeline.model.proof import Proof
from instructlab_pipeline.model.source import Entry, PieceSource
from instructlab_pipeline.model.spans import Span, Spans
from instructlab_pipeline.s3.errors import ChangedError

PIECE_BYTES = 8 << 20
MAX_PIECES = 4  # of one file, until pieces are LARGEST
LARGEST = 4  # times PIECE_BYTES; each request costs the server as much as a megabyte, and a kill at most one of these
NOTE = re.compile(r"^(\d+) (\d+)\n", re.MULTILINE)  # what a crash left torn is none
PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0  # before a broken piece is gone on with


class Part:
    """A file that grows under `path`, written by several threads."""

    def __init__(self, target: Path, entry: Entry) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.pieces")
        self._size = entry.size
        self._there, self._lock = Spans(), Lock()
        self.proof = Proof(entry)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = self._notes.exists() and self.path.exists() and self.path.stat().st_size == self._size
        for start, end in NOTE.findall(self._notes.read_text()) if known else ():
            self._there.add(int(start), int(end))
        self._notes.open("a" if known else "w").close()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        os.truncate(self._file, self._size)
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._file)

    def missing(self) -> list[Span]:
        """Start and end of what is not there yet, piece by piece."""
        size = PIECE_BYTES * min(max(self._size // (PIECE_BYTES * MAX_PIECES), 1), LARGEST)
        return self._there.missing(self._size, at_most=size)

    def write(self, start: int, data: memoryview) -> None:
        self.proof.offer(start, data)
        while data:
            written = os.pwrite(self._file, data, start)
            data, start = data[written:], start + written

    def note(self, start: int, end: int) -> None:
        """All is there from `start` to `end`. It counts when the disk has it: a power cut may leave no hidden hole."""
        os.fdatasync(self._file)
        with self._lock:
            self._there.add(start, end)
            with self._notes.open("a") as notes:
                notes.write(f"{start} {end}\n")
        self.proof.catch_up(self._file, (start, end), self._reach)

    def is_right(self) -> bool:
        """Once all is there: whether it has the digest that it has to have, if any."""
        if not self.proof.is_possible:
            return True
        self.proof.catch_up(self._file, (0, self._size), self._reach, wait=True)
        return self.proof.holds(self.path)

    def forget(self) -> None:
        """Nothing is to be gone on with: the file is complete, or wrong."""
        self._notes.unlink(missing_ok=True)

    def _reach(self, position: int) -> int:
        with self._lock:
            return self._there.reach(position)


def fetch_piece(
    source: PieceSource, entry: Entry, part: Part, span: Span, *, advance: Callable[[int], None], given_up: Event
) -> None:
    """One piece, gone on with where its connection broke.

    Raises:
        ServiceError: attempts brought nothing for as long as the source has patience.
        Interrupted: it is given up.
    """
    start, end = span
    heard, pause = time.monotonic(), PAUSE_S
    try:
        while start < end:
            if given_up.is_set():
                raise Interrupted
            before = start
            try:
                for data in source.read(entry, start, end):
                    part.write(start, data)
                    start += len(data)
                    advance(len(data))
                _require_all(source.uri, entry, start, end)
            except ChangedError:
                raise
            except ServiceError:
                if start > before:
                    heard, pause = time.monotonic(), PAUSE_S
                elif time.monotonic() - heard >= source.patience_s:
                    raise
                given_up.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
    finally:
        if start > span[0]:
            part.note(span[0], start)


def _require_all(uri: str, entry: Entry, start: int, end: int) -> None:
    if start != end:
        raise ServiceError(
            f"{uri}: {entry.name} broke off {end - start} bytes before the end of a piece",
            remedy="run the same command again: it goes on where it stopped",
        )
