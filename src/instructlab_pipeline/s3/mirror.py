"""Keeps what a stage remembers across crashes (journals, recovery checkpoints) in a bucket, while it works and after.

Within each pass manifests go last, and what went away here goes away there in the end: a checkpoint that is listed is
whole, whenever the machine dies.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from instructlab_pipeline.artifacts import MANIFEST
from instructlab_pipeline.errors import PipelineError
from instructlab_pipeline.s3.remote import Entry, RemoteFolder, Wanted

EVERY_S = 60.0
TORCH_METADATA = ".metadata"  # of a recovery checkpoint, as torch names it: no draft
State = tuple[int, int]  # size, time of change in ns


@dataclass(kw_only=True)
class Mirror:
    """A folder here and its copy there. Only what came from there, or was sent, is ever deleted there."""

    folder: Path
    remote: RemoteFolder
    _sent: dict[str, State] = field(default_factory=dict)

    def down(self) -> None:
        """Fetch what is not here, or is older here: another machine may have gone on where this one stopped."""
        there = self.remote.listing()
        wanted = {
            name: Wanted(target=self.folder / name, size=entry.size)
            for name, entry in there.items()
            if _is_newer(entry, self.folder / name)
        }
        self.remote.download(wanted)
        self._sent = {name: state for name, state in self._present().items() if name in wanted}

    def up(self) -> None:
        """Send what has changed since the last time."""
        present = self._present()
        changed = [name for name, state in present.items() if self._sent.get(name) != state]
        for manifests in (False, True):
            self._send([name for name in changed if (Path(name).name == MANIFEST) is manifests])
        gone = [name for name in self._sent if name not in present]
        self.remote.delete(gone)
        self._sent = present

    def _send(self, names: Sequence[str]) -> None:
        if names:
            self.remote.upload({name: self.folder / name for name in names}, there=self.remote.listing())

    def _present(self) -> dict[str, State]:
        found = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            if any(part.startswith(".") and part != TORCH_METADATA for part in name.parts):
                continue  # a draft
            with suppress(FileNotFoundError):
                if path.is_file():
                    status = path.stat()
                    found[name.as_posix()] = (status.st_size, status.st_mtime_ns)
        return found


def _is_newer(entry: Entry, path: Path) -> bool:
    """A file that was sent a moment after it was written is newer there, and the same."""
    return not path.exists() or (entry.modified > path.stat().st_mtime and not entry.is_of(path))


@contextmanager
def kept_up(mirrors: Sequence[Mirror], *, every_s: float = EVERY_S) -> Iterator[None]:
    """Send what changes while the body runs, and once more at its end, however it ends.

    A server that is away for a while costs nothing but the copy's age.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(every_s):
            _send_all(mirrors)

    thread = threading.Thread(target=keep, daemon=True, name="mirror")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _send_all(mirrors)


def _send_all(mirrors: Sequence[Mirror]) -> None:
    for mirror in mirrors:
        with suppress(PipelineError, FileNotFoundError):  # a file that was pruned meanwhile: the next pass knows
            mirror.up()
