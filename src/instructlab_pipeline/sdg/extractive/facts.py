"""What a document states, as far as patterns can tell: a subject, a relation, an object.

A sentence that no pattern fits is passed over, and so is one that only another sentence would make clear ("It has ...",
"The road is ..."). Where a document says two things of one kind about a subject, the first is kept.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from instructlab_pipeline.sdg.extractive.patterns import GENERAL, KNOWN, Pattern
from instructlab_pipeline.sdg.extractive.sentences import sentences

MAX_WORDS = 12  # a longer object is no short answer
MAX_REASON_WORDS = 30
STANDING_FOR_ANOTHER = """
    it its they them their this these that those he she we you i his her our my your there here one ones some most many
    both each all another other others such nobody none someone something who which what whose where when how same
    latter former following rest text document passage section author
"""
BINDING_A_CLAUSE = """
    in on at by for from with under over after before while if as to than because since although though not also but or
    so then now yet only even perhaps never always often usually sometimes rarely probably maybe still just almost once
    already no neither nor
"""
ENDING_THE_SUBJECT = """
    is are was were be been has have had does do did can could will would may might must should
"""
NEVER_IN_A_SUBJECT = frozenset((STANDING_FOR_ANOTHER + BINDING_A_CLAUSE + ENDING_THE_SUBJECT).split())
_NO_DEFINITION = re.compile(r"(?:a|the) (?:little|bit|lot|same|first|only|most|more|few|case|result)\b")
_JOINS = r"which|who|that|where|when|while|because|since|but|though|with"
_BREAK = re.compile(rf"[;:()!?\u2014\u2013]|[,.](?!\d)| (?:{_JOINS}|and (?:it|the|its|is|was|has|can|in))\b")
_ITEM = rf"(?!(?:{_JOINS}|and|or) )[\w'-]+(?: [\w'-]+){{0,2}}"
_LIST = re.compile(rf"{_ITEM}(?:, {_ITEM})+,? (?:and|or) ")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`detail` is the word that the relation leaves open: what is counted, what was done; mostly empty."""

    relation: str
    subject: str
    object: str
    detail: str = ""


@lru_cache(maxsize=256)
def facts_of(document: str) -> tuple[Fact, ...]:
    """The document's facts in the order of its sentences, one object for each subject, relation and detail."""
    found: dict[tuple[str, str, str], Fact] = {}
    for sentence in sentences(document):
        if sentence.endswith("?"):
            continue
        facts = [*_facts(sentence, KNOWN, document)] or [*_facts(sentence, GENERAL, document)][:1]
        for fact in facts:
            found.setdefault((fact.relation, fact.subject, fact.detail), fact)
    return tuple(found.values())


def _facts(sentence: str, patterns: tuple[Pattern, ...], document: str) -> Iterator[Fact]:
    for pattern in patterns:
        match = pattern.text.search(sentence)
        fact = _fact(pattern, match, document) if match else None
        if fact:
            yield fact


def _fact(pattern: Pattern, match: re.Match[str], document: str) -> Fact | None:
    relation, groups = pattern.relation, match.groupdict()
    subject = _subject(groups["subject"], document, mentions=pattern.mentions)
    found = _object(groups)
    if subject is None or not 0 < len(found.split()) <= (MAX_REASON_WORDS if relation == "reason" else MAX_WORDS):
        return None
    if relation == "definition" and _NO_DEFINITION.match(found):
        return None
    return Fact(relation=relation, subject=subject, object=found, detail=groups.get("detail") or "")


def _object(groups: dict[str, str | None]) -> str:
    if groups.get("reason"):
        return f"because {groups['reason']}"
    if groups.get("phrase"):
        phrase = _phrase(groups["phrase"] or "")
        return f"{groups.get('lead') or ''}{phrase}" if phrase else ""
    return groups["object"] or ""


def _phrase(text: str) -> str:
    """The words up to the next break of the sentence; a list is kept whole."""
    listed = _LIST.match(text)
    start = listed.end() if listed else 0
    return text[:start] + _BREAK.split(text[start:], maxsplit=1)[0].strip()


def _subject(text: str, document: str, *, mentions: int) -> str | None:
    """The subject as it stands within a sentence, or None where it would not be clear without the document."""
    words = text.lower().split()
    if NEVER_IN_A_SUBJECT.intersection(words):
        return None
    article, _, rest = text.partition(" ")
    if article in ("The", "the"):
        return f"the {rest}" if _has_one_meaning(rest, document, mentions=mentions) else None
    if article in ("A", "An", "a", "an"):
        return f"{article.lower()} {rest}"
    return _uncapitalized(text, document)


def _has_one_meaning(noun: str, document: str, *, mentions: int) -> bool:
    """Whether "the ..." needs no sentence before it: a name, or what the document is about."""
    headings = "\n".join(line for line in document.splitlines() if line.startswith("#"))
    return noun[:1].isupper() or noun in headings or document.count(noun) >= mentions


def _uncapitalized(text: str, document: str) -> str:
    """A common noun loses the capital of the sentence's beginning: one that the document also writes small."""
    small = text[0].lower() + text[1:]
    return small if re.search(rf"[\w,;] {re.escape(small)}\b", document) else text
