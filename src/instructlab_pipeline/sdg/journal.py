"""The memory of every finished teacher call, so that none is ever paid for twice. A record is one line:

    <crc32 of the rest, 8 hex digits> <key> <reply as JSON>

A journal is a folder of segments, shared by runs and by processes at the same time. A process appends to a segment of
its own, which it holds by a lock; all segments are read when a journal is opened. A record reaches the kernel before
its row goes on, so that a killed process loses nothing that was finished; the disk has it a moment later, many records
per fsync.
"""

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.sdg.calls import ENCODER, Reply

KEY_LENGTH = 64
SYNC_INTERVAL_S = 0.2  # what a power cut can cost
_CHECKSUM_LENGTH = 8
_HEAD = _CHECKSUM_LENGTH + 1 + KEY_LENGTH + 1


def encode(key: str, reply: Reply) -> bytes:
    fields = {name: getattr(reply, name) for name in Reply.__slots__}
    content = f"{key} {ENCODER.encode(fields)}".encode()
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


@dataclass(kw_only=True)
class Journal:
    """Open it with `open_journal`, and close it. Keys are held in memory, replies stay on disk."""

    folder: Path
    _segment: int
    _path: Path
    _size: int
    _places: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)  # key -> segment, offset, length
    _readers: list[int] = field(default_factory=list)
    _dirty: bool = False
    _syncing: "asyncio.Task[None] | None" = None

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Reply | None:
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        segment, offset, length = place
        found = decode(os.pread(self._readers[segment], length, offset))
        return found[1] if found and found[0] == key else None

    def put(self, key: str, reply: Reply) -> None:
        """Hand one record to the kernel, and see to it that the disk has it soon.

        Raises:
            ServiceError: the disk is full or broken; the record is not in the journal, all earlier ones are.
        """
        line = encode(key, reply)
        self._write(line)
        self._places[bytes.fromhex(key)] = (len(self._readers) - 1, self._size, len(line))
        self._size += len(line)
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
        for reader in self._readers:
            os.close(reader)
        os.close(self._segment)

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._segment, line[written:])
        except OSError as error:
            os.ftruncate(self._segment, self._size)
            raise self._broken(error) from error

    async def _sync(self) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.to_thread(os.fdatasync, self._segment)
            except OSError as error:
                raise self._broken(error) from error
            await asyncio.sleep(SYNC_INTERVAL_S)

    def _raise_failed_sync(self) -> None:
        if self._syncing is not None and self._syncing.done() and not self._syncing.cancelled():
            self._syncing.result()

    def _broken(self, error: OSError) -> ServiceError:
        return ServiceError(
            f"cannot write the journal of teacher calls {self._path}: {error.strerror}",
            remedy="make room on that disk and run the same command again: every finished call is kept",
        )


def open_journal(folder: Path) -> Journal:
    """The journal in `folder`, ready to append: in a segment that its writer left behind, or in a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    segment, path = _own_segment(folder)
    journal = Journal(folder=folder, _segment=segment, _path=path, _size=0)
    others = sorted(other for other in folder.glob("*.journal") if other != path)
    for number, other in enumerate([*others, path]):
        reader = os.open(other, os.O_RDONLY)
        journal._readers.append(reader)  # noqa: SLF001 - this function is the journal's constructor
        for key, offset, length in _records(other):
            journal._places[key] = (number, offset, length)  # noqa: SLF001 - as above
    journal._size = _repaired_size(segment, path)  # noqa: SLF001 - as above
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


def _own_segment(folder: Path) -> tuple[int, Path]:
    """A segment that nobody else writes to, opened for appending and locked."""
    left_behind = sorted(folder.glob("*.journal"))
    for path in [*left_behind, folder / f"{secrets.token_hex(8)}.journal"]:
        segment = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(segment)
            continue
        return segment, path
    raise AssertionError("a new segment is always free")


def _records(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Key, offset and length of each whole record."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if is_whole(line):
                yield bytes.fromhex(line[_CHECKSUM_LENGTH + 1 : _HEAD - 1].decode()), offset, len(line)
            offset += len(line)


def _repaired_size(segment: int, path: Path) -> int:
    """Cut off what a crash left torn at the end of our own segment."""
    size = path.stat().st_size
    whole = max((offset + length for _, offset, length in _records(path)), default=0)
    if whole < size:
        os.ftruncate(segment, whole)
    return whole
