"""From the files of a taxonomy to its leaves, all faults of all files together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from instructlab_pipeline.taxonomy.faults import Fault
from instructlab_pipeline.taxonomy.qna import FILE_NAME, KINDS, Qna, read
from instructlab_pipeline.taxonomy.shapes import KNOWLEDGE

GROUNDED = "grounded"
FREEFORM = "freeform"
OUTSIDE = "outside-folders"  # the code of a fault


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One `qna.yaml`, by the path of its folder in the taxonomy. `kind` is knowledge, grounded or freeform.

    Each seed example is {context, pairs}; that of a skill has exactly one pair.
    """

    path: str
    kind: str
    version: int
    task_description: str
    domain: str
    document_outline: str
    seed_examples: tuple[dict[str, Any], ...]
    qna: Qna

    def content(self) -> dict[str, Any]:
        """What its writer says, as far as samples are made from it."""
        return {
            "task_description": self.task_description,
            "domain": self.domain,
            "document_outline": self.document_outline,
            "seed_examples": list(self.seed_examples),
        }


def read_leaves(contents: Iterable[tuple[str, bytes]]) -> tuple[list[Leaf], list[Fault]]:
    """The leaves by path, and the faults of all files; `contents` are paths in the taxonomy, and their bytes."""
    leaves: list[Leaf] = []
    faults: list[Fault] = []
    for path, data in contents:
        folder = folder_of(path)
        qna = read(path, data, folders=folder.split("/"))
        faults += qna.faults
        if qna.data:
            leaves.append(_leaf(folder, qna))
    leaves.sort(key=lambda leaf: leaf.path)
    return leaves, [*faults, *colliding((leaf.path, leaf.qna.path) for leaf in leaves)]


def is_leaf_file(path: str) -> bool:
    """A `qna.yaml` below one of the taxonomy's folders, in a folder of its own."""
    parts = path.split("/")
    return len(parts) > 2 and parts[0] in KINDS and parts[-1] == FILE_NAME


def folder_of(path: str) -> str:
    """A dot for a file that lies in none, as paths have it."""
    return path.rpartition("/")[0] or "."


def misplaced(paths: Iterable[str]) -> Iterator[Fault]:
    """Files that look as if they were meant to be leaves."""
    for path in sorted(paths):
        parts = path.split("/")
        if parts[-1] == FILE_NAME and not is_leaf_file(path):
            message = f"the file is left out: leaves lie below {', '.join(KINDS)}"
            yield Fault(path=path, line=1, column=1, message=message, code=OUTSIDE)
        elif parts[0] in KINDS and parts[-1] != FILE_NAME and path.lower().endswith((".yaml", ".yml")):
            message = f"the file is left out: a leaf's file is named {FILE_NAME}"
            yield Fault(path=path, line=1, column=1, message=message, code="file-name")


def not_followed(paths: Iterable[str]) -> Iterator[Fault]:
    """Links and submodules where folders of leaves could be; `paths` are all of a taxonomy's."""
    for path in sorted(paths):
        place = PurePosixPath(path)
        if place.parts[0] in KINDS and not place.suffix:
            message = "what lies behind a link, or in another repository, is left out; put the leaves themselves here"
            yield Fault(path=path, line=1, column=1, message=message, code="not-followed")


def colliding(leaves: Iterable[tuple[str, str]]) -> Iterator[Fault]:
    """Leaves that InstructLab itself would take for one, because it joins the parts of a path by underscores; and those
    that a clone on macOS or Windows does.

    `leaves` are the path of each, in order, and its file's in messages.
    """
    joined: dict[str, str] = {}
    folded: dict[str, str] = {}
    for leaf, shown in leaves:
        if (same := joined.setdefault(leaf.replace("/", "_"), leaf)) != leaf:
            message = f"InstructLab gives this leaf the same name as {same}"
            yield Fault(path=shown, line=1, column=1, message=message, code="colliding-name")
        if (same := folded.setdefault(normalize("NFC", leaf).casefold(), leaf)) != leaf:
            message = f"where upper case or the way of an accent tells no names apart, this is one with {same}"
            yield Fault(path=shown, line=1, column=1, message=message, code="colliding-name")


def _leaf(path: str, qna: Qna) -> Leaf:
    knowledge = qna.kind == KNOWLEDGE
    return Leaf(
        path=path,
        kind=KNOWLEDGE if knowledge else _skill_kind(qna.data["seed_examples"]),
        version=qna.version,
        task_description=qna.data.get("task_description", "").strip(),
        domain=qna.data.get("domain", "").strip(),
        document_outline=qna.data.get("document_outline", "").strip(),
        seed_examples=tuple(_knowledge_examples(qna.data) if knowledge else _skill_examples(qna.data)),
        qna=qna,
    )


def _skill_kind(examples: Sequence[Mapping[str, Any]]) -> str:
    return GROUNDED if all("context" in example for example in examples) else FREEFORM


def _knowledge_examples(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for example in data["seed_examples"]:
        yield {
            "context": example["context"].strip(),
            "pairs": [_pair(pair) for pair in example["questions_and_answers"]],
        }


def _skill_examples(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Where only some examples have a context, the leaf is freeform and each context the head of its question."""
    grounded = _skill_kind(data["seed_examples"]) == GROUNDED
    for example in data["seed_examples"]:
        pair, context = _pair(example), example.get("context")
        if context is not None and not grounded:
            pair["question"] = f"{context.strip()}\n\n{pair['question']}"
        yield {"context": context.strip() if grounded else None, "pairs": [pair]}


def _pair(item: Mapping[str, Any]) -> dict[str, str]:
    """Block scalars end with a newline that nobody means."""
    return {"question": item["question"].strip(), "answer": item["answer"].strip()}
