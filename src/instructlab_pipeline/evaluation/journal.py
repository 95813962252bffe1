"""A model's answers as they come, one line for each batch that was finished: what no later run has to ask again.

One file for each model's digest, shared by runs and by processes at the same time. An answer's key is the digest of
what was asked and how, so a journal is never wrong, only incomplete. A line torn by a crash is passed over.
"""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.conversation import Messages
from instructlab_pipeline.events import append_line

METHOD = 1  # raise it when the same question would be answered in another way


def answer_key(messages: Messages, *, max_new_tokens: int) -> str:
    return digest_of({"method": METHOD, "messages": messages, "max_new_tokens": max_new_tokens})


@dataclass(frozen=True)
class Journal:
    path: Path

    def answers(self) -> dict[str, str]:
        """All answers by key; of a question answered twice, the first."""
        if not self.path.exists():
            return {}
        found: dict[str, str] = {}
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                found = {**_batch(line), **found}
        return found

    def add(self, batch: Mapping[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            append_line(self.path, dict(batch))


def _batch(line: str) -> dict[str, str]:
    try:
        batch = json.loads(line)
    except ValueError:
        return {}
    return batch if isinstance(batch, dict) else {}
