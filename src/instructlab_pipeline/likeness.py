"""When two texts are the same text: the one place, so that generation, the dataset and the evaluation agree.

Exact: equal but for case, punctuation, articles and spaces. Near: three-word shingles with a Jaccard similarity of 0.9
or more, and the same numbers and names. Wordings of one fact share half of their words, and questions may differ in a
single word or number: 0.9 on shingles leaves both alone and still finds a text that was only touched up.

Signs that make another question are no punctuation: 12 + 3 is not 12 - 3, 3.5 not 35, -5 not 5, and C# not C.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

NEAR = 0.9
SHINGLE_WORDS = 3
SIGN = "0sign"  # begins a word that stands for a sign; no word of a text begins so
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")  # noqa: RUF001 - people type both apostrophes
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_ALIKE = str.maketrans("−–×÷", "--*/")  # noqa: RUF001 - as people and programs write them
_SIGN = re.compile(
    r"[-+*/^=<>](?:(?<=[\d)].)|(?<=[\d)] .))(?= ?[-+]?[\d(])"  # between numbers: 12-3, 2 * (3 + 4)
    r"|[+*/^=<>](?:(?<=\b\w.)|(?<=\b\w .)|(?<=[\d)].)|(?<=[\d)] .))(?= ?[-+]?(?:[\d(]|\w\b))"  # or letters: x+3
    r"|-(?:(?<=\b\w .)|(?<=[\d)] .))(?= (?:[\d(]|\w\b))"  # x - y; a hyphen stands without spaces
    r"|-(?<![^\s(].)(?=\d)"  # before a number: -5
    r"|[+#](?<=\w.)(?!\w)"  # behind a word: C++, C#
    r"|\.(?<=\d.)(?=\d)"  # in a number: 3.5
    r"|[%°€£¥]"
)


@dataclass(frozen=True, kw_only=True)
class Print:
    """What two texts are compared by."""

    bare: str
    shingles: frozenset[str]
    guarded: frozenset[str]


def is_near(one: Print, other: Print) -> bool:
    if one.guarded != other.guarded:
        return False
    shared = len(one.shingles & other.shingles)
    return shared >= NEAR * (len(one.shingles) + len(other.shingles) - shared)


def bare(text: str) -> str:
    """What is alike but for case, punctuation, articles and spaces has the same."""
    lower = _signed(text).lower()
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub("", lower)).split() or lower.split())


@lru_cache(maxsize=1024)  # candidates come in groups
def print_of(text: str) -> Print:
    spelled = _WORD.findall(_signed(text))
    words = [word.lower() for word in spelled]
    width = min(SHINGLE_WORDS, len(words))
    shingles = frozenset(" ".join(words[start : start + width]) for start in range(len(words) - width + 1))
    return Print(bare=bare(text), shingles=shingles, guarded=frozenset(_guarded(spelled)))


def _signed(text: str) -> str:
    """The text with its signs as words, which like numbers are guarded; accents are part of their letters."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text).translate(_ALIKE)
    return _SIGN.sub(lambda sign: f" {SIGN}{ord(sign[0]):x} ", composed)


def _guarded(spelled: Sequence[str]) -> Iterator[str]:
    """Numbers, and words with a capital that do not begin the text: exchanging one makes another question."""
    for index, word in enumerate(spelled):
        lower = word.lower()
        if not word.isalpha() or (index and word != lower):
            yield lower
