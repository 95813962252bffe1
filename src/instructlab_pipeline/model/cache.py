"""The model's files in a cache that runs share: each fetched once, resumed where it stopped, verified when whole.

A folder of the cache is named for its listing, so a changed object gets a new folder. A file under its own name is
complete; while it grows it ends in `.part` (see `pieces`).
"""

import asyncio
import fcntl
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.errors import ServiceError, boundary
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.pieces import Part, fetch_piece
from instructlab_pipeline.model.source import Entry, PieceSource, ProvenSource, WholeSource, listing_digest
from instructlab_pipeline.model.whole import fetch_whole, is_whole

NUM_PIECES = 8  # fetched at once, of one file or of several
PROVEN = ".proven"  # below the folder; of a source whose files are proven together
WORK = ".work"  # below the folder; for sources that bring whole files
MD5 = re.compile(r"[0-9a-f]{32}")  # an ETag that is the content's digest; that of a multipart upload is not
REMEDY = "check the disk's free space and permissions, then run the same command again: it goes on where it stopped"


@dataclass(kw_only=True)
class Fetch:
    """One fetch into `folder`; `total` and `done` count bytes."""

    source: PieceSource | WholeSource
    folder: Path
    events: Events
    total: int
    done: int = 0

    def advance(self, num_bytes: int) -> None:
        self.done += num_bytes
        self.events.progress("model", self.done, self.total, unit="B")


def fetched(source: PieceSource | WholeSource, entries: Sequence[Entry], cache: Path, events: Events) -> Path:
    """The folder of the cache that holds `entries`, complete.

    Two processes may ask for the same at once: the second waits, then finds everything there.

    Raises:
        SourceError, ServiceError: as the source does. What is complete stays, and is not fetched again.
    """
    folder = cache / listing_digest(entries)
    with boundary(ServiceError, f"fetching {source.uri} into {folder}", remedy=REMEDY), _held(folder, events):
        missing = [entry for entry in entries if not (folder / entry.name).exists()]
        fetch = Fetch(source=source, folder=folder, events=events, total=sum(entry.size for entry in missing))
        try:
            asyncio.run(_fetch_all(fetch, missing))
            if isinstance(source, ProvenSource) and not (folder / PROVEN).exists():
                asyncio.run(source.prove(list(entries), folder))
                (folder / PROVEN).touch()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        shutil.rmtree(folder / WORK, ignore_errors=True)
    return folder


@contextmanager
def _held(folder: Path, events: Events) -> Iterator[None]:
    """Let one process at a time fill `folder`; the lock ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            events.point("notice", message="waiting for another run that is fetching the same base model")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _fetch_all(fetch: Fetch, entries: Sequence[Entry]) -> None:
    """Largest first, so that no large file is left to go alone at the end; the first error ends them all."""
    limit = asyncio.Semaphore(NUM_PIECES)
    async with asyncio.TaskGroup() as files:
        for entry in sorted(entries, key=lambda entry: -entry.size):
            files.create_task(_fetch_file(fetch, entry, limit))


async def _fetch_file(fetch: Fetch, entry: Entry, limit: asyncio.Semaphore) -> None:
    source, target = fetch.source, fetch.folder / entry.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, WholeSource):
        async with limit:
            path = await fetch_whole(source, entry, fetch.folder / WORK, fetch.advance)
            right = await asyncio.to_thread(is_whole, path, entry)
    else:
        path, right = await _fetch_in_pieces(fetch, source, entry, limit)
    if not right:
        path.unlink()
        raise ServiceError(
            f"{source.uri}: {entry.name}: the bytes that arrived do not match its digest",
            remedy="run the same command again",
        )
    path.replace(target)


async def _fetch_in_pieces(
    fetch: Fetch, source: PieceSource, entry: Entry, limit: asyncio.Semaphore
) -> tuple[Path, bool]:
    """Where the file is, and whether it is the right one."""

    async def within_limit(span: tuple[int, int]) -> None:
        async with limit:
            await fetch_piece(source, entry, part, span, fetch.advance)

    md5 = entry.version if MD5.fullmatch(entry.version) else ""
    with Part(fetch.folder / entry.name, entry.size, md5=md5) as part:
        missing = part.missing()
        fetch.advance(entry.size - sum(end - start for start, end in missing))
        async with asyncio.TaskGroup() as pieces:
            for span in missing:
                pieces.create_task(within_limit(span))
        right = await asyncio.to_thread(part.is_right)
    part.forget()
    return part.path, right


def _first(error: BaseException) -> BaseException:
    """What went wrong first, out of the groups that it passed through."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
