"""Was any question that judges the model among those that it learnt from? Asked of the records really trained on.

A question with a context is the same one only with the same context (a grounded skill asks the same of many texts);
any other one also behind a document. It has leaked where a user turn of a training conversation

    same    ends with it, but for case, punctuation, articles and spaces
    near    ends with it in nearly the same words, with the same numbers and names: by `likeness.py`, or with nine words
            of ten in their order and an answer that shares a word with the reference
    inside  has it somewhere, word for word, and it is at least 13 words long (Brown et al. 2020), or at least 5 and
            stands in the last paragraph: "Answer in one word: ..."

Other wordings of a fact that was trained on are none of these: they are what an evaluation of knowledge consists of.
The items are few, so their shingles are an index in memory, and every training text is compared exactly; a MinHash
would only guess what is known here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import common_subsequence
from instructlab_pipeline.likeness import SHINGLE_WORDS, SIGN, Print, bare, is_near, print_of

SPAN_WORDS = 13
SHORT_SPAN_WORDS = 5  # in the paragraph that asks
ALIKE = 0.9  # share of words in the same order
SLACK = 1.5  # a text with so many times the words of a question is never near to it
HOW = ("same", "near", "inside")  # the plainest first
LEAKS_SHOWN = 20
_FOUND = {"same": "the same as in", "near": "nearly the same as in", "inside": "word for word inside"}

_NOBODY: frozenset[str] = frozenset()

Span = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Leak:
    """An item, how it was found in training (see above), and the training record where it was found first."""

    item: str
    how: str
    record: str


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """How many items and training records were compared, and what was found, by item."""

    checked: int
    records: int
    leaks: tuple[Leak, ...]


def contamination(items: Sequence[Item], records: Iterable[Mapping[str, Any]]) -> Contamination:
    """Compare each item with the user turns of chat records {"messages": [{"role", "content"}...], "id"}."""
    watched = _Watched(items)
    found: dict[str, Leak] = {}
    count = 0
    for count, record in enumerate(records, start=1):
        for item, how in watched.met_in(record):
            known = found.get(item)
            if known is None or HOW.index(how) < HOW.index(known.how):
                found[item] = Leak(item=item, how=how, record=str(record.get("id", count)))
    return Contamination(checked=len(items), records=count, leaks=tuple(found[item] for item in sorted(found)))


def giveaways(items: Sequence[Item]) -> Callable[[Mapping[str, Any]], str | None]:
    """Tells of a chat record which item training on it would give away, if any, of several the first by its id.

    For who makes such records.
    """
    watched = _Watched(items)
    return lambda record: min((item for item, _ in watched.met_in(record)), default=None)


def require_no_leak(found: Contamination) -> None:
    """Raises: SourceError, which names what leaked."""
    if not found.leaks:
        return
    named = [f"{leak.item} ({_FOUND[leak.how]} record {leak.record})" for leak in found.leaks[:LEAKS_SHOWN]]
    more = len(found.leaks) - len(named)
    raise SourceError(
        f"{len(found.leaks)} of {found.checked} evaluation questions were trained on, so that a score on them would "
        f"measure memory: {'; '.join(named)}{f'; and {more} more' if more else ''}",
        remedy="delete the stage dataset of this run and run again: what gives a question away is left out when it is "
        "made",
    )


class _Watched:
    """The items' questions, indexed by text, by shingle and by span, so that each training text is met once."""

    def __init__(self, items: Sequence[Item]) -> None:
        questions = {item.id: item.messages[-1]["content"] for item in items}
        self._alone = {item.id for item in items if item.context is None}
        self._answers = {item.id: set(bare(item.reference).split()) for item in items}
        self._prints = {name: print_of(text) for name, text in questions.items()}
        self._words = {name: own.bare.split() for name, own in self._prints.items()}
        self._by_text: dict[str, set[str]] = defaultdict(set)
        self._by_shingle: dict[tuple[frozenset[str], str], set[str]] = defaultdict(set)  # and what is guarded
        self._spans = _Spans(self._words, SPAN_WORDS)
        self._short_spans = _Spans({name: self._words[name] for name in sorted(self._alone)}, SHORT_SPAN_WORDS)
        for name, own in self._prints.items():
            self._by_text[own.bare].add(name)
            for shingle in own.shingles - {""}:  # a text without words
                self._by_shingle[own.guarded, shingle].add(name)
        self._longest = SLACK * max(map(len, self._words.values()), default=0)  # words

    def met_in(self, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Items and how they were met, in the turns of the user."""
        for turn, answer in _exchanges(record):
            for text, is_whole in _endings(turn, longest=self._longest):
                for names, how in ((self._by_text.get(bare(text), set()), "same"), (self._near(text, answer), "near")):
                    yield from ((item, how) for item in (names if is_whole else names & self._alone))
            yield from ((item, "inside") for item in self._spans.within(turn))
            yield from ((item, "inside") for item in self._short_spans.within(turn.rpartition("\n\n")[2]))

    def _near(self, text: str, answer: str) -> set[str]:
        """Whoever shares `least` of the shingles shares one of the rarest that are looked at here."""
        own = print_of(text)
        least = _least_shared(own)
        sharers = sorted((self._by_shingle.get((own.guarded, each), _NOBODY) for each in own.shingles), key=len)
        candidates = set[str]().union(*sharers[: len(sharers) - least + 1])
        return {name for name in candidates if self._is_near(own, name, answer)}

    def _is_near(self, own: Print, name: str, answer: str) -> bool:
        other = self._prints[name]
        if is_near(own, other):
            return True
        words = own.bare.split()
        most = ALIKE * max(len(words), len(self._words[name]))
        return (
            not self._answers[name].isdisjoint(bare(answer).split())
            and min(len(words), len(self._words[name])) >= most
            and common_subsequence(words, self._words[name]) >= most
        )


class _Spans:
    """Texts of at least `width` words, by all of them, and how long they are by the first; `words` by name."""

    def __init__(self, words: Mapping[str, Sequence[str]], width: int) -> None:
        self._width = width
        self._names: dict[Span, set[str]] = defaultdict(set)
        self._lengths: dict[Span, set[int]] = defaultdict(set)
        for name, own in words.items():
            if len(own) >= width:
                self._names[tuple(own)].add(name)
                self._lengths[tuple(own[:width])].add(len(own))

    def within(self, text: str) -> Iterator[str]:
        """Those that stand in `text` word for word; 12 + 3 does not in 12 + 3 - 4."""
        if not self._names:
            return
        words = tuple(bare(text).split())
        for start in range(len(words) - self._width + 1):
            for length in self._lengths.get(words[start : start + self._width], ()):
                end = start + length
                if not any(word.startswith(SIGN) for word in words[end : end + 1]):
                    yield from self._names.get(words[start:end], ())


def _exchanges(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each turn of the user, and what the assistant answers to it."""
    turns = record["messages"]
    for message, reply in zip_longest(turns, turns[1:]):
        if message["role"] == "user":
            yield message["content"], reply["content"] if reply and reply["role"] == "assistant" else ""


def _least_shared(own: Print) -> int:
    """How many of its shingles a text shares with any that is near to it: a word left out costs 3, one put in 2."""
    moved = int((1 / ALIKE - 1) * (len(own.shingles) + SHINGLE_WORDS - 1) + 1e-9)
    return max(1, len(own.shingles) - (2 * SHINGLE_WORDS - 1) * moved)


def _endings(turn: str, *, longest: float) -> Iterator[tuple[str, bool]]:
    """The turn without its first paragraphs, for each number of them; True where it is whole.

    A question stands at the end, whatever came before it. Endings of more than `longest` words can match nothing.
    """
    paragraphs = turn.split("\n\n")
    for start in reversed(range(len(paragraphs))):
        text = "\n\n".join(paragraphs[start:])
        if len(bare(text).split()) > longest:
            return
        yield text, start == 0
