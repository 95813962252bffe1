"""A skill of the built-in teacher: say which team of a shop a customer's message is for."""

from collections.abc import Mapping
from functools import cache

from instructlab_pipeline.sdg.extractive.variety import varied, words_of

# For each team: what customers write about, and what they say of it. Each beginning goes with each ending.
MESSAGES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "billing": (
        ("My invoice", "The June bill", "Your last statement", "The receipt", "The yearly invoice", "Our bill"),
        (
            "shows the wrong amount",
            "is higher than agreed",
            "lists one item twice",
            "leaves out my discount",
            "has an extra charge",
        ),
    ),
    "delivery": (
        ("My parcel", "The package", "My order", "The courier", "Your driver", "The big box"),
        ("is three days late", "went to another house", "never came", "has not arrived yet", "was due yesterday"),
    ),
    "repairs": (
        ("My kettle", "The toaster", "The new lamp", "Our heater", "The coffee machine", "My radio"),
        (
            "does not switch on",
            "makes strange noises",
            "smells of smoke",
            "stopped after a week",
            "gets far too hot",
        ),
    ),
    "accounts": (
        ("My password", "The login code", "My user name", "Your login page", "The reset link", "My new password"),
        ("is not accepted", "no longer works", "gives an error", "seems to be blocked", "was refused twice"),
    ),
}
WORDINGS = (
    "Which team should read this? {message}",
    "Route this message: {message}",
    "Who takes care of this: {message}",
    "Sort into a team: {message}",
    "{message} Which team is this for?",
    "Find the right desk. {message}",
)


@cache
def instructions(context: str | None, *, count: int) -> tuple[str, ...]:
    if context is not None:
        return ()
    asked = (
        wording.format(message=f"{beginning} {ending}.")
        for wording in WORDINGS
        for beginnings, endings in MESSAGES.values()
        for beginning in beginnings
        for ending in endings
    )
    return varied(asked, count=count, seed="routing")


def answer(instruction: str, context: str | None) -> str | None:
    """The one team that uses the words of `instruction`, or None where no team or more than one does."""
    if context is not None or not _asks(instruction):
        return None
    teams = [team for team, nouns in _nouns().items() if words_of(instruction) & nouns]
    return teams[0] if len(teams) == 1 else None


def _asks(instruction: str) -> bool:
    return any(wording.replace("{message}", "").strip() in instruction for wording in WORDINGS)


@cache
def _nouns() -> Mapping[str, frozenset[str]]:
    """The last word of each beginning, by team: these never stand for two teams."""
    return {
        team: frozenset(beginning.split()[-1].lower() for beginning in beginnings)
        for team, (beginnings, _) in MESSAGES.items()
    }
