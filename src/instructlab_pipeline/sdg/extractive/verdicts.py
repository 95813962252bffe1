"""Judging by rules: each criterion gets the best mark when its rules find nothing, and the worst when one objects.

A rule returns a sentence or None. The rules see words, not meaning: an answer passes as faithful when all its words
stand in the source. What they cannot check, they do not pass.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from instructlab_pipeline.sdg.extractive.skills import SKILLS
from instructlab_pipeline.sdg.extractive.variety import words_of

NO_OBJECTION = "The rules found nothing to object to."
WORDS_OF_NO_WEIGHT = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "was",
        "were",
        "of",
        "in",
        "on",
        "at",
        "to",
        "and",
        "it",
        "its",
        "for",
        "by",
        "with",
        "as",
        "be",
    ]
)
_POINTS_ELSEWHERE = re.compile(
    r"\b(?:it|this|these|they|he|she|above|below|the (?:text|document|passage|section|author))\b", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A question to judge, with its answer where there is one, and what it was made from."""

    question: str
    answer: str | None
    document: str | None
    context: str | None

    @property
    def source(self) -> str | None:
        return self.document if self.document is not None else self.context


Rule = Callable[[Case], str | None]


def verdict(case: Case, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A mark for each criterion among the properties of a schema, and the first objection as the reason."""
    criteria = {name: rule for name, rule in properties.items() if rule.get("type") == "integer"}
    objections = {name: _objection(case, RULES.get(name, ALL_RULES)) for name in criteria}
    marks = {
        name: bounds.get("minimum", 1) if objections[name] else bounds.get("maximum", 5)
        for name, bounds in criteria.items()
    }
    return {"reason": next(filter(None, objections.values()), NO_OBJECTION), **marks}


def _objection(case: Case, rules: tuple[Rule, ...]) -> str | None:
    return next(filter(None, (rule(case) for rule in rules)), None)


def says_nothing(case: Case) -> str | None:
    if not words_of(case.question):
        return "The question is empty."
    if case.answer is not None and not words_of(case.answer):
        return "The answer is empty."
    return None


def stands_not_in_source(case: Case) -> str | None:
    if case.answer is None or case.source is None:
        return None
    foreign = words_of(case.answer) - _words_of_source(case.source) - WORDS_OF_NO_WEIGHT
    return f'"{min(foreign)}" in the answer does not stand in the text.' if foreign else None


def points_elsewhere(case: Case) -> str | None:
    """A skill's question may point at its own words or at its context; one about a document must stand alone."""
    pointer = _POINTS_ELSEWHERE.search(case.question) if case.document is not None else None
    return f'"{pointer.group()}" in the question points at something that the reader does not see.' if pointer else None


def shares_no_word_with_source(case: Case) -> str | None:
    if case.source is None or (words_of(case.question) - WORDS_OF_NO_WEIGHT) & _words_of_source(case.source):
        return None
    return "The question has no word in common with the text."


def is_not_what_a_skill_gives(case: Case) -> str | None:
    """Only for tasks: a skill of ours must know the answer, and agree."""
    if case.document is not None:
        return None
    known = {skill.answer(case.question, case.context) for skill in SKILLS} - {None}
    if not known:
        return "No rule knows an answer to this."
    if case.answer is not None and case.answer not in known:
        return f'By the rules the answer is "{min(filter(None, known))}".'
    return None


@lru_cache(maxsize=256)
def _words_of_source(source: str) -> frozenset[str]:
    return words_of(source)


ALL_RULES: tuple[Rule, ...] = (
    says_nothing,
    stands_not_in_source,
    points_elsewhere,
    shares_no_word_with_source,
    is_not_what_a_skill_gives,
)
RULES: Mapping[str, tuple[Rule, ...]] = {
    "faithfulness": (says_nothing, stands_not_in_source),
    "correctness": (says_nothing, is_not_what_a_skill_gives),
    "relevance": (says_nothing, shares_no_word_with_source, is_not_what_a_skill_gives),
    "standalone": (says_nothing, points_elsewhere),
    "clarity": (says_nothing,),
}
