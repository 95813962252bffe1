"""English that means nothing, with names and numbers of its own, so that no filter takes two texts for one."""

from functools import cache
from itertools import product
from random import Random


def _words(text: str) -> list[str]:
    return text.split()


_ADJECTIVES = _words("coastal early efficient gradual hidden local modern northern public reliable seasonal stable")
_NOUNS = _words(
    "archive budget canal circuit contract council festival forest glacier harbour harvest library market museum "
    "orchard protocol railway reactor reservoir satellite telescope treaty turbine vaccine workshop"
)
_VERBS = _words("balances changes delays explains improves limits measures protects replaces restores supports")
_TIMES = _words("after before despite during since throughout")
_SYLLABLES = _words("ba do fe gi ka lo me na pi ro sa te vu wi za")

_NAMES = ["".join(parts).capitalize() for parts in product(_SYLLABLES, repeat=3)]
_THINGS = [f"{adjective} {noun}" for adjective, noun in product(_ADJECTIVES, _NOUNS)]
_QUESTIONS = (
    "How does {name} use the {thing} of {place}, given that it {done} in {year}?",
    "Which {thing} did {name} find in {place}, and why has it been said that it {done} since {year}?",
    "Why is {place} known for a {thing} that {done} in the view of {name}, {year}?",
    "When did {name} first say of {place} that its {thing} {done} as it did in {year}?",
    "What became of the {thing} at {place} once {name} had shown in {year} that it {done}?",
)
_SENTENCES = 20_000  # written once: a reply has to cost microseconds


def prose(draw: Random, characters: float) -> str:
    """Whole sentences of about so many characters, at least one."""
    sentences, mean_characters = _stock()
    return " ".join(draw.choices(sentences, k=max(1, round(characters / mean_characters))))


@cache
def _stock() -> tuple[list[str], float]:
    draw = Random(1)
    sentences = [_sentence(draw) for _ in range(_SENTENCES)]
    return sentences, sum(map(len, sentences)) / len(sentences) + 1


def _sentence(draw: Random) -> str:
    subject, thing = draw.choices(_THINGS, k=2)
    when = f"{draw.choice(_TIMES)} the {draw.choice(_NOUNS)} of {draw.choice(_NAMES)}"
    return f"The {subject} {draw.choice(_VERBS)} the {thing} {when}."


def question(draw: Random) -> str:
    name, place = draw.choices(_NAMES, k=2)
    return draw.choice(_QUESTIONS).format(
        name=name,
        place=place,
        thing=draw.choice(_THINGS),
        done=f"{draw.choice(_VERBS)} the {draw.choice(_THINGS)}",
        year=draw.randrange(1000, 2000),
    )
