"""What a job leaves in its cache when it is stopped just before its end: finished leaves, and a journal of all calls.

Made up, since a million samples are more than a million calls; a run that goes on from it cannot tell.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import write_jsonl
from instructlab_pipeline.sdg.calls import Reply
from instructlab_pipeline.sdg.journal import encode
from instructlab_pipeline.sdg.leaf_run import LeafRun, start
from instructlab_pipeline.sdg.leaves import read_leaves
from instructlab_pipeline.sdg.parts import ABOUT, FILES, Shelf
from instructlab_pipeline.sdg.stage import SdgInputs, demands_of

CALLS_PER_SAMPLE = 1.25
SURPLUS = 30  # candidates of a leaf beyond its target
REJECTED = 100
Record = dict[str, Any]


def leave_behind(cache: Path, inputs: SdgInputs, *, pattern: Path, model: str) -> int:
    """All leaves but the last, each like the one in `pattern`; says how many calls the journal holds."""
    runs = [
        start(order, demand.leaf, demand.flow, demand.quotas, most_rounds=inputs.sdg_max_attempts, seed=42)
        for order, demand in enumerate(demands_of(read_leaves(inputs.taxonomy), inputs))
    ]
    shelf = Shelf(
        cache / "leaves",
        models={"teacher": model, "judge": model},
        threshold=inputs.sdg_quality_threshold,
        random_seed=inputs.sdg_random_seed,
    )
    records = {name: json.loads((pattern / f"{name}.jsonl").open().readline() or "{}") for name in FILES}
    for run in runs[:-1]:
        _finish(shelf.place(run), run, records)
    calls = round(sum(run.quota.training for run in runs) * CALLS_PER_SAMPLE)
    _fill_journal(cache / "journal", calls)
    return calls


def _finish(folder: Path, run: LeafRun, records: Record) -> None:
    wanted = {"candidates": run.quota.training + SURPLUS, "evaluation": run.quota.evaluation, "rejected": REJECTED}
    for name, count in wanted.items():
        write_jsonl(folder / f"{name}.jsonl", _alike(records[name], run.leaf.path, name, count), shard_bytes=1 << 60)
    about: Record = {
        "accepted": run.quota.training,
        "evaluation": run.quota.evaluation,
        "rejected": {"low_quality": REJECTED},
        "examples": {},
        "sizes": {name: (folder / f"{name}.jsonl").stat().st_size for name in FILES},
        "tally": {"made": 1, "reused": 0, "retries": 0, "tokens_in": 1, "tokens_out": 1},
    }
    (folder / ABOUT).write_text(json.dumps(about))


def _alike(record: Record, leaf: str, name: str, count: int) -> Iterator[Record]:
    for number in range(count):
        digest = sha256(f"{leaf} {name} {number}".encode()).hexdigest()
        words = [digest[at : at + 8] for at in range(0, 64, 8)]
        question = f"Which of the {words[0]} is said to have {words[1]} the {words[2]} before {words[3]} came?"
        yield {**record, "id": digest[:32], "leaf": leaf, "question": question, "answer": " ".join(words[4:])}


def _fill_journal(folder: Path, calls: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    reply = Reply(
        text=json.dumps({"reason": "Nothing to object to.", "faithfulness": 5, "relevance": 5}), finish="stop"
    )
    with (folder / "left-behind.journal").open("wb") as file:
        for number in range(calls):
            file.write(encode(sha256(str(number).encode()).hexdigest(), reply))
