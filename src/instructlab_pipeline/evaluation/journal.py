"""Replies as they come, one line for those that came together: what no later run has to ask again.

One file for each model's digest, shared by runs and by processes at the same time. A reply's key is the digest of
what was asked and how, so a journal is never wrong, only incomplete. A line torn by a crash is passed over.

    {KEY: REPLY, ...}            what came
    {"forgotten": [KEY, ...]}    what is asked again although it came
"""

import fcntl
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.events import append_line

FORGOTTEN = "forgotten"  # no key: those are digests


@dataclass(frozen=True)
class Journal:
    path: Path

    def replies(self) -> dict[str, Any]:
        """All replies by key; of a question answered twice, the first that was not forgotten."""
        found: dict[str, Any] = {}
        if not self.path.exists():
            return found
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                replies = _record(line)
                for key in replies.pop(FORGOTTEN, ()):
                    found.pop(key, None)
                for key, reply in replies.items():
                    found.setdefault(key, reply)
        return found

    def keys_since(self, offset: int) -> tuple[set[str], int]:
        """The keys of the whole lines behind `offset`, and where the next line will begin."""
        if not self.path.exists():
            return set(), offset
        with self.path.open("rb") as file:
            file.seek(offset)
            lines, end, _ = file.read().rpartition(b"\n")
        records = [_record(line) for line in lines.decode(errors="replace").split("\n")]
        return {key for record in records for key in record}, offset + len(lines) + len(end)

    def add(self, replies: Mapping[str, Any]) -> None:
        self._append(dict(replies))

    def forget(self, keys: Iterable[str]) -> None:
        """From here on as if they had never come; what they were stays readable in the file."""
        self._append({FORGOTTEN: sorted(keys)})

    def _append(self, record: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            append_line(self.path, record)


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
