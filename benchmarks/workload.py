"""The taxonomy that every contender works on: made up, the same in each run, as the taxonomy stage would seal it."""

from pathlib import Path
from random import Random
from typing import Any

from simulator.words import prose, question

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import Artifact, digest_of, write_jsonl

NUM_SKILLS = 20
NUM_KNOWLEDGE = 10
NUM_SEED_EXAMPLES = 5
KINDS = ("freeform", "grounded", "knowledge")  # as many leaves of each
NUM_CHUNKS = 4  # of each knowledge leaf
_CHUNK_CHARACTERS = 2000
_EXAMPLE_CHARACTERS = 240
_DOCUMENT = {"repo": "https://example.org/documents.git", "commit": "c0ffee", "path": "document.md"}

Record = dict[str, Any]


def leaves() -> list[Record]:
    skills = [_skill(number) for number in range(NUM_SKILLS)]
    return skills + [_knowledge(number) for number in range(NUM_KNOWLEDGE)]


def chunks() -> list[Record]:
    """Of every knowledge leaf, in order."""
    knowledge = [leaf["path"] for leaf in leaves() if leaf["kind"] == "knowledge"]
    return [_chunk(path, number) for path in knowledge for number in range(NUM_CHUNKS)]


def seal_taxonomy(folder: Path) -> Artifact:
    folder.mkdir(parents=True)
    write_jsonl(folder / "leaves.jsonl", leaves())
    write_jsonl(folder / "chunks.jsonl", chunks())
    (folder / "taxonomy.json").write_text("{}")
    return artifacts.seal(folder, kind="taxonomy", key="benchmark", inputs={}, facts={"commit": "c0ffee"})


def _skill(number: int) -> Record:
    """Every other one works on a text that comes with it."""
    grounded = number % 2 == 1
    draw = Random(number)
    return _leaf(
        f"compositional_skills/skill_{number:02}",
        kind="grounded" if grounded else "freeform",
        task_description=f"Do what skill {number} asks. {prose(draw, _EXAMPLE_CHARACTERS)}",
        seed_examples=[_example(draw, with_context=grounded, num_pairs=1) for _ in range(NUM_SEED_EXAMPLES)],
    )


def _knowledge(number: int) -> Record:
    draw = Random(1000 + number)
    return _leaf(
        f"knowledge/subject_{number:02}",
        kind="knowledge",
        domain=f"subject {number}",
        document_outline=prose(draw, 80),
        seed_examples=[_example(draw, with_context=True, num_pairs=3) for _ in range(NUM_SEED_EXAMPLES)],
        documents=[_DOCUMENT],
    )


def _leaf(path: str, **own: Any) -> Record:
    empty = {"task_description": "", "domain": "", "document_outline": "", "documents": []}
    record = {"path": path, "version": 3, **empty, **own}
    return {**record, "digest": digest_of(record)}


def _example(draw: Random, *, with_context: bool, num_pairs: int) -> Record:
    return {
        "context": prose(draw, _EXAMPLE_CHARACTERS) if with_context else None,
        "pairs": [{"question": question(draw), "answer": prose(draw, _EXAMPLE_CHARACTERS)} for _ in range(num_pairs)],
    }


def _chunk(leaf: str, number: int) -> Record:
    text = prose(Random(f"{leaf} {number}"), _CHUNK_CHARACTERS)
    start = number * 2 * _CHUNK_CHARACTERS
    return {
        "id": f"{leaf}#document.md:{start}-{start + len(text)}",
        "leaf": leaf,
        "document": _DOCUMENT,
        "start": start,
        "end": start + len(text),
        "num_tokens": len(text) // 4,
        "headings": [],
        "text": text,
    }
