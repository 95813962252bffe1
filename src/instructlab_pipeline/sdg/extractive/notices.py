"""A skill of the built-in teacher: read a community centre's notice and pick the weekday or the room."""

import re
from functools import cache

from instructlab_pipeline.sdg.extractive.variety import shuffled, varied

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COLOURS = ("red", "blue", "green", "yellow", "white", "brown")
GROUPS = (
    "choir",
    "chess club",
    "book club",
    "drama group",
    "running group",
    "French class",
    "pottery class",
    "cooking class",
    "swing band",
    "knitting circle",
    "film club",
    "garden club",
)
NOTICES = (
    "The {group} meets on {weekday}. Please come to the {colour} room.",
    "Every {weekday} the {colour} room belongs to the {group}.",
    "Join the {group}! We gather each {weekday} evening in the {colour} room.",
    "Visitors cannot use the {colour} room on {weekday}: it is kept for the {group}.",
    "This {weekday} the {group} welcomes guests in the {colour} room.",
    "New times: from now on {weekday} is for the {group}, still in the {colour} room.",
)
DAY_WORDINGS = (
    "On which day does the {group} meet?",
    "Which weekday belongs to the {group}?",
    "What day of the week is for the {group}?",
)
ROOM_WORDINGS = (
    "In which room does the {group} meet?",
    "Which room belongs to the {group}?",
    "What room is used by the {group}?",
)


@cache
def contexts(*, count: int) -> tuple[str, ...]:
    notices = (
        notice.format(group=group, weekday=weekday, colour=colour)
        for notice in NOTICES
        for group in GROUPS
        for weekday in WEEKDAYS
        for colour in COLOURS
    )
    return varied(notices, count=count, seed="notices")


@cache
def instructions(context: str | None, *, count: int) -> tuple[str, ...]:
    """Questions that the notice answers, in an order of its own."""
    group = _group(context)
    if context is None or group is None:
        return ()
    asked = [wording.format(group=group) for wording in (*DAY_WORDINGS, *ROOM_WORDINGS)]
    answered = [question for question in asked if answer(question, context) is not None]
    return tuple(shuffled(answered, seed=context)[:count])


def answer(instruction: str, context: str | None) -> str | None:
    """The weekday or the room that stands in `context`, or None where it does not, or not once."""
    group = _group(context)
    if context is None or group is None or group not in instruction:
        return None
    if re.search(r"\b(day|weekday)\b", instruction):
        return _only(re.findall("|".join(WEEKDAYS), context))
    if re.search(r"\broom\b", instruction):
        return _only(re.findall(rf"the (?:{'|'.join(COLOURS)}) room", context))
    return None


def _group(context: str | None) -> str | None:
    return _only([group for group in GROUPS if group in (context or "")])


def _only(found: list[str]) -> str | None:
    return found[0] if len(found) == 1 else None
