"""Multiple choice out of a document's facts: one question for each fact, and what other facts say as wrong choices."""

import re
from collections.abc import Iterator, Mapping, Sequence

from instructlab_pipeline.sdg.extractive.facts import Fact
from instructlab_pipeline.sdg.extractive.variety import shuffled, words_of
from instructlab_pipeline.sdg.extractive.verdicts import WORDS_OF_NO_WEIGHT
from instructlab_pipeline.sdg.extractive.wordings import FORMS, question, wordings_of

NUM_WRONG = 3
_NUMBER = re.compile(r"\d+(?:,\d{3})*")
Item = Mapping[str, str]


def items_of(facts: Sequence[Fact], *, form: str, seed: str) -> list[Item]:
    """One item for each fact of the form that has enough wrong choices beside it."""
    asked = [fact for fact in facts if fact.relation in FORMS.get(form, ())]
    return [item for fact in shuffled(asked, seed=seed) for item in _items(fact, facts, seed=seed)]


def answers_to(asked: str, facts: Sequence[Fact]) -> frozenset[str]:
    """What the facts answer to a question that is one of their wordings."""
    return frozenset(fact.object for fact in facts if asked in _questions(fact))


def _items(fact: Fact, facts: Sequence[Fact], *, seed: str) -> Iterator[Item]:
    wrong = _wrong_choices(fact, facts, seed=f"{seed} {fact}")
    if len(wrong) == NUM_WRONG:
        worded = shuffled(_questions(fact), seed=f"{seed} {fact}")[0]
        named = {f"wrong_{number}": choice for number, choice in enumerate(wrong, start=1)}
        yield {"question": worded, "answer": fact.object, **named}


def _wrong_choices(fact: Fact, facts: Sequence[Fact], *, seed: str) -> list[str]:
    """What others have of the same kind, then other numbers, then what other facts say; each in words of its own."""
    others = shuffled(facts, seed=seed)
    alike = [other.object for other in others if other.relation == fact.relation]
    candidates = [*alike, *_other_numbers(fact.object), *(other.object for other in others)]
    taken, chosen = _weighty(fact.object), []
    for candidate in candidates:
        words = _weighty(candidate)
        if words - taken and (not words & taken or _NUMBER.search(candidate)) and candidate not in chosen:
            chosen.append(candidate)
            taken |= words
    return chosen[:NUM_WRONG]


def _other_numbers(text: str) -> Iterator[str]:
    """The same text with its first number a little smaller or larger."""
    found = _NUMBER.search(text)
    if found is None:
        return
    number = int(found.group().replace(",", ""))
    step = max(1, number // 100)
    for change in (3 * step, -2 * step, 7 * step):
        written = f"{number + change:,}" if "," in found.group() else str(number + change)
        yield f"{text[: found.start()]}{written}{text[found.end() :]}"


def _weighty(text: str) -> frozenset[str]:
    return words_of(text) - WORDS_OF_NO_WEIGHT


def _questions(fact: Fact) -> list[str]:
    return [question(template, fact.subject) for template in wordings_of(fact.relation, detail=fact.detail)]
