"""How many rows a peer needs for as many samples as we make, and which. Standard library only."""

from collections.abc import Iterator
from itertools import count, islice
from math import ceil
from typing import Any

Record = dict[str, Any]


def skill_rows(asked: Record, kind: str, *, samples_per_row: float) -> list[Record]:
    """Rows for the skill leaves of a kind, freeform or grounded: a task, a worked example, and which time this is."""
    return [
        {
            "task": leaf["task_description"],
            "example_context": example["context"] or "",
            "example_question": example["pairs"][0]["question"],
            "example_answer": example["pairs"][0]["answer"],
            "batch": str(batch),
        }
        for leaf in asked["leaves"]
        if leaf["kind"] == kind
        for batch, example in islice(_examples_in_turn(leaf), _num_rows(leaf, asked, samples_per_row))
    ]


def knowledge_rows(asked: Record, *, samples_per_row: float) -> list[Record]:
    """Rows for the knowledge leaves: a chunk, a worked example on another text, and which time this is."""
    return [
        {
            "document": chunk["text"],
            "document_outline": leaf["document_outline"],
            "domain": leaf["domain"],
            "icl_document": example["context"],
            **{f"icl_query_{number}": pair["question"] for number, pair in enumerate(example["pairs"], start=1)},
            "batch": str(batch),
        }
        for leaf in asked["leaves"]
        if leaf["kind"] == "knowledge"
        for batch, chunk, example in islice(
            _chunks_in_turn(leaf, asked["chunks"]), _num_rows(leaf, asked, samples_per_row)
        )
    ]


def _num_rows(leaf: Record, asked: Record, samples_per_row: float) -> int:
    samples: int = len(leaf["seed_examples"]) * asked["samples_per_example"]
    return ceil(samples / samples_per_row)


def _examples_in_turn(leaf: Record) -> Iterator[tuple[int, Record]]:
    for batch in count():
        for example in leaf["seed_examples"]:
            yield batch, example


def _chunks_in_turn(leaf: Record, chunks: list[Record]) -> Iterator[tuple[int, Record, Record]]:
    own = [chunk for chunk in chunks if chunk["leaf"] == leaf["path"]]
    for batch in count():
        for number, chunk in enumerate(own):
            yield batch, chunk, leaf["seed_examples"][(batch + number) % len(leaf["seed_examples"])]
