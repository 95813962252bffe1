"""The sentences that the built-in teacher can read, as patterns with blanks.

`{S}` is the subject; one other blank is the object: a `{name}`, `{year}`, `{number}`, `{quantity}` (a number with its
unit), `{count}` (a number in words or digits), `{word}`, or a `{phrase}`, which runs on to the next break of the
sentence. A group `detail` takes the word that a relation leaves open.
"""

import re
from dataclasses import dataclass

_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_ONES = "one|two|three|four|five|six|seven|eight|nine"
_COUNT = rf"\d[\d,]*|(?:{_TENS})(?:-(?:{_ONES}))?|{_ONES}|ten|eleven|twelve|[a-z]+teen"
_UNIT = r"(?:degrees |square |cubic |million )?[A-Za-z]+(?: Celsius| Fahrenheit| per [a-z]+)?"
_WORD = r"[^\W_][\w'\u2019-]*"
_CAPITALIZED = r"(?:[A-Z]\.|[A-Z][\w'\u2019-]*)"
BLANKS = {
    "{S}": rf"(?P<subject>(?:[Tt]he |[Aa]n? )?{_WORD}(?: {_WORD}){{0,4}}?)",
    "{name}": rf"(?P<object>(?:the )?{_CAPITALIZED}(?: (?:of (?:the )?|de |von |van |da )?{_CAPITALIZED})*)",
    "{year}": r"(?P<object>[12]\d{3})",
    "{number}": r"(?P<object>\d(?:[\d,.]*\d)?)",
    "{quantity}": rf"(?P<object>(?:about )?\d(?:[\d,.]*\d)? {_UNIT})",
    "{count}": rf"(?P<object>{_COUNT})",
    "{word}": r"(?P<object>[A-Za-z]+)",
    "{phrase}": r"(?P<phrase>.+)",
}
_AFTER = r"(?![\w-])"
_CLAUSE = r"(?:^|[,;:] (?:(?:because|since|for|and|but|while) )?|\bbecause )"  # not "that": some say that ...


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """`mentions`: how often a document must name what a sentence calls "the ...", for that to be clear alone."""

    relation: str
    text: re.Pattern[str]
    mentions: int


def _anywhere(relation: str, sentence: str) -> Pattern:
    """A pattern for any clause of a sentence."""
    return Pattern(relation=relation, text=re.compile(_CLAUSE + _filled(sentence)), mentions=2)


def _opening(relation: str, sentence: str) -> Pattern:
    """A pattern for the beginning of a sentence only."""
    return Pattern(relation=relation, text=re.compile("^" + _filled(sentence)), mentions=3)


def _filled(sentence: str) -> str:
    for blank, expression in BLANKS.items():
        sentence = sentence.replace(blank, expression)
    return sentence + _AFTER


# These know their relation by its words.
KNOWN = (
    _anywhere("orbits", "{S} (?:orbits|circles) {name}"),
    _anywhere("orbital_period", "{S} completes one orbit in {quantity}"),
    _anywhere("orbital_period", "{S} (?:takes|needs) {quantity} for one orbit"),
    _anywhere("discoverer", "{S} was (?:first )?discovered (?:in [12]\\d{3} )?by {name}"),
    _anywhere("discovery_year", "{S} was (?:first )?discovered (?:by [^,.]{3,60} )?in {year}"),
    _anywhere("diameter", "{S} has a (?:mean )?diameter of {quantity}"),
    _anywhere("diameter", "[Tt]he (?:mean )?diameter of {S} is {quantity}"),
    _anywhere("symbol", "[Tt]he chemical symbol (?:of|for) {S} is {word}"),
    _anywhere("atomic_number", "{S} has the atomic number {number}"),
    _anywhere("atomic_number", "[Tt]he atomic number of {S} is {number}"),
    _anywhere("melting_point", "{S} melts at {quantity}"),
    _anywhere("melting_point", "[Tt]he melting point of {S} is {quantity}"),
    _anywhere("latin_name", "[Tt]he Latin name (?:of|for) {S} is {word}"),
    _anywhere("heavenly_body", "[Aa]lchemists paired {S} with {name}"),
    _anywhere("location", "{S} (?:stands|lies) in {name}"),
    _anywhere("crosses", "{S} (?:crosses|spans) {name}"),
    _anywhere("opening_year", "{S} (?:was )?opened in {year}"),
    _anywhere("design", "{S} was built as {phrase}"),
    _anywhere("main_span", "{S} has a main span of {quantity}"),
    _anywhere("origin", "{S} comes from {name}"),
    _anywhere("count", "{S} has {count} (?P<detail>(?:[a-z]+ )?[a-z]+s)"),
    _anywhere("played_with", "{S} is played with {phrase}"),
    _anywhere("part_material", "[Tt]he (?P<detail>[a-z]+) of {S} is made of {phrase}"),
    _anywhere("shape", "{S} is shaped like {phrase}"),
)

_DONE = (
    "born|built|completed|composed|created|designed|developed|established|founded|introduced|invented|launched|opened"
    "|painted|patented|proposed|published|released|written"
)
# These fit any English prose, and are tried where no other does.
GENERAL = (
    _opening("definition", "{S} (?P<detail>is|was) (?P<lead>an? |the |one of the ){phrase}"),
    _opening("attribute", "[Tt]he (?P<detail>[a-z]+(?: [a-z]+)?) of {S} (?:is|was) {quantity}"),
    _opening("attribute", "[Tt]he (?P<detail>[a-z]+(?: [a-z]+)?) of {S} (?:is|was) {name}"),
    _opening("attribute", "{S} has an? (?P<detail>[a-z]+(?: [a-z]+)?) of {quantity}"),
    _opening("maker", f"{{S}} was (?P<detail>{_DONE}) (?:in [12]\\d{{3}} )?by {{name}}"),
    _opening("event_year", f"{{S}} was (?P<detail>{_DONE}) (?:by [^,.]{{3,60}} |to traffic )?in {{year}}"),
    _opening(
        "place",
        "{S} (?:lies|stands|lives|grows|is located|is situated|is found) (?P<lead>(?:in|on|near|at|off) ){phrase}",
    ),
    _opening("material", "{S} (?:consists of|is made of|is made from|is composed of) {phrase}"),
    _opening("contents", "{S} contains {phrase}"),
    _opening("purpose", "{S} (?P<detail>is|are) used (?P<lead>to |for |as ){phrase}"),
    _opening("namesake", "{S} (?:is|was) named after {name}"),
    _opening("other_name", "{S} (?:is|was) (?:also |often )?(?:called|known as) {phrase}"),
    _opening("meaning", "{S} (?:means|stands for) {phrase}"),
    _opening("reason", "{S} (?P<detail>[a-z]+(?: [^,.;:]+?)?),? because (?P<reason>[^;:]+?)[.!]?$"),
)
