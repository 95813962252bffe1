"""A skill of the built-in teacher: name the quarter of the year that a date lies in."""

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
    "Which quarter of the year does {date} fall in?",
    "Name the quarter that {date} belongs to.",
    "What quarter is {date} in?",
    "Give the quarter for {date}.",
    "Into which quarter does {date} fall?",
    "To which quarter would you book {date}?",
)
MONTHS_IN_A_QUARTER = 3
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
    return varied(asked, count=count, seed="quarters")


def _asked(number: int, year: int, month: str, day: int) -> str:
    """Forms and wordings take turns."""
    form = FORMS[number % len(FORMS)]
    wording = WORDINGS[number // len(FORMS) % len(WORDINGS)]
    return wording.format(date=form.format(day=day, month=month, year=year))


def answer(instruction: str, context: str | None) -> str | None:
    """`Q1` to `Q4` for the date in `instruction`, or None where there is none, or no such day."""
    spelled = _SPELLED.search(instruction)
    if spelled is None or "quarter" not in instruction.lower() or context is not None:
        return None
    day = int(spelled["day"] or spelled["day_"])
    month = MONTHS.index(spelled["month"] or spelled["month_"]) + 1
    try:
        date(int(spelled["year"] or spelled["year_"]), month, day)
    except ValueError:
        return None
    return f"Q{1 + (month - 1) // MONTHS_IN_A_QUARTER}"
