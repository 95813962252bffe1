"""Multiple choice out of a document's facts: one question for each fact, and what other facts say as wrong choices."""

from collections.abc import Iterator, Mapping, Sequence

from instructlab_pipeline.sdg.extractive.facts import Fact
from instructlab_pipeline.sdg.extractive.variety import shuffled, words_of
from instructlab_pipeline.sdg.extractive.wordings import FORMS, question, wordings_of

NUM_WRONG = 3
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
    """What other facts say, those of the same relation first; never anything that shares a word with the answer."""
    taken, chosen = words_of(fact.object), []
    for other in sorted(shuffled(facts, seed=seed), key=lambda other: other.relation != fact.relation):
        words = words_of(other.object)
        if not words & taken and other.subject != other.object:
            chosen.append(other.object)
            taken |= words
    return chosen[:NUM_WRONG]


def _questions(fact: Fact) -> list[str]:
    return [question(template, fact.subject) for template in wordings_of(fact.relation, detail=fact.detail)]
