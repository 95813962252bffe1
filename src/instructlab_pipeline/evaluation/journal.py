"""Replies as they come, one line for those that came together: what no later run has to ask again.

One file for each model's digest, shared by runs and by processes at the same time. A reply's key is the digest of
what was asked and how, so a journal is never wrong, only incomplete. A line torn by a crash is passed over.
"""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.events import append_line


@dataclass(frozen=True)
class Journal:
    path: Path

    def replies(self) -> dict[str, Any]:
        """All replies by key; of a question answered twice, the first."""
        found: dict[str, Any] = {}
        if not self.path.exists():
            return found
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                for key, reply in _batch(line).items():
                    found.setdefault(key, reply)
        return found

    def add(self, batch: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            append_line(self.path, dict(batch))


def _batch(line: str) -> dict[str, Any]:
    try:
        batch = json.loads(line)
    except ValueError:
        return {}
    return batch if isinstance(batch, dict) else {}
