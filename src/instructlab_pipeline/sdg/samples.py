"""The records that other stages read: samples, evaluation items, and what was rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.sdg.leaf_run import LeafRun
from instructlab_pipeline.sdg.leaves import FREEFORM, GROUNDED
from instructlab_pipeline.sdg.rows import Rejected, Row


@dataclass(frozen=True, kw_only=True)
class Scribe:
    """Writes the records of one leaf. `models` by role; `taxonomy_commit`: the leaf as it was there."""

    run: LeafRun
    models: Mapping[str, str]
    taxonomy_commit: str

    def samples(self) -> list[dict[str, Any]]:
        """By seed example, then by id."""
        records = [self._sample(row) for row in self.run.selection.training]
        return sorted(records, key=lambda record: (record["seed_example"], record["id"]))

    def evaluation(self) -> list[dict[str, Any]]:
        records = [self._evaluation_item(row) for row in self.run.selection.evaluation]
        return sorted(records, key=lambda record: record["id"])

    def rejected(self) -> list[dict[str, Any]]:
        return [self._rejected(rejected) for rejected in self.run.rejected]

    def _sample(self, row: Row) -> dict[str, Any]:
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

    def _evaluation_item(self, row: Row) -> dict[str, Any]:
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

    def _rejected(self, rejected: Rejected) -> dict[str, Any]:
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

    def _source(self, row: Row) -> dict[str, Any]:
        chunk = row.ask.chunk
        return {"chunk": chunk.id if chunk else None, "document": chunk.origin if chunk else None}

    def _lineage(self, row: Row) -> dict[str, Any]:
        """All that `replay.py` needs to walk the row's way again, and what a reader wants to know without it."""
        return {
            "taxonomy_commit": self.taxonomy_commit,
            "leaf_digest": self.run.leaf.digest,
            "flow": self.run.flow.name,
            "flow_digest": self.run.flow.digest,
            "teacher": self.models["teacher"],
            "judge": self.models["judge"],
            "stream": row.ask.stream,
            "form": row.ask.form,
            "batch": row.ask.batch,
            "place": list(row.place),
            "calls": list(row.calls),
        }
