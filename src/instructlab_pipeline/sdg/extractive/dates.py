"""A skill of the built-in teacher: write a date that is spelled out as ISO 8601 has it."""

import re
from datetime import date
from functools import cache
from itertools import product

from instructlab_pipeline.sdg.extractive.variety import varied

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
YEARS = range(2018, 2024)
LAST_DAY = 28  # the last that every month has
FORMS = ("{day} {month} {year}", "{month} {day}, {year}")
WORDINGS = (
    "Write {date} as an ISO date.",
    "Convert {date} to ISO 8601.",
    "What is {date} in ISO form?",
    "Give the ISO date for {date}.",
    "Turn {date} into ISO 8601 format.",
    "How does ISO 8601 put {date}?",
)
_SPELLED = re.compile(
    rf"(?P<day>\d{{1,2}}) (?P<month>{'|'.join(MONTHS)}) (?P<year>\d{{4}})"
    rf"|(?P<month_>{'|'.join(MONTHS)}) (?P<day_>\d{{1,2}}), (?P<year_>\d{{4}})"
)


@cache
def instructions(context: str | None, *, count: int) -> tuple[str, ...]:
    if context is not None:
        return ()
    every_day = product(YEARS, MONTHS, range(1, LAST_DAY + 1))
    asked = (_asked(number, year, month, day) for number, (year, month, day) in enumerate(every_day))
    return varied(asked, count=count, seed="dates")


def _asked(number: int, year: int, month: str, day: int) -> str:
    """Forms and wordings take turns."""
    form = FORMS[number % len(FORMS)]
    wording = WORDINGS[number // len(FORMS) % len(WORDINGS)]
    return wording.format(date=form.format(day=day, month=month, year=year))


def answer(instruction: str, context: str | None) -> str | None:
    """The date in `instruction`, or None where there is none, or no such day."""
    spelled = _SPELLED.search(instruction)
    if spelled is None or "ISO" not in instruction or context is not None:
        return None
    day = int(spelled["day"] or spelled["day_"])
    month = MONTHS.index(spelled["month"] or spelled["month_"]) + 1
    try:
        return date(int(spelled["year"] or spelled["year_"]), month, day).isoformat()
    except ValueError:
        return None
