"""What the demo's base model reads before it meets the taxonomy: questions about things that do not exist.

The moons, metals, bridges and instruments here are made up, and so is all that is said of them. From them a model can
learn how questions are asked, that questions in other words want the same answer, and what answers look like. It cannot
learn a single fact of the taxonomy, nor any of its skills.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from instructlab_pipeline.conversation import Messages, answered
from instructlab_pipeline.sdg.extractive.wordings import question, wordings_of

SEED = 1
THINGS_PER_DOMAIN = 28  # with fewer, what is learned of the wordings does not carry over to other things


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Things of one kind: what they are called, and for each relation what is answered, with blanks to be drawn."""

    subject: str
    answers: Mapping[str, str]


MOONS = Domain(
    subject="{name}",
    answers={
        "orbits": "{name}",
        "discoverer": "{name} {name}",
        "discovery_year": "{year}",
        "diameter": "{number} kilometres",
        "orbital_period": "{small}.{digit} days",
    },
)
METALS = Domain(
    subject="{word}",
    answers={
        "symbol": "{symbol}",
        "latin_name": "{word}um",
        "atomic_number": "{small}",
        "melting_point": "{number} degrees Celsius",
        "heavenly_body": "{name}",
    },
)
BRIDGES = Domain(
    subject="the {name} Bridge",
    answers={
        "location": "{name}",
        "crosses": "the {name}",
        "opening_year": "{year}",
        "design": "a {plan} bridge",
        "main_span": "{number} metres",
    },
)
INSTRUMENTS = Domain(
    subject="the {word}",
    answers={
        "origin": "{name}",
        "count": "{count}",
        "played_with": "a {tool}",
        "part_material": "{stuff}",
        "shape": "a {quality} {thing}",
    },
)
DOMAINS = (MOONS, METALS, BRIDGES, INSTRUMENTS)
DETAILS = {"count": "strings", "part_material": "soundboard"}  # what their wordings leave open besides the subject

ONSETS = ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z"]
VOWELS = ["a", "e", "i", "o", "u"]
CODAS = ["", "", "", "l", "n", "r", "s"]
WORDS = {
    "count": "five six seven nine ten eleven twelve fourteen fifteen sixteen thirty",
    "plan": "truss floating covered swing lift beam stone rope folding stepping",
    "tool": "hammer feather wheel stick ring brush thread pedal key quill comb",
    "stuff": "oak maple horn bronze clay silk birch bone cane cedar felt",
    "quality": "flat round narrow broken sleeping double hollow folded heavy young",
    "thing": "boat leaf bell barrel spoon shell wheel kite lantern feather basket",
}


def conversations() -> list[Messages]:
    """Every wording of every fact about every thing, the same each time."""
    generator = random.Random(SEED)
    return [
        answered(question(wording, subject), answer)
        for domain in DOMAINS
        for subject, facts in things(domain, generator)
        for relation, answer in facts.items()
        for wording in wordings_of(relation, detail=DETAILS.get(relation, ""))
    ]


def things(domain: Domain, generator: random.Random) -> Iterator[tuple[str, dict[str, str]]]:
    """Made-up things, each with an answer for every relation of its domain."""
    for _ in range(THINGS_PER_DOMAIN):
        yield (
            _filled(domain.subject, generator),
            {relation: _filled(form, generator) for relation, form in domain.answers.items()},
        )


def _filled(form: str, generator: random.Random) -> str:
    return re.sub(r"{(\w+)}", lambda blank: _drawn(blank[1], generator), form)


def _drawn(blank: str, generator: random.Random) -> str:
    if blank in WORDS:
        return generator.choice(WORDS[blank].split())
    return DRAWS[blank](generator)


def _word(generator: random.Random) -> str:
    """Two or three syllables that mean nothing."""
    syllables = generator.choice((2, 2, 3))
    return "".join(
        generator.choice(ONSETS) + generator.choice(VOWELS) + generator.choice(CODAS) for _ in range(syllables)
    )


def _number(generator: random.Random) -> str:
    """Of one to four digits, each length as likely as another."""
    return f"{generator.randrange(1, 10 ** generator.randint(1, 4)):,}"


def _symbol(generator: random.Random) -> str:
    """Two letters that stand for no metal of the documents."""
    return generator.choice("BDGHIKLMNORTUVWZ") + generator.choice("abcdefghiklmnoprstuvwz")


DRAWS: Mapping[str, Callable[[random.Random], str]] = {
    "name": lambda generator: _word(generator).capitalize(),
    "word": _word,
    "number": _number,
    "small": lambda generator: str(generator.randrange(1, 100)),
    "digit": lambda generator: str(generator.randrange(10)),
    "year": lambda generator: str(generator.randint(1500, 2020)),
    "symbol": _symbol,
}
