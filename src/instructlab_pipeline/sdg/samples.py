"""The records that a finished leaf leaves behind: samples, evaluation items, and what was rejected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.sdg.leaf_run import LeafRun
from instructlab_pipeline.sdg.leaves import FREEFORM, GROUNDED
from instructlab_pipeline.sdg.rows import Rejected, Row, choices_of

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scribe:
    """Writes the records of one leaf. `models` by role."""

    run: LeafRun
    models: Mapping[str, str]

    def candidates(self) -> Iterator[Record]:
        """Samples, the best choice first: the first ones fill the quota, the others are its surplus."""
        for row in (*self.run.selection.training, *self.run.selection.surplus):
            yield self._sample(row)

    def evaluation(self) -> Iterator[Record]:
        written = self._choice_item if self.run.flow.choices else self._evaluation_item
        return map(written, self.run.selection.evaluation)

    def rejected(self) -> Iterator[Record]:
        return map(self._rejected, self.run.rejected)

    def _sample(self, row: Row) -> Record:
        leaf, chunk = self.run.leaf, row.ask.chunk
        return {
            "id": self._id(row),
            "leaf": leaf.path,
            "kind": leaf.kind,
            "question": row.fields["question"],
            "answer": row.fields["answer"],
            "context": None if leaf.kind == FREEFORM else chunk.text if chunk else row.fields["context"],
            **self._source(row),
            "seed_example": row.ask.seed_example,
            "scores": dict(row.scores),
            "quality": row.quality,
            "lineage": self._lineage(row),
        }

    def _evaluation_item(self, row: Row) -> Record:
        leaf = self.run.leaf
        return {
            "id": self._id(row),
            "leaf": leaf.path,
            "kind": leaf.kind,
            "question": row.fields["question"],
            "reference": row.fields["answer"],
            "context": row.fields["context"] if leaf.kind == GROUNDED else None,
            **self._source(row),
            "seed_example": row.ask.seed_example,
            "scores": dict(row.scores),
            "lineage": self._lineage(row),
        }

    def _choice_item(self, row: Row) -> Record:
        """`key`: which of the choices is right, counted from 0."""
        choices = choices_of(self.run.flow, row)
        key = choices.index(row.fields["answer"])
        return {**self._evaluation_item(row), "kind": "mcq", "choices": choices, "key": key}

    def _rejected(self, rejected: Rejected) -> Record:
        row = rejected.row
        return {
            "leaf": self.run.leaf.path,
            "stream": row.ask.stream,
            "reason": rejected.reason,
            "detail": rejected.detail,
            "question": row.fields.get("question"),
            "answer": row.fields.get("answer"),
            "context": row.fields.get("context"),
            "chunk": row.ask.chunk.id if row.ask.chunk else None,
            "step": self.run.flow.steps[min(row.step, len(self.run.flow.steps) - 1)].name,
            "scores": dict(row.scores),
            "calls": list(row.calls),
        }

    def _id(self, row: Row) -> str:
        return digest_of([self.run.leaf.path, row.calls, row.fields])[:32]

    def _source(self, row: Row) -> Record:
        chunk = row.ask.chunk
        return {"chunk": chunk.id if chunk else None, "document": chunk.origin if chunk else None}

    def _lineage(self, row: Row) -> Record:
        """All that `replay.py` needs to walk the row's way again, and what a reader wants to know without it."""
        return {
            "leaf_digest": self.run.leaf.digest,
            "flow": self.run.flow.name,
            "flow_digest": self.run.flow.digest,
            "teacher": self.models["teacher"],
            "judge": self.models["judge"],
            "stream": row.ask.stream,
            "form": row.ask.form,
            "batch": row.ask.batch,
            "count": row.ask.count,
            "before": row.ask.before,
            "place": list(row.place),
            "calls": list(row.calls),
        }


def left_out(record: Record, *, reason: str, detail: str) -> Record:
    """A finished sample or evaluation item as one that was rejected after all."""
    return {
        "leaf": record["leaf"],
        "stream": record["lineage"]["stream"],
        "reason": reason,
        "detail": detail,
        "question": record["question"],
        "answer": record.get("answer", record.get("reference")),
        "context": record["context"] if record["kind"] == GROUNDED else None,
        "chunk": record["chunk"],
        "step": None,
        "scores": record["scores"],
        "calls": record["lineage"]["calls"],
    }


def question_of(record: Record) -> str:
    """What makes a question the same one: a grounded question is about its context."""
    return f"{record['context']}\n{record['question']}" if record["kind"] == GROUNDED else str(record["question"])
