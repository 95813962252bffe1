"""Files fetched side by side: in pieces where the source gives out parts of them, else each as a whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.crew import Crew, Job
from instructlab_pipeline.model.pace import Pace
from instructlab_pipeline.model.pieces import Part, fetch_span
from instructlab_pipeline.model.shares import Shares
from instructlab_pipeline.model.source import Entry, PieceSource, WholeSource
from instructlab_pipeline.model.spans import Span
from instructlab_pipeline.model.whole import fetch_whole, is_whole

FEWEST, MOST = 3, 16  # connections: a server nearby needs no more, an object store on a network does
WORK = ".work"  # below the folder; what is not whole yet

Look = Callable[[Path], None]


@dataclass(kw_only=True)
class Fetch:
    """One fetch into `folder`; `total` and `done` count bytes. Several threads work on it until it is `given_up`.

    `look` is called once, by who brings the last of the files named `first`, while others bring the rest.
    """

    folder: Path
    events: Events
    total: int
    first: set[str]
    look: Look | None
    done: int = 0
    given_up: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def advance(self, num_bytes: int) -> None:
        with self.lock:
            self.done += num_bytes
            self.events.progress("model", self.done, self.total, unit="B")

    def put(self, path: Path, name: str) -> None:
        """A whole file under its own name."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        with self.lock:
            is_last = self.first == {name}
            self.first.discard(name)
        if is_last and self.look:
            self.look(self.folder)


def fetch_all(
    source: PieceSource | WholeSource,
    entries: Sequence[Entry],
    folder: Path,
    events: Events,
    look: Look | None = None,
) -> None:
    """Bring `entries` into `folder`, each under its own name once it is whole.

    With a `look`, what holds no weights comes first, and it is called once when that is there: what it raises ends the
    fetch.

    Raises:
        SourceError, ServiceError: as the source does, or a file does not have the digest that it has to have.
    """
    first = {entry.name for entry in entries if look and not entry.holds_weights}
    fetch = Fetch(folder=folder, events=events, total=sum(entry.size for entry in entries), first=first, look=look)
    if look and not first:
        look(folder)
    pace = Pace(fewest=FEWEST, most=MOST)
    if isinstance(source, WholeSource):
        Crew(WholeFiles(fetch, source, entries), pace).perform()
        return
    pieces = Pieces(fetch, source, entries)
    try:
        Crew(pieces, pace).perform()
        pieces.tell_unproven()
    finally:
        pieces.close()


class WholeFiles:
    """Work whose jobs are files."""

    def __init__(self, fetch: Fetch, source: WholeSource, entries: Sequence[Entry]) -> None:
        self._fetch, self._source = fetch, source
        self._left = iter(sorted(entries, key=lambda entry: (entry.name not in fetch.first, -entry.size)))

    @property
    def done(self) -> int:
        return self._fetch.done

    def next_job(self, _worker: int) -> Job | None:
        entry = next(self._left, None)
        return partial(self._bring, entry) if entry else None

    def give_up(self) -> None:
        self._fetch.given_up.set()

    def _bring(self, entry: Entry) -> None:
        fetch = self._fetch
        path = fetch_whole(self._source, entry, fetch.folder / WORK, advance=fetch.advance, given_up=fetch.given_up)
        if not is_whole(path, entry):
            raise _wrong(path, self._source.uri, entry)
        fetch.put(path, entry.name)


class Pieces:
    """Work whose jobs are spans of files."""

    def __init__(self, fetch: Fetch, source: PieceSource, entries: Sequence[Entry]) -> None:
        self._fetch, self._source = fetch, source
        self._growths = [Growth(fetch, source, entry) for entry in entries]
        self._all_there = iter([growth for growth in self._growths if not growth.left])
        first = {number for number, entry in enumerate(entries) if entry.name in fetch.first}
        self._shares = Shares([growth.part.missing() for growth in self._growths], first=first)

    @property
    def done(self) -> int:
        return self._fetch.done

    def next_job(self, worker: int) -> Job | None:
        if growth := next(self._all_there, None):
            return growth.complete
        share = self._shares.take(worker)
        return partial(self._growths[share[0]].fetch, share[1]) if share else None

    def give_up(self) -> None:
        self._fetch.given_up.set()
        self._source.close()

    def tell_unproven(self) -> None:
        names = [growth.name for growth in self._growths if growth.is_unproven]
        if names:
            others = f", and {len(names) - 1} more," if names[1:] else ""
            self._fetch.events.point(
                "notice",
                message=f"{names[0]}{others} could only be compared by size: the ETag is no digest of the bytes",
            )

    def close(self) -> None:
        self._source.close()
        for growth in self._growths:
            growth.part.close()


class Growth:
    """One file that arrives in pieces; `left` counts the bytes that do not, and who brings the last completes it."""

    def __init__(self, fetch: Fetch, source: PieceSource, entry: Entry) -> None:
        self._fetch, self._source, self._entry = fetch, source, entry
        self.name, self.is_unproven = entry.name, False
        self._lock = Lock()
        self.part = Part(fetch.folder / WORK, entry)
        self.left = sum(end - start for start, end in self.part.missing())
        fetch.advance(entry.size - self.left)

    def fetch(self, span: Span) -> None:
        fetch = self._fetch
        fetch_span(self._source, self._entry, self.part, span, advance=fetch.advance, given_up=fetch.given_up)
        with self._lock:
            self.left -= span[1] - span[0]
            is_last = self.left == 0
        if is_last:
            self.complete()

    def complete(self) -> None:
        right, proof = self.part.is_right(), self.part.proof
        is_digest = self._source.is_digest(self._entry)
        self.part.close()
        self.part.forget()
        if not right and proof.is_certain and is_digest:
            raise _wrong(self.part.path, self._source.uri, self._entry)
        self.is_unproven = not right or (is_digest and not proof.is_possible)
        self._fetch.put(self.part.path, self.name)


def _wrong(path: Path, uri: str, entry: Entry) -> ServiceError:
    """Take away what arrived."""
    path.unlink()
    return ServiceError(
        f"{uri}: {entry.name}: the bytes that arrived do not match its digest", remedy="run the same command again"
    )
