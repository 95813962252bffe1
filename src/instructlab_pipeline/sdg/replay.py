"""The way back from a sample: its row walks its steps again, on the replies that the journal holds.

The engine's own functions render each prompt, and a call's key is the digest of all that was sent. A prompt whose key
is the one that the sample carries is therefore the very prompt that the teacher saw.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.sdg.calls import Call, Reply
from instructlab_pipeline.sdg.flows import Flow, Step
from instructlab_pipeline.sdg.leaves import Leaf
from instructlab_pipeline.sdg.replies import BadReply, parse
from instructlab_pipeline.sdg.rows import LAST_TRY, Ask, Row, advance, call_of

_SENTENCE = re.compile(r"\S.*?(?:[.!?][\"')\]]*(?=\s|\Z)|(?=\n\s*\n)|\Z)", re.DOTALL)
_WORD = re.compile(r"\w+")
_ANSWER_WEIGHT = 2  # a word of the answer says more about where it stands than one of the question


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One call behind a sample. `call` and `reply` are None where they cannot be told any more.

    `asked_anew`: with another seed, since no reply to the first could be used.
    """

    step: Step
    key: str
    model: str
    call: Call | None
    reply: Reply | None
    asked_anew: bool


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """`start` and `end` are characters of the document."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a sample was made from, beside what it says itself."""

    leaf: Leaf
    flow: Flow
    random_seed: int
    replies: Mapping[str, Reply]


def visits(record: Mapping[str, Any], origin: Origin) -> Iterator[Visit]:
    """Every call behind a sample or an evaluation item, in order."""
    lineage = record["lineage"]
    row: Row | None = _first_row(record, origin.leaf)
    for step, key in zip(origin.flow.steps, lineage["calls"], strict=False):
        asked = _asked(key, row, origin, models=lineage) if row else None
        call, row = asked or (None, None)
        reply = origin.replies.get(key)
        yield Visit(
            step=step, key=key, model=lineage[step.by], call=call, reply=reply, asked_anew=bool(row and row.tries)
        )
        row = _moved_on(row, reply, origin, key=key, place=lineage["place"]) if row and reply else None


def sentence_behind(text: str, *, start: int, question: str, answer: str) -> Sentence | None:
    """The sentence of a piece of a document that shares most words with an answer and its question.

    `start`: where the piece begins in its document.
    """
    asked, answered = _words(question), _words(answer)
    sentences = [
        Sentence(start=start + match.start(), end=start + match.end(), text=match.group())
        for match in _SENTENCE.finditer(text)
    ]

    def likeness(sentence: Sentence) -> int:
        words = _words(sentence.text)
        return _ANSWER_WEIGHT * len(words & answered) + len(words & asked)

    return max(sentences, key=likeness, default=None)


def _first_row(record: Mapping[str, Any], leaf: Leaf) -> Row:
    lineage = record["lineage"]
    ask = Ask(
        stream=lineage["stream"],
        chunk=next((chunk for chunk in leaf.chunks if chunk.id == record["chunk"]), None),
        form=lineage["form"],
        batch=lineage["batch"],
        seed_example=record["seed_example"],
        count=lineage["count"],
        before=lineage["before"],
    )
    return Row(place=tuple(lineage["place"][:2]), ask=ask)


def _asked(key: str, row: Row, origin: Origin, *, models: Mapping[str, str]) -> tuple[Call, Row] | None:
    """The call that has this key, and the row as it made it: with its first seed or with another."""
    for tries in (0, LAST_TRY):
        trying = row._replace(tries=tries)
        call = call_of(origin.flow, origin.leaf, trying, models=models, random_seed=origin.random_seed)
        if call.key == key:
            return call, trying
    return None


def _moved_on(row: Row, reply: Reply, origin: Origin, *, key: str, place: Sequence[int]) -> Row | None:
    """The row after its reply: of the rows that come out of it, the one on the way to `place`."""
    try:
        fields = parse(reply.text, origin.flow.steps[row.step].form.schema, finish=reply.finish)
    except BadReply:
        return None
    outcomes = advance(origin.flow, origin.leaf, row, fields, key=key, threshold=0.0)
    rows = (outcome for outcome in outcomes if isinstance(outcome, Row))
    return next((row for row in rows if list(row.place) == list(place[: len(row.place)])), None)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
