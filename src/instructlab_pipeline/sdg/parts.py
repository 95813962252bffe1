"""A finished leaf on disk. Every run that asks for the same leaf in the same way takes it from there.

    cache/leaves/<key>/candidates.jsonl  evaluation.jsonl  rejected.jsonl  leaf.json

The folder is renamed into place when it is whole, so that what is there is finished. A run that goes on after a crash,
or in which another leaf has changed, therefore walks through unfinished leaves alone.
"""

import json
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import digest_of, write_atomically, write_jsonl
from instructlab_pipeline.sdg.leaf_run import LeafRun, Tally
from instructlab_pipeline.sdg.samples import Scribe

VERSION = 8  # raise it when the same inputs give other samples: the stage's version, and part of each key here
FILES = ("candidates", "evaluation", "rejected")
ABOUT = "leaf.json"
ONE_FILE = 1 << 60  # bytes: records are found again by their offset
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """`rejected` counts by reason, and `examples` holds one of each. `tally`: what it cost whoever made it."""

    folder: Path
    accepted: int
    evaluation: int
    rejected: Mapping[str, int]
    examples: Mapping[str, Record]
    tally: Tally

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"


class Shelf:
    """The parts of all runs that share a cache. `models` by role."""

    def __init__(self, folder: Path, *, models: Mapping[str, str], threshold: float, random_seed: int) -> None:
        self._folder = folder
        self._models = models
        self._settings = {"models": dict(models), "threshold": threshold, "random_seed": random_seed}

    def get(self, run: LeafRun) -> Part | None:
        """The part that `run` would end with, where it is known; its calls then count as reused."""
        folder = self.place(run)
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            sizes = {name: (folder / f"{name}.jsonl").stat().st_size for name in FILES}
        except (FileNotFoundError, ValueError):
            return None
        if about.pop("sizes") != sizes:  # copied from elsewhere, and not to its end
            return None
        tally = Tally(**about.pop("tally"))
        tally.reused, tally.made = tally.reused + tally.made, 0
        return Part(folder=folder, tally=tally, **about)

    def put(self, run: LeafRun) -> Part:
        """Write down a leaf that is over."""
        place = self.place(run)
        draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        scribe = Scribe(run=run, models=self._models)
        for name in FILES:
            write_jsonl(draft / f"{name}.jsonl", getattr(scribe, name)(), shard_bytes=ONE_FILE)
        examples: dict[str, Record] = {}
        for rejected in run.rejected:
            examples.setdefault(rejected.reason, example_of(rejected.row.fields, rejected.detail))
        about: Record = {
            "accepted": len(run.selection.training),
            "evaluation": len(run.selection.evaluation),
            "rejected": dict(sorted(Counter(rejected.reason for rejected in run.rejected).items())),
            "examples": examples,
        }
        sizes = {name: (draft / f"{name}.jsonl").stat().st_size for name in FILES}
        record = {**about, "sizes": sizes, "tally": asdict(run.tally)}
        write_atomically(draft / ABOUT, json.dumps(record, ensure_ascii=False))
        if self.get(run) is None:
            _move(draft, place)
        shutil.rmtree(draft, ignore_errors=True)
        return Part(folder=place, tally=run.tally, **about)

    def place(self, run: LeafRun) -> Path:
        """Named by the digest of all that decides what a leaf gives."""
        leaf = run.leaf
        asked = {
            "version": VERSION,
            "leaf": [leaf.path, leaf.digest, [[chunk.id, chunk.origin] for chunk in leaf.chunks]],
            "flow": run.flow.digest,
            "demands": [asdict(quota) for quota in run.demands],
            "most_rounds": run.most_rounds,
            **self._settings,
        }
        return self._folder / digest_of(asked)


def example_of(fields: Mapping[str, Any], detail: str) -> Record:
    """What the funnel shows of something that was rejected: the question, as far as it came, and why."""
    return {"question": fields.get("question"), "detail": detail}


def records_with_offsets(path: Path) -> Iterator[tuple[int, Record]]:
    """Each record of a JSONL file, with the byte at which its line begins."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, json.loads(line)
            offset += len(line)


def record_at(path: Path, offset: int) -> Record:
    with path.open("rb") as file:
        file.seek(offset)
        record: Record = json.loads(file.readline())
    return record


def _move(draft: Path, place: Path) -> None:
    """Into its place, where half a part may lie, or another run put the same just now."""
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        draft.rename(place)
