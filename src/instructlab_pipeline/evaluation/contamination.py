"""Was any question that judges the model among those that it learnt from? Asked of the records really trained on.

A question with a context is the same one only with the same context (a grounded skill asks the same of many texts);
any other one also behind a document. It has leaked where a user turn of a training conversation

    same    ends with it, but for case, punctuation, articles and spaces
    near    ends with it in nearly the same words (`likeness.py`), where its numbers and names are the same
    inside  has it somewhere, word for word, and it is at least 13 words long (Brown et al. 2020)

Other wordings of a fact that was trained on are none of these: they are what an evaluation of knowledge consists of.
The items are few, so their shingles are an index in memory, and every training text is compared exactly; a MinHash
would only guess what is known here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.likeness import NEAR, bare, is_near, print_of

SPAN_WORDS = 13
SLACK = 1.5  # a text with so many times the words of a question is never near to it
HOW = ("same", "near", "inside")  # the plainest first

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
    """Tells of a chat record which of the items training on it would give away, if any: for who makes such records."""
    watched = _Watched(items)
    return lambda record: next((item for item, _ in watched.met_in(record)), None)


class _Watched:
    """The items' questions, indexed by text, by shingle and by span, so that each training text is met once."""

    def __init__(self, items: Sequence[Item]) -> None:
        questions = {item.id: item.messages[-1]["content"] for item in items}
        self._alone = {item.id for item in items if item.context is None}
        self._prints = {name: print_of(text) for name, text in questions.items()}
        self._words = {name: own.bare.split() for name, own in self._prints.items()}
        self._by_text: dict[str, set[str]] = defaultdict(set)
        self._by_shingle: dict[str, set[str]] = defaultdict(set)
        self._by_span: dict[Span, set[str]] = defaultdict(set)
        for name, own in self._prints.items():
            self._by_text[own.bare].add(name)
            for shingle in own.shingles:
                self._by_shingle[shingle].add(name)
            if len(self._words[name]) >= SPAN_WORDS:
                self._by_span[tuple(self._words[name][:SPAN_WORDS])].add(name)
        self._longest = SLACK * max(map(len, self._words.values()), default=0)  # words

    def met_in(self, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Items and how they were met, in the turns of the user."""
        for turn in (message["content"] for message in record["messages"] if message["role"] == "user"):
            for text, is_whole in _endings(turn, longest=self._longest):
                for names, how in ((self._by_text.get(bare(text), set()), "same"), (self._near(text), "near")):
                    yield from ((item, how) for item in (names if is_whole else names & self._alone))
            yield from ((item, "inside") for item in self._inside(turn))

    def _near(self, text: str) -> set[str]:
        own = print_of(text)
        shared = Counter(name for shingle in own.shingles for name in self._by_shingle.get(shingle, ()))
        return {
            name
            for name, count in shared.items()
            if count >= NEAR * len(own.shingles) and is_near(own, self._prints[name])
        }

    def _inside(self, turn: str) -> Iterator[str]:
        if not self._by_span:
            return
        words = bare(turn).split()
        for start in range(len(words) - SPAN_WORDS + 1):
            for name in self._by_span.get(tuple(words[start : start + SPAN_WORDS]), ()):
                if words[start : start + len(self._words[name])] == self._words[name]:
                    yield name


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
