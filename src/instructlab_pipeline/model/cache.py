"""The model's files in a cache that runs share: each fetched once, resumed where it stopped, verified when whole.

A folder of the cache is named for its listing, so a changed object gets a new folder. A file under its own name is
complete; while it grows it ends in `.part` (see `pieces`).
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock

from instructlab_pipeline.errors import ServiceError, boundary
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.pieces import Part, fetch_piece
from instructlab_pipeline.model.source import (
    ArchiveSource,
    Entry,
    PieceSource,
    ProvenSource,
    WholeSource,
    listing_digest,
)
from instructlab_pipeline.model.spans import Span
from instructlab_pipeline.model.whole import fetch_whole, is_whole

PER_CORE, FEWEST, MOST = 2, 4, 16  # pieces at once: as many as the cores can take in and hash, which beats the line
CLOSE_EVERY_S = 0.1  # until all who wait for a byte have noticed
PROVEN = ".proven"  # below the folder; of a source whose files are proven together
WORK = ".work"  # below the folder; for sources that bring whole files, or archives
UNPACKED = "unpacked"  # below the folder; the files of its archives
REMEDY = "check the disk's free space and permissions, then run the same command again: it goes on where it stopped"

Job = Callable[[], None]


@dataclass(kw_only=True)
class Fetch:
    """One fetch into `folder`; `total` and `done` count bytes. Several threads work on it until it is `given_up`."""

    source: PieceSource | WholeSource
    folder: Path
    events: Events
    total: int
    done: int = 0
    given_up: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def advance(self, num_bytes: int) -> None:
        with self.lock:
            self.done += num_bytes
            self.events.progress("model", self.done, self.total, unit="B")

    def close(self) -> None:
        if not isinstance(self.source, WholeSource):
            self.source.close()


def fetched(source: PieceSource | WholeSource, entries: Sequence[Entry], cache: Path, events: Events) -> Path:
    """The folder of the cache that holds `entries`, complete.

    Two processes may ask for the same at once: the second waits, then finds everything there.

    Raises:
        SourceError, ServiceError: as the source does. What is complete stays, and is not fetched again.
    """
    folder = cache / listing_digest(entries)
    with boundary(ServiceError, f"fetching {source.uri} into {folder}", remedy=REMEDY), _held(folder, events):
        missing = [entry for entry in entries if not _is_there(folder, entry)]
        fetch = Fetch(source=source, folder=folder, events=events, total=sum(entry.size for entry in missing))
        with ExitStack() as parts:
            _perform(fetch, _jobs(fetch, missing, parts))
        if isinstance(source, ProvenSource) and not (folder / PROVEN).exists():
            source.prove(list(entries), folder)
            (folder / PROVEN).touch()
        shutil.rmtree(folder / WORK, ignore_errors=True)
        if isinstance(source, ArchiveSource):
            _unpack(source, entries, folder)
            return folder / UNPACKED
    return folder


def _is_there(folder: Path, entry: Entry) -> bool:
    return (folder / entry.name).exists() or (folder / UNPACKED).exists()


def _unpack(source: ArchiveSource, entries: Sequence[Entry], folder: Path) -> None:
    """Once; then the archives are not needed any more."""
    if not (folder / UNPACKED).exists():
        shutil.rmtree(folder / WORK, ignore_errors=True)
        source.unpack(folder, folder / WORK)
        (folder / WORK).rename(folder / UNPACKED)
    for entry in entries:
        (folder / entry.name).unlink(missing_ok=True)


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


def _jobs(fetch: Fetch, entries: Sequence[Entry], parts: ExitStack) -> list[Job]:
    """What can be done side by side. Files grow at one pace, so that each is hashed while the others are, too."""
    source = fetch.source
    if isinstance(source, WholeSource):
        largest_first = sorted(entries, key=lambda entry: -entry.size)
        return [partial(_fetch_whole, fetch, source, entry) for entry in largest_first]
    jobs: list[tuple[float, Job]] = []
    for entry in entries:
        part = parts.enter_context(Part(fetch.folder / entry.name, entry))
        jobs += Growth(fetch=fetch, source=source, entry=entry, part=part).jobs()
    return [job for _, job in sorted(jobs, key=lambda pair: pair[0])]


def _perform(fetch: Fetch, jobs: Sequence[Job]) -> None:
    """All of them, in the order given; the first error, or an interruption, ends the others."""
    num_threads = min(max(PER_CORE * len(os.sched_getaffinity(0)), FEWEST), MOST)
    with ThreadPoolExecutor(num_threads) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            fetch.given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):
                fetch.close()
                time.sleep(CLOSE_EVERY_S)
            raise
        finally:
            fetch.close()


@dataclass(kw_only=True)
class Growth:
    """One file that arrives in pieces; who brings the last one completes it."""

    fetch: Fetch
    source: PieceSource
    entry: Entry
    part: Part
    lock: Lock = field(default_factory=Lock)
    pieces_left: int = 0

    def jobs(self) -> list[tuple[float, Job]]:
        """Each with the share of the file that is there after it; what takes one piece comes first."""
        missing = self.part.missing()
        self.fetch.advance(self.entry.size - sum(end - start for start, end in missing))
        self.pieces_left = len(missing)
        if not missing:
            return [(0.0, self._complete)]
        whole = len(missing) == 1
        return [(0.0 if whole else span[1] / self.entry.size, partial(self._fetch, span)) for span in missing]

    def _fetch(self, span: Span) -> None:
        fetch = self.fetch
        fetch_piece(self.source, self.entry, self.part, span, advance=fetch.advance, given_up=fetch.given_up)
        with self.lock:
            self.pieces_left -= 1
            is_last = self.pieces_left == 0
        if is_last:
            self._complete()

    def _complete(self) -> None:
        right = self.part.is_right()
        self.part.forget()
        if not right and self.part.proof.is_certain and self.source.is_digest(self.entry):
            raise _wrong(self.part.path, self.source, self.entry)
        if not right:
            message = (
                f"{self.entry.name} was compared by its size alone: its ETag {self.entry.version} is no digest of it"
            )
            self.fetch.events.point("notice", message=message)
        self.part.path.replace(self.fetch.folder / self.entry.name)


def _fetch_whole(fetch: Fetch, source: WholeSource, entry: Entry) -> None:
    target = fetch.folder / entry.name
    path = fetch_whole(source, entry, fetch.folder / WORK, advance=fetch.advance, given_up=fetch.given_up)
    if not is_whole(path, entry):
        raise _wrong(path, source, entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)


def _wrong(path: Path, source: PieceSource | WholeSource, entry: Entry) -> ServiceError:
    """Take away what arrived."""
    path.unlink()
    return ServiceError(
        f"{source.uri}: {entry.name}: the bytes that arrived do not match its digest",
        remedy="run the same command again",
    )
