"""What needs no judge to be refused. Each rule gives a reason to count by and a sentence to read, or nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.sdg.language import language_of, script_of, scripts_in

REFUSAL = "refusal"
LONGEST_FIELD = 20_000  # characters; ten times what a sequence of 2048 tokens holds of anything but repetition
_BEGINNING = 200  # characters in which a refusal shows itself
_SORRY = r"(?:(?:i'?m|i am|we'?re|we are) (?:very |so |truly |deeply )?sorry|sorry)"
_APOLOGY = rf"(?:{_SORRY}|i apologi[sz]e|my apologies|unfortunately)"
_UNABLE = (
    r"(?:i|we)(?:'m| am|'re| are)? (?:just |simply |really )?"
    r"(?:cannot|can'?t|can not|could not|couldn'?t|unable to|not able to|not allowed to|won'?t|will not"
    r"|don'?t have|do not have)"
)
_REFUSAL = re.compile(
    rf"\A\W*(?:{_APOLOGY}[,.;:!]*(?: but| for [^.]*\.)?,? {_UNABLE}\b"
    rf"|{_UNABLE} (?:help|assist|answer|provide|comply|fulfil|generate|create|write|access|discuss)"
    r"|as an? (?:ai\b|artificial intelligence|(?:large )?language model))",
    re.IGNORECASE,
)
_POINTS_AT_DOCUMENT = re.compile(
    r"\b(?:according to|in|from|by|of|does|based on) (?:the|this) "
    r"(?:(?:given|provided|above|following) )?(?:document|text|passage|excerpt)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What a leaf's own texts of one kind (its questions, its answers) show to be wanted.

    `language` is None, and `scripts` empty, where they do not tell. `refuses`: some refuse, so that is the lesson.
    """

    scripts: frozenset[str]
    language: str | None
    refuses: bool


def manner_of(texts: Sequence[str]) -> Manner:
    return Manner(
        scripts=scripts_in(texts),
        language=language_of("\n".join(texts)),
        refuses=any(is_refusal(text) for text in texts),
    )


def flaw(fields: Mapping[str, Any], manners: Mapping[str, Manner], *, about_document: bool) -> tuple[str, str] | None:
    """Reason and detail of the first thing that is wrong with a row's new fields.

    `manners`: what is wanted of a field, by its name; others are not compared with the leaf.
    `about_document`: the question must stand without the document that it was made from.
    """
    for name, value in fields.items():
        text = str(value)
        if not any(character.isalnum() for character in text):
            return "empty_field", f"the {name} is empty"
        if len(text) > LONGEST_FIELD:
            return "too_long", f"the {name} has {len(text)} characters"
        if about_document and name == "question" and _POINTS_AT_DOCUMENT.search(text):
            return "points_at_document", "the question points at a text that its reader will not have"
        if name in manners and (found := _out_of_manner(name, text, manners[name])):
            return found
    return None


def is_refusal(text: str) -> bool:
    return _REFUSAL.match(text[:_BEGINNING].replace("\u2019", "'")) is not None


def _out_of_manner(name: str, text: str, manner: Manner) -> tuple[str, str] | None:
    if not manner.refuses and is_refusal(text):
        return REFUSAL, f"the {name} is a refusal: {text[:80]}"
    script = script_of(text)
    if script is not None and manner.scripts and script not in manner.scripts:
        return "other_language", f"the {name} is in {script} letters, unlike the leaf's: {text[:80]}"
    language = language_of(text) if manner.language else None
    if language is not None and language != manner.language:
        return "other_language", f"the {name} is in {language}, the leaf's are in {manner.language}: {text[:80]}"
    return None
