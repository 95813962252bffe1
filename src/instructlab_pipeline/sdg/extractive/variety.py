"""Orders and choices that look random and are the same every time, and a measure of how alike two sentences are."""

import hashlib
import random
import re
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")

TOO_ALIKE = 0.75  # share of common words; filters that come later call sentences duplicates from about 0.8


def shuffled(items: Iterable[Item], *, seed: str) -> list[Item]:
    order = list(items)
    generator = random.Random(hashlib.sha256(seed.encode()).digest())
    generator.shuffle(order)
    return order


def varied(sentences: Iterable[str], *, count: int, seed: str) -> tuple[str, ...]:
    """Up to `count` of the sentences, no two of them too alike."""
    chosen: list[str] = []
    words_of_chosen: list[frozenset[str]] = []
    for sentence in shuffled(sentences, seed=seed):
        words = words_of(sentence)
        if all(likeness(words, other) < TOO_ALIKE for other in words_of_chosen):
            chosen.append(sentence)
            words_of_chosen.append(words)
        if len(chosen) == count:
            break
    return tuple(chosen)


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard: the share of all words that both have."""
    return len(one & other) / len(one | other)
