"""A run on disk: one folder that holds its parameters, its events and one sealed folder per stage.

    runs/<run>/run.json  events.jsonl  report.html  model/ taxonomy/ sdg/ ... publish/
    runs/cache/          what runs share: downloads, clones, teacher calls, sealed stages by key

One process works on a run folder at a time; the kernel frees the lock when that process ends, however it ends.
"""

import errno
import fcntl
import json
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from instructlab_pipeline import __version__
from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.holder import command, in_words, this_process

LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def record_path(self) -> Path:
        return self.path / "run.json"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @property
    def cache(self) -> Path:
        """Beside the run, shared with its siblings."""
        named = self.path.name not in ("", "..")
        return (self.path if named else self.path.resolve()).parent / "cache"

    def stage(self, name: str) -> Path:
        return self.path / name

    def write_record(self, parameters: Mapping[str, Any]) -> None:
        """`parameters`: name -> {"value", "origin"}."""
        record = {"parameters": parameters, "version": __version__, "machine": _machine(), "command": command()}
        write_atomically(self.record_path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def record(self) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = json.loads(self.record_path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UsageError(
                f"{self.record_path} is not a record of a run: {error}",
                remedy="delete it: `run` writes it anew",
            ) from error
        return loaded

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process off this run folder.

        Raises:
            UsageError: another process holds it; the message says which.
        """
        with self._lock_file() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"{self.path} is in use by {self.holder() or 'another process'}",
                    remedy="wait until it ends, or choose another folder with --run-dir",
                ) from error
            file.truncate(0)
            file.write(json.dumps(this_process()))
            file.flush()
            yield

    def _lock_file(self) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return (self.path / LOCK).open("a+")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UsageError(
                f"{self.path} cannot be the folder of a run: {error.strerror}",
                remedy="choose another folder with --run-dir",
            ) from error

    def holder(self) -> str | None:
        """Who works on this run now, in words, or None."""
        try:
            with (self.path / LOCK).open("r") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return in_words(file.read())
        except FileNotFoundError:
            return None
        return None


def _machine() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
