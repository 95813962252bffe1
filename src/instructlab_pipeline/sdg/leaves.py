"""What the taxonomy stage hands over: leaves, and for knowledge their documents in chunks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from instructlab_pipeline.artifacts import Artifact, read_jsonl
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.sdg.filters import Manner, manner_of

KINDS = KNOWLEDGE, FREEFORM, GROUNDED = "knowledge", "freeform", "grounded"
MULTIPLE_CHOICE = "multiple_choice"  # a flow for knowledge leaves, beside their own


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a document: `start` and `end` are its character span, `id` says where it lies."""

    id: str
    document: Mapping[str, str]
    start: int
    end: int
    text: str

    @property
    def origin(self) -> dict[str, Any]:
        return {**self.document, "start": self.start, "end": self.end}


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One folder of the taxonomy. `digest` speaks for all that matters when samples are made from it."""

    path: str
    kind: str
    task_description: str
    domain: str
    document_outline: str
    seed_examples: Sequence[Mapping[str, Any]]
    digest: str
    chunks: Sequence[Chunk]

    @cached_property
    def manners(self) -> Mapping[str, Manner]:
        """How this leaf's questions, answers and contexts are written, by the name of a row's field."""
        pairs = [pair for example in self.seed_examples for pair in example["pairs"]]
        manners = {name: manner_of([pair[name] for pair in pairs]) for name in ("question", "answer")}
        if self.kind == GROUNDED:
            contexts = [example["context"] for example in self.seed_examples]
            manners["context"] = replace(manner_of(contexts), refuses=True)
        return manners


def read_leaves(taxonomy: Artifact) -> list[Leaf]:
    """The leaves in the order of their paths.

    Raises:
        SourceError: the taxonomy has no leaf, or a knowledge leaf has no text to ask about.
    """
    chunks = _chunks_by_leaf(taxonomy)
    leaves = [_leaf(record, chunks.get(record["path"], ())) for record in read_jsonl(taxonomy / "leaves.jsonl")]
    if not leaves:
        raise SourceError(
            "the taxonomy has no leaf to make samples from", remedy="add a qna.yaml, or check sdg_repo_url"
        )
    for leaf in leaves:
        if leaf.kind == KNOWLEDGE and not leaf.chunks:
            raise SourceError(
                f"{leaf.path}: its documents hold no text", remedy="check `document:` in the leaf's qna.yaml"
            )
    return sorted(leaves, key=lambda leaf: leaf.path)


def _chunks_by_leaf(taxonomy: Artifact) -> Mapping[str, list[Chunk]]:
    chunks: dict[str, list[Chunk]] = defaultdict(list)
    for record in read_jsonl(taxonomy / "chunks.jsonl"):
        chunks[record["leaf"]].append(Chunk(**{name: record[name] for name in Chunk.__dataclass_fields__}))
    return chunks


def _leaf(record: Mapping[str, Any], chunks: Sequence[Chunk]) -> Leaf:
    named = {name: record[name] for name in Leaf.__dataclass_fields__ if name != "chunks"}
    return Leaf(**named, chunks=chunks)
