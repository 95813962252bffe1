"""From a leaf's finished rows, in canonical order, to its evaluation items, its samples, and the rest with reasons."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.sdg.duplicates import Seen
from instructlab_pipeline.sdg.leaves import GROUNDED
from instructlab_pipeline.sdg.rows import EVALUATION, Rejected, Row


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How many items a leaf is to end with."""

    training: int
    evaluation: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    evaluation: Sequence[Row]
    training: Sequence[Row]
    rejected: Sequence[Rejected]


def select(rows: Iterable[Row], quota: Quota, *, kind: str) -> Selection:
    """Evaluation items first; what is like one of them, or like an earlier row, is no sample; surplus goes evenly.

    Rows that were made for the evaluation and are not needed there come last among the samples' candidates.
    """
    ordered = sorted(rows, key=lambda row: row.place)
    rejected: list[Rejected] = []
    held_out, unneeded = spread(
        _distinct([row for row in ordered if row.ask.stream == EVALUATION], kind, rejected), quota.evaluation
    )
    others = [row for row in ordered if row.ask.stream != EVALUATION]
    candidates = _apart_from(held_out, [*others, *unneeded], kind, rejected)
    training, surplus = spread(_distinct(candidates, kind, rejected), quota.training)
    rejected += [Rejected(row=row, reason="surplus", detail="the leaf has all that it needs") for row in surplus]
    return Selection(evaluation=held_out, training=training, rejected=rejected)


def spread(rows: Sequence[Row], quota: int) -> tuple[list[Row], list[Row]]:
    """`quota` rows and the rest: evenly over seed examples first, then over chunks, then in order."""
    groups: dict[int, dict[str, deque[Row]]] = defaultdict(lambda: defaultdict(deque))
    for row in rows:
        groups[row.ask.seed_example][row.ask.chunk.id if row.ask.chunk else ""].append(row)
    taken_by_example: Counter[int] = Counter()
    taken_by_chunk: Counter[str] = Counter()
    chosen: list[Row] = []
    while len(chosen) < quota and groups:
        example = min(groups, key=lambda index: (taken_by_example[index], index))
        chunks = groups[example]
        chunk = min(chunks, key=lambda name: (taken_by_chunk[name], name))
        chosen.append(chunks[chunk].popleft())
        taken_by_example[example] += 1
        taken_by_chunk[chunk] += 1
        _drop_if_empty(chunks, chunk)
        _drop_if_empty(groups, example)
    rest = [row for chunks in groups.values() for queue in chunks.values() for row in queue]
    return chosen, sorted(rest, key=lambda row: row.place)


def question_text(row: Row, kind: str) -> str:
    """What makes a question the same one: a grounded question is about its context."""
    question = row.fields["question"]
    return f"{row.fields['context']}\n{question}" if kind == GROUNDED else question


def _drop_if_empty(mapping: dict[Any, Any], key: Any) -> None:
    if not mapping[key]:
        del mapping[key]


def _distinct(rows: Iterable[Row], kind: str, rejected: list[Rejected]) -> list[Row]:
    seen = Seen()
    kept = []
    for row in rows:
        text = question_text(row, kind)
        twin = seen.twin_of(text)
        if twin is None:
            seen.add(text)
            kept.append(row)
        else:
            rejected.append(Rejected(row=row, reason="duplicate", detail=f"like an earlier one: {twin}"))
    return kept


def _apart_from(held_out: Iterable[Row], rows: Iterable[Row], kind: str, rejected: list[Rejected]) -> list[Row]:
    seen = Seen()
    for row in held_out:
        seen.add(question_text(row, kind))
    kept = []
    for row in rows:
        twin = seen.twin_of(question_text(row, kind))
        if twin is None:
            kept.append(row)
        else:
            rejected.append(Rejected(row=row, reason="in_evaluation_set", detail=f"it would give away: {twin}"))
    return kept
