"""The model's files in a cache that runs share: each fetched once, resumed where it stopped, verified when whole.

A folder of the cache is named for its listing, so a changed object gets a new folder. A file under its own name is
complete; while it grows it lies in `.work` (see `pieces`).
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from instructlab_pipeline.artifacts import link_or_copy, write_atomically
from instructlab_pipeline.errors import ServiceError, boundary
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.fetch import WORK, Look, fetch_all
from instructlab_pipeline.model.source import (
    NO_DIGEST,
    ArchiveSource,
    Entry,
    PieceSource,
    ProvenSource,
    WholeSource,
    listing_digest,
)

PROVEN = ".proven"  # below the folder; of a source whose files are proven together
LISTING = ".listing"  # beside the folder; name, size and version of each file that belongs there
UNPACKED = ".unpacked"  # below the folder; the files of its archives
REMEDY = "check the disk's free space and permissions, then run the same command again: it goes on where it stopped"


def fetched(
    source: PieceSource | WholeSource,
    entries: Sequence[Entry],
    cache: Path,
    events: Events,
    look: Look | None = None,
) -> Path:
    """The folder of the cache that holds `entries`, complete.

    Two processes may ask for the same at once: the second waits, then finds everything there. `look` is called once, as
    soon as all but the weights is in the folder: what it raises spares the user the rest.

    Raises:
        SourceError, ServiceError: as the source does. What is complete stays, and is not fetched again.
    """
    folder = cache / listing_digest(entries)
    with boundary(ServiceError, f"fetching {source.uri} into {folder}", remedy=REMEDY), _held(folder, events):
        write_atomically(folder.with_suffix(LISTING), json.dumps([astuple(entry) for entry in entries]))
        _take_over(cache, folder, [entry for entry in entries if not _is_there(folder, entry)])
        missing = [entry for entry in entries if not _is_there(folder, entry)]
        fetch_all(source, missing, folder, events, look)
        if isinstance(source, ProvenSource) and not (folder / PROVEN).exists():
            source.prove(list(entries), folder)
            (folder / PROVEN).touch()
        shutil.rmtree(folder / WORK, ignore_errors=True)
        if isinstance(source, ArchiveSource):
            _unpack(source, entries, folder)
            return folder / UNPACKED
    return folder


def _is_there(folder: Path, entry: Entry) -> bool:
    """A file that somebody cut short afterwards is not."""
    return (folder / UNPACKED).exists() or _is_whole(folder / entry.name, entry.size)


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _take_over(cache: Path, folder: Path, missing: Sequence[Entry]) -> None:
    """Link the files that were fetched before, with another version of the model: of one file more or less, say."""
    wanted = {astuple(entry) for entry in missing if not entry.version.startswith(NO_DIGEST)}
    for listing in cache.glob(f"*{LISTING}"):
        for name, size, version in _listed(listing):
            if (name, size, version) in wanted and _is_whole(listing.with_suffix("") / name, size):
                linked, target = folder / WORK / "linked", folder / name
                for parent in (linked, target.parent):
                    parent.mkdir(parents=True, exist_ok=True)
                (linked / "file").unlink(missing_ok=True)
                link_or_copy(listing.with_suffix("") / name, linked / "file")
                (linked / "file").replace(target)


def _listed(listing: Path) -> list[tuple[str, int, str]]:
    """Nothing where it cannot be read: it only saves work."""
    try:
        return [(name, size, version) for name, size, version in json.loads(listing.read_text())]
    except (OSError, ValueError, TypeError):
        return []


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
