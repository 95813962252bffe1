"""The dataset card: what the files hold and where it comes from, for people and for the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any

_HEAD = """\
---
configs:
  - config_name: phase_1
    data_files: phase_1*.jsonl
  - config_name: phase_2
    data_files: phase_2*.jsonl
tags:
  - synthetic
  - instructlab
---
# Synthetic training data

Made by instructlab-pipeline from a taxonomy: {samples} samples, written by `{teacher}` and judged by `{judge}`.
"""

_FIELDS = """
## Fields

- `messages`: a chat of one question and its answer. In phase 1 a piece of a document stands before the question.
- `metadata`: JSON text with `sample` (its id in the sdg stage, which knows its scores and teacher calls), `leaf`,
  `part`, `document` (repository, commit, path, character span) and `quality` (0 to 1, the smallest score).
- `id`: stable, and different in each phase.
- `unmask`: true where the question is learned too, false where the answer alone is.

What was left out, and why, is in `dropped.jsonl`.
"""


def dataset_card(counts: Mapping[str, Any], *, made_by: Mapping[str, Any]) -> str:
    """`counts` as in `dataset.json`; `made_by` names the models in the roles of teacher and judge."""
    head = _HEAD.format(samples=counts["samples"], teacher=made_by["teacher"], judge=made_by["judge"])
    return head + _phases(counts) + _leaves(counts["leaves"]) + _FIELDS


def _phases(counts: Mapping[str, Any]) -> str:
    lines = ["", "| file | part | records | tokens | longest |", "|---|---|---:|---:|---:|"]
    for phase in ("phase_1", "phase_2"):
        for part, count in counts[phase].items():
            numbers = f"{count['records']} | {count['tokens']} | {count['longest']}"
            lines.append(f"| `{phase}.jsonl` | {part.replace('_', ' ')} | {numbers} |")
    dropped = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items()) or "none"
    return "\n".join([*lines, "", f"Left out: {dropped}.", ""])


def _leaves(leaves: Mapping[str, int]) -> str:
    lines = ["", "## Leaves", "", "| leaf | samples |", "|---|---:|"]
    lines += [f"| {path} | {count} |" for path, count in leaves.items()]
    return "\n".join([*lines, ""])
