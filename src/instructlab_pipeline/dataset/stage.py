"""The dataset stage: accepted samples in, the training records of both phases out."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, read_jsonl, write_atomically, write_jsonl
from instructlab_pipeline.dataset.card import dataset_card
from instructlab_pipeline.dataset.decontamination import HeldOut, held_out
from instructlab_pipeline.dataset.lengths import Ruler
from instructlab_pipeline.dataset.records import Record, Sample, metadata, phase_1_records, phase_2_records, replayed
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.stage import Context

Measured = list[tuple[Record, int]]  # with its length in tokens


@dataclass(frozen=True, kw_only=True)
class DatasetInputs:
    """`train_replay_ratio`: the share of phase 1's records that phase 2 sees again, 0..1."""

    sdg: Artifact
    model: Artifact
    train_sequence_length: int
    train_replay_ratio: float
    sdg_random_seed: int


def run(inputs: DatasetInputs, context: Context) -> Facts:
    """Write `phase_1.jsonl`, `phase_2.jsonl`, `dropped.jsonl`, `dataset.json` and a card.

    Raises:
        SourceError: nothing is left to train on, or the model's tokenizer or chat template cannot be used.
    """
    dropped = Dropped()
    samples = dropped.without_held_out(
        read_jsonl(inputs.sdg / "samples.jsonl"), held_out(read_jsonl(inputs.sdg / "evaluation.jsonl"))
    )
    phase_1, phase_2 = _phases(inputs, samples, dropped)
    if not phase_2:
        raise SourceError(
            "no sample is left to train on: all are too long or in the evaluation set",
            remedy="raise train_sequence_length or sdg_scale_factor",
        )
    counts = {
        "samples": len(samples),
        "phase_1": _by_part(phase_1),
        "phase_2": _by_part(phase_2),
        "dropped": dropped.counts(),
        "leaves": dict(sorted(Counter(sample["leaf"] for sample in samples).items())),
    }
    write_jsonl(context.folder / "phase_1.jsonl", (record for record, _ in phase_1))
    write_jsonl(context.folder / "phase_2.jsonl", (record for record, _ in phase_2))
    write_jsonl(context.folder / "dropped.jsonl", dropped.records)
    write_atomically(context.folder / "dataset.json", json.dumps(counts, indent=2, ensure_ascii=False) + "\n")
    write_atomically(context.folder / "README.md", dataset_card(counts, made_by=inputs.sdg.facts))
    dropped.tell(context)
    return {"phase_1": len(phase_1), "phase_2": len(phase_2), "dropped": dropped.counts(), "samples": len(samples)}


def _phases(inputs: DatasetInputs, samples: Sequence[Sample], dropped: "Dropped") -> tuple[Measured, Measured]:
    """Phase 1, and phase 2 with its replay at the end: training orders them anew in each epoch."""
    ruler = Ruler(inputs.model / "files")
    phase_1 = dropped.without_long(ruler, phase_1_records(samples), inputs.train_sequence_length)
    phase_2 = dropped.without_long(ruler, phase_2_records(samples), inputs.train_sequence_length)
    replay = replayed([record for record, _ in phase_1], ratio=inputs.train_replay_ratio, seed=inputs.sdg_random_seed)
    return phase_1, [*phase_2, *ruler.measure(replay)]


@dataclass(kw_only=True)
class Dropped:
    """What is left out, and why: nothing vanishes without a line here."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def without_held_out(self, samples: Iterable[Sample], items: HeldOut) -> list[Sample]:
        kept = []
        for sample in samples:
            twin = items.twin_of(sample)
            if twin is None:
                kept.append(sample)
            else:
                self._drop(sample["id"], sample["leaf"], "in_evaluation_set", evaluation_item=twin)
        return kept

    def without_long(self, ruler: Ruler, records: Iterable[Record], most_tokens: int) -> Measured:
        kept = []
        for record, num_tokens in ruler.measure(records):
            if num_tokens <= most_tokens:
                kept.append((record, num_tokens))
            else:
                facts = metadata(record)
                self._drop(facts["sample"], facts["leaf"], "too_long", part=facts["part"], num_tokens=num_tokens)
        return kept

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(record["reason"] for record in self.records).items()))

    def tell(self, context: Context) -> None:
        for reason, count in self.counts().items():
            context.events.point("notice", message=f"{count} records were left out ({reason}): see dropped.jsonl")

    def _drop(self, sample: str, leaf: str, reason: str, **details: Any) -> None:
        self.records.append({"sample": sample, "leaf": leaf, "reason": reason, **details})


def _by_part(measured: Measured) -> dict[str, dict[str, int]]:
    """Records, tokens and the longest record of each part, in the order in which the parts come."""
    parts: dict[str, dict[str, int]] = {}
    for record, num_tokens in measured:
        counts = parts.setdefault(metadata(record)["part"], {"records": 0, "tokens": 0, "longest": 0})
        counts["records"] += 1
        counts["tokens"] += num_tokens
        counts["longest"] = max(counts["longest"], num_tokens)
    return parts
