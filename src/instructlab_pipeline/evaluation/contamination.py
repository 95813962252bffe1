"""Was any question that judges the model among those that it learnt from? Asked of the records really trained on.

A leak is the same question, after normalising, in a training conversation: with the same context where the question
has one (a grounded skill asks the same of many texts), else after any document that stood before it. A near duplicate
shares most of its word pairs with a training question; other wordings of a fact do so rightly, so it is counted only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import normalise

NEAR = 0.8  # Jaccard index of word pairs

WordPairs = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """`leaks` and `near_duplicates` are the items' ids; `records` is how many training records were read."""

    checked: int
    records: int
    leaks: tuple[str, ...]
    near_duplicates: tuple[str, ...]


def contamination(items: Sequence[Item], records: Iterable[Mapping[str, Any]]) -> Contamination:
    """Compare each item with the user turns of chat records {"messages": [{"role", "content"}...]}."""
    watched = _Watched(items)
    leaks: set[str] = set()
    near: set[str] = set()
    count = 0
    for record in records:
        count += 1
        for text, is_whole in _endings(record, longest=watched.longest):
            leaks |= watched.same(text, is_whole=is_whole)
            near |= watched.close(text, is_whole=is_whole)
    return Contamination(
        checked=len(items),
        records=count,
        leaks=tuple(sorted(leaks)),
        near_duplicates=tuple(sorted(near - leaks)),
    )


class _Watched:
    """The items' normalised questions, indexed by text and by word pair, so that each training text is met once."""

    def __init__(self, items: Sequence[Item]) -> None:
        texts = {item.id: normalise(item.messages[-1]["content"]) for item in items}
        self._alone = {item.id for item in items if item.context is None}
        self._pairs = {name: _word_pairs(text) for name, text in texts.items()}
        self._by_text: dict[str, set[str]] = defaultdict(set)
        self._by_pair: dict[tuple[str, str], set[str]] = defaultdict(set)
        for name, text in texts.items():
            self._by_text[text].add(name)
            for pair in self._pairs[name]:
                self._by_pair[pair].add(name)
        self.longest = max((len(text) for text in texts.values()), default=0) / NEAR

    def same(self, text: str, *, is_whole: bool) -> set[str]:
        return self._met(self._by_text.get(text, set()), is_whole=is_whole)

    def close(self, text: str, *, is_whole: bool) -> set[str]:
        pairs = _word_pairs(text)
        shared = Counter(name for pair in pairs for name in self._by_pair.get(pair, ()))
        near = {name for name, both in shared.items() if both >= NEAR * (len(pairs) + len(self._pairs[name]) - both)}
        return self._met(near, is_whole=is_whole)

    def _met(self, names: set[str], *, is_whole: bool) -> set[str]:
        return names if is_whole else names & self._alone


def _endings(record: Mapping[str, Any], *, longest: float) -> Iterator[tuple[str, bool]]:
    """Each user turn, normalised, without its first paragraphs, for each number of them; True where it is whole.

    A question stands at the end, whatever came before it. Endings longer than `longest` can match nothing.
    """
    turns = (message["content"] for message in record["messages"] if message["role"] == "user")
    for turn in turns:
        paragraphs = turn.split("\n\n")
        text = ""
        for start in reversed(range(len(paragraphs))):
            text = f"{normalise(paragraphs[start])} {text}".strip()
            if len(text) > longest:
                break
            yield text, start == 0


def _word_pairs(text: str) -> WordPairs:
    return frozenset(pairwise(text.split()))
