"""One process at a time, among many machines: a lease in a bucket.

    <name>/00000003.json   {holder, renewed}

The note with the highest number counts. Whoever wants the lease creates the next one, which the server lets one process
do ("If-None-Match: *"). The holder writes its note again every few seconds; one that stays as it is for 30 s
belongs to a process that is gone. No clocks are compared, but that of the waiting process with itself.

A server that does not know conditional writes lets two processes in when they come within the same second. What is
sealed is safe from that: its digests are checked whenever it is read.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import PipelineError, ServiceError
from instructlab_pipeline.holder import in_words
from instructlab_pipeline.s3.remote import RemoteFolder

RENEWED_EVERY_S = 5.0
EXPIRES_S = 30.0
LOOK_EVERY_S = 1.0
CLOCKS_DISAGREE_S = 60.0


@dataclass(kw_only=True)
class Lease:
    """`notes`: where its notes lie. `holder`: who wants it, with `host`, `pid` and the words for a person."""

    notes: RemoteFolder
    holder: Mapping[str, Any]
    renewed_every_s: float = RENEWED_EVERY_S
    expires_s: float = EXPIRES_S
    _number: int = 0
    _renewals: int = 0
    _released: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it while the body runs.

        Raises:
            ServiceError: another process holds it and lives.
        """
        self._take()
        renewer = threading.Thread(target=self._renew, daemon=True, name="lease")
        renewer.start()
        try:
            yield
        finally:
            self._released.set()
            renewer.join()
            if self._is_ours():
                self.notes.delete([_name(self._number)])

    def require(self) -> None:
        """Raises ServiceError when another process took the lease for abandoned: its word counts now, not ours."""
        if not self._is_ours():
            raise ServiceError(
                f"{self.notes.uri} was taken over by another process: this one was silent for {self.expires_s:g} s",
                remedy="let that one go on; if it is gone, run the same command again",
            )

    def _take(self) -> None:
        while True:
            number = newest(self.notes)
            if number:
                self._wait_for_end(number)
            if self.notes.create(_name(number + 1), self._note()):
                self._number = number + 1
                self.notes.delete([_name(number)] if number else [])
                return

    def _wait_for_end(self, number: int) -> None:
        """Until the note is gone, or its holder shows by its silence that it is.

        Raises:
            ServiceError: it was renewed.
        """
        seen = self.notes.read(_name(number))
        give_up = time.monotonic() + self.expires_s
        while seen is not None and time.monotonic() < give_up and not _died_here(seen):
            time.sleep(min(LOOK_EVERY_S, self.renewed_every_s))
            now = self.notes.read(_name(number))
            if now is not None and now != seen:
                raise ServiceError(
                    f"{self.notes.uri} is held by {in_words(now)}",
                    remedy="let it finish, or end it, then run the same command again",
                )
            seen = now

    def _renew(self) -> None:
        while not self._released.wait(self.renewed_every_s):
            self._renewals += 1
            try:
                if self._is_ours():
                    self.notes.write(_name(self._number), self._note())
            except PipelineError:
                continue  # the server is away: either it is back before the lease ends, or `require` says that it ended

    def _is_ours(self) -> bool:
        return newest(self.notes) == self._number

    def _note(self) -> bytes:
        return json.dumps({**self.holder, "renewed": self._renewals}).encode()


def newest(notes: RemoteFolder) -> int:
    """The number of the note that counts; 0 for none."""
    return max((int(Path(name).stem) for name in notes.listing()), default=0)


def holder_of(notes: RemoteFolder) -> str | None:
    """Who holds the lease, in words, or None. For people: by their clock and the server's, which may disagree a bit."""
    held = notes.listing()
    if not held:
        return None
    name = max(held)
    note = notes.read(name)
    silent = time.time() - held[name].modified > EXPIRES_S + CLOCKS_DISAGREE_S
    return None if note is None or silent or _died_here(note) else in_words(note)


def _died_here(note: bytes) -> bool:
    """Whether its holder ran on this very machine and does no longer, which needs no waiting."""
    holder = json.loads(note)
    return holder["host"] == socket.gethostname() and not Path(f"/proc/{holder['pid']}").exists()


def _name(number: int) -> str:
    return f"{number:08d}.json"
