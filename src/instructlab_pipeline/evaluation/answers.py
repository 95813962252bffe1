"""What a model makes of the items: what the journal knows, and the rest from a worker process.

Decoding is greedy. Both models may write equally much: see `answer_budget`.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.evaluation.candidate import Candidate
from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.evaluation.tasks import Task
from instructlab_pipeline.processes import run_worker
from instructlab_pipeline.stage import Context

SMALLEST_BUDGET = 16  # tokens
SMALL_MODEL_BYTES = 64 << 20  # below this a second thread costs more than it brings
MOST_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How answers are made; `batch_size` is the most that are made at once, and no part of an answer's key."""

    max_new_tokens: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Every reply that is known of a model, by its task's key, and how many had to be made now."""

    known: Mapping[str, Any]
    made: int


def answer_budget(references: Iterable[str], folder: Path) -> int:
    """How many tokens an answer may have: twice the longest reference and 8 more, by the tokenizer in `folder`.

    Rounded up to a power of two, so that a reference a little longer does not make every known answer useless. An
    answer that is cut there was too long to be right, and would only have cost time.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    longest = max((len(tokenizer.encode(text, add_special_tokens=False).ids) for text in references), default=0)
    return max(SMALLEST_BUDGET, 1 << (2 * longest + 8 - 1).bit_length())


def replies(candidate: Candidate, tasks: Iterable[Task], settings: Settings, context: Context) -> Replies:
    """The reply to every task; only those that no run before has asked for cost anything.

    Raises:
        WorkerError: the worker failed. What it had finished is kept.
    """
    journal = Journal(context.cache / "answers" / f"{candidate.digest}.jsonl")
    known = journal.replies()
    keyed = {task.key(max_new_tokens=settings.max_new_tokens): task for task in tasks}
    missing = {key: task for key, task in keyed.items() if key not in known}
    if missing:
        _ask(candidate, missing, settings, journal, context)
        known = journal.replies()
    return Replies(known=known, made=len(missing))


def worker_spec(
    candidate: Candidate, missing: Mapping[str, Task], settings: Settings, journal: Journal
) -> dict[str, Any]:
    """What `worker.py` reads."""
    return {
        "model": str(candidate.folder.resolve()),
        "journal": str(journal.path.resolve()),
        "max_new_tokens": settings.max_new_tokens,
        "batch_size": settings.batch_size,
        "tasks": [
            {"key": key, "messages": task.messages, "continuation": task.continuation} for key, task in missing.items()
        ],
    }


def worker_command(spec: Path) -> list[str]:
    return [sys.executable, "-m", "instructlab_pipeline.evaluation.worker", str(spec)]


def _ask(
    candidate: Candidate, missing: Mapping[str, Task], settings: Settings, journal: Journal, context: Context
) -> None:
    spec = context.work / f"answers-of-{candidate.stage}.json"
    write_atomically(spec, json.dumps(worker_spec(candidate, missing, settings, journal)))
    run_worker(
        worker_command(spec),
        log=spec.with_suffix(".log"),
        environment=worker_environment(candidate.folder),
        on_tick=Progress(journal, list(missing), context, name=f"answers of {candidate.stage}"),
        doing=f"answering {len(missing)} questions with the model of stage {candidate.stage}",
    )


class Progress:
    """Tells how many of the wanted replies the journal holds, whenever they are more."""

    def __init__(self, journal: Journal, wanted: Sequence[str], context: Context, *, name: str) -> None:
        self._journal, self._missing, self._context, self._name = journal, set(wanted), context, name
        self._total, self._told, self._read = len(wanted), -1, 0  # replies, replies, bytes

    def __call__(self) -> None:
        keys, self._read = self._journal.keys_since(self._read)
        self._missing -= keys
        done = self._total - len(self._missing)
        if done > self._told:
            self._told = done
            self._context.events.progress(self._name, done, self._total, unit="answers")


def worker_environment(folder: Path) -> dict[str, str]:
    """A fixed number of threads and deterministic kernels, so that sums are added in the same order every time."""
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    threads = 1 if weights < SMALL_MODEL_BYTES else min(MOST_THREADS, len(os.sched_getaffinity(0)))
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
