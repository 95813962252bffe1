"""Which questions are the same question.

Exact: equal but for case, punctuation, articles and spaces. Near: three-word shingles with a Jaccard similarity of 0.9
or more, and the same numbers and names. Wordings of one fact share half of their words and must all stay, and so must
questions that differ in a single word or number; 0.9 on shingles leaves both alone and still finds a text that was only
touched up (docs/decisions/0002-the-sdg-engine.md).

The search is exact and needs no pairwise comparison: two sets that are this similar share one of the first few of their
shingles in any fixed order ("prefix filtering", Bayardo et al. 2007).
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

NEAR = 0.9
SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")  # noqa: RUF001 - people type both apostrophes
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@dataclass(frozen=True, kw_only=True)
class _Print:
    bare: str
    shingles: frozenset[tuple[str, ...]]
    guarded: frozenset[str]


@dataclass(kw_only=True)
class Seen:
    """Texts met so far; `twin_of` finds an equal or nearly equal one among them."""

    _exact: dict[str, str] = field(default_factory=dict)
    _by_shingle: dict[tuple[str, ...], list[tuple[_Print, str]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, text: str) -> None:
        found = _print_of(text)
        self._exact.setdefault(found.bare, text)
        for shingle in _prefix(found):
            self._by_shingle[shingle].append((found, text))

    def twin_of(self, text: str) -> str | None:
        found = _print_of(text)
        if found.bare in self._exact:
            return self._exact[found.bare]
        for shingle in _prefix(found):
            for other, other_text in self._by_shingle.get(shingle, ()):
                if near(found, other):
                    return other_text
        return None


def near(one: _Print, other: _Print) -> bool:
    if one.guarded != other.guarded:
        return False
    shared = len(one.shingles & other.shingles)
    return shared >= NEAR * (len(one.shingles) + len(other.shingles) - shared)


def bare(text: str) -> str:
    """What the evaluation's metrics hold for the same text is the same here too, so that no question slips through."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())).split())


@lru_cache(maxsize=1024)  # a leaf's texts are compared more than once
def _print_of(text: str) -> _Print:
    spelled = _WORD.findall(text)
    words = tuple(word.lower() for word in spelled)
    width = min(SHINGLE_WORDS, len(words))
    shingles = frozenset(words[start : start + width] for start in range(len(words) - width + 1))
    return _Print(bare=bare(text), shingles=shingles, guarded=frozenset(_guarded(spelled)))


def _guarded(spelled: list[str]) -> Iterator[str]:
    """Numbers, and words with a capital that do not begin the text: exchanging one makes another question."""
    for index, word in enumerate(spelled):
        lower = word.lower()
        if not word.isalpha() or (index and word != lower):
            yield lower


def _prefix(found: _Print) -> list[tuple[str, ...]]:
    """The first shingles in a fixed order: as many as could be missing from a twin, and one more."""
    return sorted(found.shingles)[: len(found.shingles) - math.ceil(NEAR * len(found.shingles)) + 1]
