"""One file that grows in several places at once, noted when the disk has it: what a kill leaves is gone on with.

files/NAME   the file, with holes where bytes are missing
notes/NAME   the spans that are there, start and end in bytes, one a line
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock

from instructlab_pipeline.errors import Interrupted, ServiceError
from instructlab_pipeline.model.proof import Proof
from instructlab_pipeline.model.source import Entry, PieceSource
from instructlab_pipeline.model.spans import Span, Spans
from instructlab_pipeline.s3.errors import ChangedError

NOTE_BYTES = 8 << 20  # between notes: what a kill costs at most, for each connection
NOTE = re.compile(r"^(\d+) (\d+)\n", re.MULTILINE)  # what a crash left torn is none
PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0  # before what broke off is gone on with
CLOSED = -1


class Part:
    """A file that grows in the folder `work`, written by several threads. It is open from the first until `close`."""

    def __init__(self, work: Path, entry: Entry) -> None:
        self.path, self._notes = work / "files" / entry.name, work / "notes" / entry.name
        self._size = entry.size
        self._there, self._lock, self._file = Spans(), Lock(), CLOSED
        self.proof = Proof(entry)
        known = self._notes.exists() and self.path.exists() and self.path.stat().st_size == self._size
        for start, end in NOTE.findall(self._notes.read_text()) if known else ():
            self._there.add(int(start), int(end))
        if not known:
            self.forget()

    def missing(self) -> list[Span]:
        """Start and end of what is not there yet."""
        return self._there.missing(self._size)

    def write(self, start: int, data: memoryview) -> None:
        self.proof.offer(start, data)
        while data:
            written = os.pwrite(self._opened(), data, start)
            data, start = data[written:], start + written

    def note(self, start: int, end: int) -> None:
        """All is there from `start` to `end`. It counts when the disk has it: a power cut may leave no hidden hole."""
        os.fdatasync(self._opened())
        with self._lock:
            self._there.add(start, end)
            with self._notes.open("a") as notes:
                notes.write(f"{start} {end}\n")
        self.proof.catch_up(self._opened(), (start, end), self._reach)

    def is_right(self) -> bool:
        """Once all is there: whether it has the digest that it has to have, if any."""
        file = self._opened()
        if not self.proof.is_possible:
            return True
        self.proof.catch_up(file, (0, self._size), self._reach, wait=True)
        return self.proof.holds(self.path)

    def forget(self) -> None:
        """Nothing is to be gone on with: the file is complete, or wrong."""
        self._notes.unlink(missing_ok=True)

    def close(self) -> None:
        """Once nobody writes."""
        if self._file != CLOSED:
            os.close(self._file)
            self._file = CLOSED

    def _opened(self) -> int:
        with self._lock:
            if self._file == CLOSED:
                for path in (self.path, self._notes):
                    path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
                os.truncate(self._file, self._size)
            return self._file

    def _reach(self, position: int) -> int:
        with self._lock:
            return self._there.reach(position)


class Stretch:
    """Bytes of a part that arrive one after the other. What has arrived is noted, however it ends."""

    def __init__(self, part: Part, start: int) -> None:
        self._part, self._noted, self.end = part, start, start

    def append(self, data: memoryview) -> None:
        self._part.write(self.end, data)
        self.end += len(data)
        if self.end - self._noted >= NOTE_BYTES:
            self.note()

    def note(self) -> None:
        if self.end > self._noted:
            self._part.note(self._noted, self.end)
            self._noted = self.end


def fetch_span(
    source: PieceSource, entry: Entry, part: Part, span: Span, *, advance: Callable[[int], None], given_up: Event
) -> None:
    """One stretch of the file, gone on with where its connection broke.

    Raises:
        ServiceError: attempts brought nothing for as long as the source has patience.
        Interrupted: it is given up.
    """
    stretch = Stretch(part, span[0])
    heard, pause = time.monotonic(), PAUSE_S
    try:
        while stretch.end < span[1]:
            _require_wanted(given_up)
            before = stretch.end
            try:
                for data in source.read(entry, stretch.end, span[1]):
                    stretch.append(data)
                    advance(len(data))
                    _require_wanted(given_up)
                _require_all(source.uri, entry, stretch.end, span[1])
            except ChangedError:
                raise
            except ServiceError:
                if stretch.end > before:
                    heard, pause = time.monotonic(), PAUSE_S
                elif time.monotonic() - heard >= source.patience_s:
                    raise
                given_up.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
    finally:
        stretch.note()


def _require_wanted(given_up: Event) -> None:
    if given_up.is_set():
        raise Interrupted


def _require_all(uri: str, entry: Entry, start: int, end: int) -> None:
    if start != end:
        raise ServiceError(
            f"{uri}: {entry.name} broke off {end - start} bytes before the end of a piece",
            remedy="run the same command again: it goes on where it stopped",
        )
