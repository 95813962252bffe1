"""From a leaf's finished rows, in canonical order, to its evaluation items, its samples, and the rest with reasons."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from instructlab_pipeline.sdg.duplicates import Kept, alike
from instructlab_pipeline.sdg.leaves import GROUNDED
from instructlab_pipeline.sdg.rows import EVALUATION, Rejected, Row


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How many items a leaf is to end with."""

    training: int
    evaluation: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """`surplus`: good, but more than the quota; the next ones to take are the first."""

    evaluation: Sequence[Row] = ()
    training: Sequence[Row] = ()
    surplus: Sequence[Row] = ()
    rejected: Sequence[Rejected] = ()


def select(rows: Iterable[Row], quota: Quota, *, kind: str) -> Selection:
    """Evaluation items first; what is like one of them, or like an earlier row, is no sample; surplus goes evenly.

    Rows that were made for the evaluation and are not needed there come last among the samples' candidates.
    """
    ordered = sorted(rows, key=lambda row: row.place)
    sieve = _Sieve(ordered, kind)
    asked = sieve.distinct([row for row in ordered if row.ask.stream == EVALUATION])
    held_out, unneeded = spread(asked, quota.evaluation)
    others = [row for row in ordered if row.ask.stream != EVALUATION]
    candidates = sieve.apart_from(held_out, [*others, *unneeded])
    training, surplus = spread(sieve.distinct(candidates), quota.training)
    return Selection(evaluation=held_out, training=training, surplus=surplus, rejected=sieve.rejected)


def spread(rows: Sequence[Row], quota: int) -> tuple[list[Row], list[Row]]:
    """`quota` rows and the rest: evenly over seed examples first, then over chunks, then in order.

    The rest goes on as the chosen end: whoever takes more of it keeps the balance.
    """
    turns = list(_taking_turns(rows))
    return turns[:quota], turns[quota:]


def question_text(row: Row, kind: str) -> str:
    """What makes a question the same one: a grounded question is about its context."""
    question = row.fields["question"]
    return f"{row.fields['context']}\n{question}" if kind == GROUNDED else question


def _taking_turns(rows: Sequence[Row]) -> Iterable[Row]:
    """All rows: the seed example that gave least so far comes next, and of its chunks the one that gave least."""
    groups: dict[int, dict[str, deque[Row]]] = defaultdict(lambda: defaultdict(deque))
    for row in rows:
        groups[row.ask.seed_example][row.ask.chunk.id if row.ask.chunk else ""].append(row)
    taken_by_chunk: Counter[str] = Counter()
    examples = [(0, example) for example in sorted(groups)]
    turns = {example: [(0, chunk) for chunk in sorted(chunks)] for example, chunks in groups.items()}
    while examples:
        taken, example = examples[0]
        chunk = _least_taken(turns[example], taken_by_chunk)
        taken_by_chunk[chunk] += 1
        waiting = groups[example][chunk]
        yield waiting.popleft()
        if waiting:
            heapq.heapreplace(turns[example], (taken_by_chunk[chunk], chunk))
        else:
            heapq.heappop(turns[example])
        if turns[example]:
            heapq.heapreplace(examples, (taken + 1, example))
        else:
            heapq.heappop(examples)


def _least_taken(turns: list[tuple[int, str]], taken: Counter[str]) -> str:
    """The chunk on top of a heap, once its count is up to date: other seed examples take from the same chunks."""
    while turns[0][0] < taken[turns[0][1]]:
        heapq.heapreplace(turns, (taken[turns[0][1]], turns[0][1]))
    return turns[0][1]


class _Sieve:
    """Rows in order, compared with each other; what is like a row that was kept joins `rejected`."""

    def __init__(self, ordered: Sequence[Row], kind: str) -> None:
        self.rejected: list[Rejected] = []
        self._texts = [question_text(row, kind) for row in ordered]
        self._alike = alike(self._texts)
        self._number = {row.place: number for number, row in enumerate(ordered)}

    def distinct(self, rows: Iterable[Row]) -> list[Row]:
        """Rows that are like none before them."""
        kept = Kept(alike=self._alike)
        passing = []
        for row in rows:
            if not self._is_twin(row, kept, "duplicate", "like an earlier one"):
                kept.add(self._number[row.place])
                passing.append(row)
        return passing

    def apart_from(self, held_out: Iterable[Row], rows: Iterable[Row]) -> list[Row]:
        """Rows that are like none of those held out."""
        kept = Kept(alike=self._alike)
        for row in held_out:
            kept.add(self._number[row.place])
        return [row for row in rows if not self._is_twin(row, kept, "in_evaluation_set", "it would give away")]

    def _is_twin(self, row: Row, kept: Kept, reason: str, why: str) -> bool:
        twin = kept.twin_of(self._number[row.place])
        if twin is not None:
            self.rejected.append(Rejected(row=row, reason=reason, detail=f"{why}: {self._texts[twin]}"))
        return twin is not None
