"""From samples to training records, in the form that InstructLab's trainer, TRL and Axolotl read. Pure.

Phase 1 teaches knowledge with its document at hand, and all but the system turn is learned (`unmask`). Phase 2 teaches
the skills, the same knowledge without the document, and replays some of phase 1 so that it is not forgotten (LAB, arXiv
2403.01081).
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from instructlab_pipeline.conversation import Messages, answered

KNOWLEDGE, GROUNDED = "knowledge", "grounded"
Sample = Mapping[str, Any]
Record = dict[str, Any]


def phase_1_records(samples: Iterable[Sample]) -> Iterator[Record]:
    """Each question about knowledge, asked with its document."""
    return (_with_document(sample) for sample in samples if sample["kind"] == KNOWLEDGE)


def phase_2_records(samples: Iterable[Sample]) -> Iterator[Record]:
    """Each question as a user will ask it: knowledge from memory, a skill with the context that it needs."""
    return map(_as_asked, samples)


def replayed(phase_1: Iterable[Record], count: int, *, ratio: float, seed: int) -> Iterator[Record]:
    """A share of the `count` records of phase 1 for phase 2, without repetition, in phase 1's order."""
    chosen = bytearray(count)
    for index in random.Random(seed).sample(range(count), round(ratio * count)):
        chosen[index] = 1
    return map(_replay, compress(phase_1, chosen))


def metadata(record: Record) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(record["metadata"])
    return loaded


def _with_document(sample: Sample) -> Record:
    chat = answered(sample["question"], sample["answer"], context=sample["context"])
    return _record(sample, chat, part="knowledge_with_document", unmask=True)


def _as_asked(sample: Sample) -> Record:
    if sample["kind"] == KNOWLEDGE:
        return _record(sample, answered(sample["question"], sample["answer"]), part="knowledge", unmask=False)
    chat = answered(sample["question"], sample["answer"], context=sample["context"])
    return _record(sample, chat, part="skill", unmask=False)


def _record(sample: Sample, messages: Messages, *, part: str, unmask: bool) -> Record:
    facts = {
        "sample": sample["id"],
        "leaf": sample["leaf"],
        "part": part,
        "document": sample["document"],
        "quality": sample["quality"],
    }
    return {
        "messages": messages,
        "metadata": json.dumps(facts, ensure_ascii=False),
        "id": _id(sample["id"], part),
        "unmask": unmask,
    }


def _replay(record: Record) -> Record:
    facts = {**metadata(record), "part": "replay"}
    return {**record, "metadata": json.dumps(facts, ensure_ascii=False), "id": _id(facts["sample"], "replay")}


def _id(sample: str, part: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"instructlab-pipeline:{sample}:{part}"))
