"""The dataset stage: accepted samples in, the training records of both phases out."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, ShardWriter, read_jsonl, write_atomically
from instructlab_pipeline.dataset.card import dataset_card
from instructlab_pipeline.dataset.decontamination import held_out
from instructlab_pipeline.dataset.lengths import Ruler
from instructlab_pipeline.dataset.records import Record, Sample, metadata, phase_1_records, phase_2_records, replayed
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.stage import Context

GivenAway = Callable[[Record], str | None]  # the evaluation's question that a record would teach, if any
Measured = tuple[Record, int]  # with its length in tokens
Parts = dict[str, dict[str, int]]  # by part: records, tokens, and the longest record's; in the order of their coming


@dataclass(frozen=True, kw_only=True)
class DatasetInputs:
    """`train_replay_ratio`: the share of phase 1's records that phase 2 sees again, 0..1."""

    sdg: Artifact
    model: Artifact
    train_sequence_length: int
    train_replay_ratio: float
    sdg_random_seed: int
    eval_questions: tuple[str, ...] | None


def nothing_given_away(_record: Record) -> None:
    """Where no evaluation follows."""


def run(inputs: DatasetInputs, context: Context, *, given_away: GivenAway = nothing_given_away) -> Facts:
    """Write `phase_1.jsonl`, `phase_2.jsonl`, `dropped.jsonl`, `dataset.json` and a card, record by record.

    given_away: the evaluation's own eye, which finds again after training what is not left out here.

    Raises:
        SourceError: nothing is left to train on, or the model's tokenizer or chat template cannot be used.
    """
    with ShardWriter(context.folder / "dropped.jsonl") as writer:
        maker = _Maker(inputs=inputs, folder=context.folder, dropped=writer, given_away=given_away)
        leaves = maker.look_for_held_out()
        phase_1, phase_2 = maker.phase_1(), maker.phase_2()
    if not phase_2:
        raise SourceError(
            "no sample is left to train on: all are too long or in the evaluation set",
            remedy="raise train_sequence_length or sdg_scale_factor, or ask other eval_questions",
        )
    dropped = dict(sorted(maker.reasons.items()))
    counts = {
        "samples": leaves.total(),
        "phase_1": phase_1,
        "phase_2": phase_2,
        "dropped": dropped,
        "leaves": dict(sorted(leaves.items())),
    }
    write_atomically(context.folder / "dataset.json", json.dumps(counts, indent=2, ensure_ascii=False) + "\n")
    write_atomically(context.folder / "README.md", dataset_card(counts, made_by=inputs.sdg.facts))
    for reason, count in dropped.items():
        context.events.point("notice", message=f"{count} records were left out ({reason}): see dropped.jsonl")
    sizes = {"phase_1": _records_in(phase_1), "phase_2": _records_in(phase_2)}
    return {**sizes, "dropped": dropped, "samples": leaves.total()}


@dataclass(kw_only=True)
class _Maker:
    """Streams samples into records. Nothing vanishes without a line in `dropped`; `reasons` counts them."""

    inputs: DatasetInputs
    folder: Path
    dropped: ShardWriter
    given_away: GivenAway
    reasons: Counter[str] = field(default_factory=Counter)
    _held_out: set[str] = field(default_factory=set)  # ids of samples that would give an evaluation item away

    def look_for_held_out(self) -> Counter[str]:
        """The samples of each leaf that may be trained on."""
        items = held_out(read_jsonl(self.inputs.sdg / "evaluation.jsonl"))
        leaves: Counter[str] = Counter()
        for sample in read_jsonl(self.inputs.sdg / "samples.jsonl"):
            twin = items.twin_of(sample)
            if twin is None:
                leaves[sample["leaf"]] += 1
            else:
                self._held_out.add(sample["id"])
                self._drop(sample["id"], sample["leaf"], "in_evaluation_set", evaluation_item=twin)
        return leaves

    def phase_1(self) -> Parts:
        return self._written("phase_1", self._short(self._unasked(phase_1_records(self._samples()))))

    def phase_2(self) -> Parts:
        """With its replay of phase 1, which must be written by now, at the end: training orders records anew."""
        file = self.folder / "phase_1.jsonl"
        again = replayed(
            read_jsonl(file),
            sum(1 for _ in read_jsonl(file)),
            ratio=self.inputs.train_replay_ratio,
            seed=self.inputs.sdg_random_seed,
        )
        own = self._short(self._unasked(phase_2_records(self._samples())))
        return self._written("phase_2", chain(own, self._ruler.measure(again)))

    @cached_property
    def _ruler(self) -> Ruler:
        return Ruler(self.inputs.model / "files")

    def _samples(self) -> Iterator[Sample]:
        samples = read_jsonl(self.inputs.sdg / "samples.jsonl")
        return (sample for sample in samples if sample["id"] not in self._held_out)

    def _unasked(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those in which the evaluation would find none of its questions."""
        for record in records:
            item = self.given_away(record)
            if item is None:
                yield record
            else:
                facts = metadata(record)
                self._drop(
                    facts["sample"], facts["leaf"], "in_evaluation_set", part=facts["part"], evaluation_item=item
                )

    def _short(self, records: Iterable[Record]) -> Iterator[Measured]:
        """Those that training can take whole."""
        for record, num_tokens in self._ruler.measure(records):
            if num_tokens <= self.inputs.train_sequence_length:
                yield record, num_tokens
            else:
                facts = metadata(record)
                self._drop(facts["sample"], facts["leaf"], "too_long", part=facts["part"], num_tokens=num_tokens)

    def _drop(self, sample: str, leaf: str, reason: str, **details: Any) -> None:
        self.reasons[reason] += 1
        self.dropped.write({"sample": sample, "leaf": leaf, "reason": reason, **details})

    def _written(self, phase: str, records: Iterable[Measured]) -> Parts:
        parts: Parts = {}
        with ShardWriter(self.folder / f"{phase}.jsonl") as writer:
            for record, num_tokens in records:
                writer.write(record)
                counts = parts.setdefault(metadata(record)["part"], {"records": 0, "tokens": 0, "longest": 0})
                counts["records"] += 1
                counts["tokens"] += num_tokens
                counts["longest"] = max(counts["longest"], num_tokens)
        return parts


def _records_in(parts: Parts) -> int:
    return sum(counts["records"] for counts in parts.values())
