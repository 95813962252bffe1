"""Which calls to make next for a leaf, so that its quotas are met, evenly over chunks, forms and seed examples.

A unit is what can be asked again and again: a form of question about a chunk, or a skill's task. Its batches are
counted through both streams, so that no two calls ask for the same. The evaluation stream plans first in each round.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from instructlab_pipeline.sdg.leaves import Chunk
from instructlab_pipeline.sdg.rows import Ask

SMALLEST_YIELD = 0.2  # a round asks for at most five times what is needed, however poor the rounds before were

Unit = tuple[str, str]  # chunk id ("" for skills) and form


@dataclass(kw_only=True)
class Planner:
    """Deterministic: what it plans depends on what it was told, never on time or chance.

    `weights`: share of each form among the calls. `items_per_call`: what one call leads to when nothing is lost.
    """

    chunks: Sequence[Chunk | None]
    weights: Mapping[str, float]
    num_examples: int
    items_per_call: int
    _batches: Counter[Unit] = field(default_factory=Counter)
    _calls_on_chunk: Counter[tuple[str, str]] = field(default_factory=Counter)  # by stream and chunk id
    _calls_of_form: Counter[tuple[str, str]] = field(default_factory=Counter)  # by stream and form
    _calls_of_unit: Counter[tuple[str, Unit]] = field(default_factory=Counter)  # by stream and unit
    _exhausted: set[Unit] = field(default_factory=set)

    def plan(self, stream: str, needed: Sequence[int], share: float) -> list[Ask]:
        """Calls that should give `needed[i]` more items for each seed example i, when `share` of the items pass.

        A little more is asked for than that, by one standard deviation, so that one round is mostly enough.
        """
        missing, share = sum(needed), max(share, SMALLEST_YIELD)
        calls = math.ceil((missing + math.sqrt(missing * (1 - share))) / (self.items_per_call * share))
        open_needs = [float(need) for need in needed]
        gain = missing / max(calls, 1)
        asks = []
        for _ in range(calls):
            ask = self._next(stream, open_needs)
            if ask is None:
                break
            open_needs[ask.seed_example] -= gain
            asks.append(ask)
        return asks

    def exhaust(self, ask: Ask) -> bool:
        """The call's reply was empty: if it was the unit's last batch, there is no use in asking for another."""
        unit = _unit(ask.chunk, ask.form)
        if ask.batch < self._batches[unit] - 1:
            return False
        self._exhausted.add(unit)
        return True

    def _next(self, stream: str, open_needs: Sequence[float]) -> Ask | None:
        open_units = [
            (chunk, form) for chunk in self.chunks for form in self.weights if _unit(chunk, form) not in self._exhausted
        ]
        if not open_units:
            return None
        chunk, form = min(open_units, key=lambda unit: self._burden(stream, *unit))
        unit = _unit(chunk, form)
        batch = self._batches[unit]
        self._batches[unit] += 1
        self._calls_on_chunk[stream, unit[0]] += 1
        self._calls_of_form[stream, form] += 1
        self._calls_of_unit[stream, unit] += 1
        example = self._neediest(open_needs, batch)
        return Ask(stream=stream, chunk=chunk, form=form, batch=batch, seed_example=example)

    def _burden(self, stream: str, chunk: Chunk | None, form: str) -> tuple[float, float]:
        """Chunks take turns; within a chunk, forms come by weight, both there and in the leaf (Sainte-Laguë)."""
        unit = _unit(chunk, form)
        in_leaf = (self._calls_of_form[stream, form] + 0.5) / len(self.chunks)
        in_chunk = self._calls_of_unit[stream, unit] + 0.5
        return self._calls_on_chunk[stream, unit[0]], (in_leaf + in_chunk) / self.weights[form]

    def _neediest(self, open_needs: Sequence[float], batch: int) -> int:
        """The seed example that lacks most; among equals another one for each batch of a unit."""
        turn = [(index - batch) % self.num_examples for index in range(self.num_examples)]
        return max(range(self.num_examples), key=lambda index: (open_needs[index], -turn[index]))


def scattered(chunks: Sequence[Chunk], *, seed: int) -> list[Chunk]:
    """Chunks in an order that is even over the documents, and stays when others are added or taken away."""
    return sorted(chunks, key=lambda chunk: sha256(f"{seed} {chunk.id}".encode()).digest())


def _unit(chunk: Chunk | None, form: str) -> Unit:
    return (chunk.id if chunk else "", form)
