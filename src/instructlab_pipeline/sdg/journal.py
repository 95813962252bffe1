"""The memory of every finished teacher call, so that none is ever paid for twice. A record is one line:

    <crc32 of the rest, 8 hex digits> <key> <reply as JSON>

A journal is a folder of segments, shared by runs and by processes at the same time. A process appends to a segment of
its own, which it holds by a lock; it reads all of them when it opens the journal, and what others have added since when
it misses a key. A record reaches the kernel before its row goes on, so that a killed process loses nothing that was
finished; the disk has it a moment later, many records per fsync.

Segments that nobody writes to any more are joined when there are too many: without what is damaged, and each key once.
"""

import asyncio
import fcntl
import json
import os
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from json.encoder import encode_basestring as quoted
from pathlib import Path
from zlib import crc32

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.sdg.calls import Reply
from instructlab_pipeline.sdg.places import Places

KEY_LENGTH = 64
SYNC_INTERVAL_S = 0.5  # what a power cut can cost
LOOK_INTERVAL_S = 1.0  # how often to look for what other processes have found out
MOST_SEGMENTS = 8  # that nobody writes to; more are joined
READ_AT_ONCE = 1 << 13
OFFSET_BITS = 40  # a segment may grow to a terabyte
_CHECKSUM_LENGTH = 8
_HEAD = _CHECKSUM_LENGTH + 1 + KEY_LENGTH + 1


def encode(key: str, reply: Reply) -> bytes:
    numbers = f'"tokens_in": {reply.tokens_in}, "tokens_out": {reply.tokens_out}, "retries": {reply.retries}'
    content = f'{key} {{"text": {quoted(reply.text)}, "finish": {quoted(reply.finish)}, {numbers}}}'.encode()
    return b"%08x %s\n" % (crc32(content), content)


def decode(line: bytes) -> tuple[str, Reply] | None:
    """Key and reply of a line with its end, or None where the line is not whole."""
    if not is_whole(line):
        return None
    return line[_CHECKSUM_LENGTH + 1 : _HEAD - 1].decode(), Reply(**json.loads(line[_HEAD:]))


def is_whole(line: bytes) -> bool:
    if len(line) <= _HEAD or not line.endswith(b"\n"):
        return False
    return line.startswith(b"%08x " % crc32(line[_CHECKSUM_LENGTH + 1 : -1]))


def key_of(line: bytes) -> bytes:
    return bytes.fromhex(line[_CHECKSUM_LENGTH + 1 : _HEAD - 1].decode())


@dataclass(kw_only=True)
class Segment:
    """A file of records, as far as it was read. Its lines begin at `number << OFFSET_BITS` and on, for the index."""

    path: Path
    reader: int
    number: int
    read_to: int = 0

    def records_added(self) -> Iterator[tuple[bytes, int]]:
        """Key and place of each whole record that was added since this was asked last."""
        if os.fstat(self.reader).st_size == self.read_to:
            return
        with open(self.reader, "rb", closefd=False) as file:
            file.seek(self.read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if is_whole(line):
                    yield key_of(line), self.number << OFFSET_BITS | self.read_to
                self.read_to += len(line)

    def line_at(self, offset: int) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            piece = os.pread(self.reader, READ_AT_ONCE, offset + len(line))
            end = piece.find(b"\n") + 1
            line += piece[: end or None]
            if not piece:
                break
        return line


@dataclass(kw_only=True)
class Journal:
    """Open it with `open_journal`, and close it. An index of the keys is held in memory, replies stay on disk."""

    folder: Path
    _writer: int
    _own: Segment
    _places: Places = field(default_factory=Places)
    _segments: list[Segment] = field(default_factory=list)
    _looked_at: float = float("-inf")
    _dirty: bool = False
    _syncing: "asyncio.Task[None] | None" = None

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Reply | None:
        """What is known by this key, also where another process has found it out a moment ago."""
        digest = bytes.fromhex(key)
        place = self._places.get(digest)
        if place is None and self.look_around():
            place = self._places.get(digest)
        if place is None:
            return None
        found = decode(self._segments[place >> OFFSET_BITS].line_at(place & ((1 << OFFSET_BITS) - 1)))
        return found[1] if found and found[0] == key else None

    def look_around(self) -> bool:
        """Read what was added to the journal by others, now and then; whether it was time for it."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_INTERVAL_S:
            return False
        known = {segment.path for segment in self._segments}
        for path in sorted(set(self.folder.glob("*.journal")) - known):
            with suppress(FileNotFoundError):  # joined with others just now
                self._segments.append(_opened(path, number=len(self._segments)))
        for segment in self._segments:
            for key, place in segment.records_added():
                self._places.put(key, place)
        self._looked_at = time.monotonic()
        return True

    def put(self, key: str, reply: Reply) -> None:
        """Hand one record to the kernel, and see to it that the disk has it soon.

        Raises:
            ServiceError: the disk is full or broken; the record is not in the journal, all earlier ones are.
        """
        line = encode(key, reply)
        self._write(line)
        self._places.put(bytes.fromhex(key), self._own.number << OFFSET_BITS | self._own.read_to)
        self._own.read_to += len(line)
        self._dirty = True
        if self._syncing is None or self._syncing.done():
            self._raise_failed_sync()
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def flush(self) -> None:
        """Return when every record is on disk."""
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
            self._raise_failed_sync()
        await self._sync()

    def close(self) -> None:
        for segment in self._segments:
            os.close(segment.reader)
        os.close(self._writer)

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._writer, line[written:])
        except OSError as error:
            os.ftruncate(self._writer, self._own.read_to)
            raise self._broken(error) from error

    async def _sync(self) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.to_thread(os.fdatasync, self._writer)
            except OSError as error:
                raise self._broken(error) from error
            await asyncio.sleep(SYNC_INTERVAL_S)

    def _raise_failed_sync(self) -> None:
        if self._syncing is not None and self._syncing.done() and not self._syncing.cancelled():
            self._syncing.result()

    def _broken(self, error: OSError) -> ServiceError:
        return ServiceError(
            f"cannot write the journal of teacher calls {self._own.path}: {error.strerror}",
            remedy="make room on that disk and run the same command again: every finished call is kept",
        )


def open_journal(folder: Path) -> Journal:
    """The journal in `folder`, ready to append: in a segment that its writer left behind, or in a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        _join_where_many(folder)
        writer, path = _own_segment(folder)
    _repair(writer, path)
    own = _opened(path, number=0)
    journal = Journal(folder=folder, _writer=writer, _own=own, _segments=[own])
    journal.look_around()
    return journal


def find(folder: Path, keys: Collection[str]) -> dict[str, Reply]:
    """The replies to a few calls, read from the segments without an index."""
    wanted = {key.encode() for key in keys}
    found: dict[str, Reply] = {}
    for segment in sorted(folder.glob("*.journal")):
        with segment.open("rb") as file:
            for line in file:
                if line[_CHECKSUM_LENGTH + 1 : _HEAD - 1] in wanted and (record := decode(line)):
                    found[record[0]] = record[1]
    return found


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One process at a time takes or joins segments."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own_segment(folder: Path) -> tuple[int, Path]:
    """A segment that nobody else writes to, opened for appending and locked."""
    for path in [*sorted(folder.glob("*.journal")), folder / f"{secrets.token_hex(8)}.journal"]:
        segment = _locked(path)
        if segment is not None:
            return segment, path
    raise AssertionError("a new segment is always free")


def _locked(path: Path) -> int | None:
    segment = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(segment)
        return None
    return segment


def _join_where_many(folder: Path) -> None:
    """Join the segments that nobody writes to. Who reads one of them goes on reading it."""
    held = {path: _locked(path) for path in sorted(folder.glob("*.journal"))}
    free = [path for path, segment in held.items() if segment is not None]
    if len(free) > MOST_SEGMENTS:
        _join(free, folder / f"{secrets.token_hex(8)}.journal")
    for segment in held.values():
        if segment is not None:
            os.close(segment)


def _join(paths: Sequence[Path], whole: Path) -> None:
    """Each whole record once. The new segment is on disk before the old ones go."""
    draft, known = whole.with_name(f".{whole.stem}"), Places()
    with draft.open("wb") as file:
        for path in paths:
            for line in _whole_lines(path):
                if known.get(key_of(line)) is None:
                    known.put(key_of(line), 0)
                    file.write(line)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(whole)
    for path in paths:
        path.unlink()


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from filter(is_whole, file)


def _opened(path: Path, *, number: int) -> Segment:
    return Segment(path=path, reader=os.open(path, os.O_RDONLY | os.O_CLOEXEC), number=number)


def _repair(segment: int, path: Path) -> None:
    """Cut off what a crash left torn at the end of our own segment."""
    whole = size = 0
    with path.open("rb") as file:
        for line in file:
            size += len(line)
            whole = size if is_whole(line) else whole
    if whole < size:
        os.ftruncate(segment, whole)
