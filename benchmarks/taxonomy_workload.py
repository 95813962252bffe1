"""A made-up taxonomy: leaves of about 3.3 kB in the three ways in which they are written."""

import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TEXT = (
    "the quick brown fox jumps over lazy dogs while seven moons orbit around a large cold planet with rings and its "
    "slow river carries old stones to harbour towns where bridges of iron stand since eighteen ninety"
)
WORDS = TEXT.split()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NUM_EXAMPLES = {"knowledge": 5, "compositional_skills": 7}


def write(folder: Path, num_leaves: int) -> list[Path]:
    """The files: two of three by hand with block scalars, one by a program; half knowledge, half skills."""
    files = []
    for number in range(num_leaves):
        kind = list(NUM_EXAMPLES)[number % 2]
        leaf = _leaf(kind, random.Random(number))
        text = yaml.safe_dump(leaf, sort_keys=False) if number % 3 == 2 else "".join(_by_hand(leaf, 0))
        files.append(folder / kind / f"group_{number // 100}" / f"leaf_{number % 100}" / "qna.yaml")
        files[-1].parent.mkdir(parents=True)
        files[-1].write_text(text)
    return files


def _leaf(kind: str, draw: random.Random) -> dict[str, Any]:
    def words(count: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(count)).capitalize()

    def pair() -> dict[str, str]:
        return {"question": f"{words(10)}?", "answer": f"{words(draw.choice([3, 20]))}."}

    examples = []
    for _ in range(NUM_EXAMPLES[kind]):
        context = {"context": f"{words(35)}.\n"}
        examples.append(
            {**context, **({"questions_and_answers": [pair() for _ in range(3)]} if kind == "knowledge" else pair())}
        )
    head: dict[str, Any] = {"version": 3, "created_by": "someone"}
    if kind == "knowledge":
        document = {"repo": "https://host/documents", "commit": COMMIT, "patterns": ["*.md"]}
        return head | {
            "domain": words(2),
            "document_outline": words(8),
            "document": document,
            "seed_examples": examples,
        }
    return head | {"task_description": words(20), "seed_examples": examples}


def _by_hand(value: Any, depth: int) -> Iterator[str]:
    """As people write it: lists stepped in, longer texts as blocks."""
    gap = "  " * depth
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{gap}{key}:\n"
            yield from _by_hand(item, depth + 1)
        elif isinstance(item, list):
            yield f"{gap}{key}:\n"
            for entry in item:
                lines = "".join(_by_hand(entry, depth + 2)) if isinstance(entry, dict) else f"{gap}    '{entry}'\n"
                yield f"{gap}  - {lines.lstrip()}"
        elif isinstance(item, str) and len(item) > 40:
            yield f"{gap}{key}: |\n" + textwrap.indent(textwrap.fill(item, 100), gap + "  ") + "\n"
        else:
            yield f"{gap}{key}: {item}\n"
