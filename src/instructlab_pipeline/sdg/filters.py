"""What needs no judge to be refused. Each rule gives a reason to count by and a sentence to read, or nothing."""

import re
from collections.abc import Mapping
from typing import Any

LONGEST_FIELD = 20_000  # characters; ten times what a sequence of 2048 tokens holds of anything but repetition
_REFUSAL = re.compile(
    r"\A\W*(?:i'?m sorry|i am sorry|sorry, |i apologi[sz]e|as an ai\b|as a (?:large )?language model"
    r"|i (?:cannot|can'?t|can not|am unable to|am not able to|won'?t) "
    r"(?:help|assist|answer|provide|comply|fulfil))",
    re.IGNORECASE,
)
_POINTS_AT_DOCUMENT = re.compile(
    r"\b(?:according to|in|from|by|of|does|based on) (?:the|this) "
    r"(?:(?:given|provided|above|following) )?(?:document|text|passage|excerpt)\b",
    re.IGNORECASE,
)


def flaw(fields: Mapping[str, Any], *, about_document: bool) -> tuple[str, str] | None:
    """Reason and detail of the first thing that is wrong with a row's new fields.

    `about_document`: the question must stand without the document that it was made from.
    """
    for name, value in fields.items():
        text = str(value)
        if not any(character.isalnum() for character in text):
            return "empty_field", f"the {name} is empty"
        if len(text) > LONGEST_FIELD:
            return "too_long", f"the {name} has {len(text)} characters"
        if _REFUSAL.match(_straight(text)) and name != "context":
            return "refusal", f"the {name} is a refusal: {text[:80]}"
        if about_document and name == "question" and _POINTS_AT_DOCUMENT.search(text):
            return "points_at_document", "the question points at a text that its reader will not have"
    return None


def _straight(text: str) -> str:
    """The beginning of a text, with one kind of apostrophe."""
    return text[:80].replace("\u2019", "'")
