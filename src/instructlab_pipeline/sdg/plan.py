"""Which calls to make next for a leaf, so that its quotas are met, evenly over chunks, forms and seed examples.

A unit is what can be asked again and again: a form of question about a chunk, or a skill's task. Its batches are
counted through both streams, so that no two calls ask for the same. The evaluation stream plans first in each round.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from instructlab_pipeline.sdg.leaves import Chunk
from instructlab_pipeline.sdg.rows import Ask

Unit = tuple[str, str]  # chunk id ("" for skills) and form


@dataclass(kw_only=True)
class Planner:
    """Deterministic: what it plans depends on what it was told, never on time or chance.

    `weights`: share of each form among the calls.
    """

    chunks: Sequence[Chunk | None]
    weights: Mapping[str, float]
    num_examples: int
    _batches: Counter[Unit] = field(default_factory=Counter)
    _items: Counter[Unit] = field(default_factory=Counter)
    _calls_of_form: Counter[tuple[str, str]] = field(default_factory=Counter)  # by stream and form
    _calls_of_unit: Counter[tuple[str, Unit]] = field(default_factory=Counter)  # by stream and unit
    _turns: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # heaps by stream: (calls, chunk)
    _exhausted: set[Unit] = field(default_factory=set)

    def plan(self, stream: str, needed: Sequence[int], *, counts: Sequence[int]) -> list[Ask]:
        """Calls for `counts[k]` items each, shared among the seed examples i as `needed[i]` says."""
        worth = sum(needed) / max(sum(counts), 1)
        open_needs = [float(need) for need in needed]
        asks = []
        for count in counts:
            ask = self._next(stream, count, open_needs)
            if ask is None:
                break
            open_needs[ask.seed_example] -= count * worth
            asks.append(ask)
        return asks

    def exhaust(self, ask: Ask) -> bool:
        """The call's reply was empty: if it was the unit's last batch, there is no use in asking for another."""
        unit = _unit(ask.chunk, ask.form)
        if ask.batch < self._batches[unit] - 1:
            return False
        self._exhausted.add(unit)
        return True

    def forget(self) -> None:
        """Nothing more will be planned."""
        for counts in (self._batches, self._items, self._calls_of_form, self._calls_of_unit, self._turns):
            counts.clear()
        self._exhausted.clear()

    def _next(self, stream: str, count: int, open_needs: Sequence[float]) -> Ask | None:
        chosen = self._next_unit(stream)
        if chosen is None:
            return None
        chunk, form = chosen
        unit = _unit(chunk, form)
        batch, before = self._batches[unit], self._items[unit]
        self._batches[unit] += 1
        self._items[unit] += count
        self._calls_of_form[stream, form] += 1
        self._calls_of_unit[stream, unit] += 1
        example = self._neediest(open_needs, batch)
        return Ask(stream=stream, chunk=chunk, form=form, batch=batch, seed_example=example, count=count, before=before)

    def _next_unit(self, stream: str) -> tuple[Chunk | None, str] | None:
        """Chunks take turns; within a chunk, forms come by weight, both there and in the leaf (Sainte-Laguë)."""
        turns = self._turns.setdefault(stream, [(0, index) for index in range(len(self.chunks))])
        while turns:
            calls, index = turns[0]
            chunk = self.chunks[index]
            forms = [form for form in self.weights if _unit(chunk, form) not in self._exhausted]
            if forms:
                heapq.heapreplace(turns, (calls + 1, index))
                return chunk, min(forms, key=lambda form: self._burden(stream, chunk, form))
            heapq.heappop(turns)
        return None

    def _burden(self, stream: str, chunk: Chunk | None, form: str) -> float:
        in_leaf = (self._calls_of_form[stream, form] + 0.5) / len(self.chunks)
        in_chunk = self._calls_of_unit[stream, _unit(chunk, form)] + 0.5
        return (in_leaf + in_chunk) / self.weights[form]

    def _neediest(self, open_needs: Sequence[float], batch: int) -> int:
        """The seed example that lacks most; among equals another one for each batch of a unit."""
        turn = [(index - batch) % self.num_examples for index in range(self.num_examples)]
        return max(range(self.num_examples), key=lambda index: (open_needs[index], -turn[index]))


def evenly(items: int, most: int) -> list[int]:
    """`items` in as few parts as can be, none larger than `most`, all as equal as they can be."""
    parts = -(-items // most)
    return [items // parts + (index < items % parts) for index in range(parts)]


def shares(missing: int, accepted: Sequence[int]) -> list[int]:
    """`missing` items dealt out so that all counts end as equal as they can: the lowest are lifted first."""
    poorest_first = sorted(range(len(accepted)), key=lambda index: (accepted[index], index))
    lifted, left, level = 1, missing, min(accepted)
    while lifted < len(accepted) and (accepted[poorest_first[lifted]] - level) * lifted <= left:
        left -= (accepted[poorest_first[lifted]] - level) * lifted
        level = accepted[poorest_first[lifted]]
        lifted += 1
    each, rest = divmod(left, lifted)
    needed = [0] * len(accepted)
    for place, index in enumerate(sorted(poorest_first[:lifted])):
        needed[index] = level - accepted[index] + each + (place < rest)
    return needed


def scattered(chunks: Sequence[Chunk], *, seed: int) -> list[Chunk]:
    """Chunks in an order that is even over the documents, and stays when others are added or taken away."""
    return sorted(chunks, key=lambda chunk: sha256(f"{seed} {chunk.id}".encode()).digest())


def _unit(chunk: Chunk | None, form: str) -> Unit:
    return (chunk.id if chunk else "", form)
