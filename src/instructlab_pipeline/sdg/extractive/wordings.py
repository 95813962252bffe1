"""The questions that can be asked about a fact: one template per wording, the same answer for all of them.

`{subject}` is what the fact is about; `{detail}` is the word that some relations leave open, such as what is counted.
Practice text about other subjects can be written from the same table by `wordings_of`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from instructlab_pipeline.sdg.extractive.facts import Fact
from instructlab_pipeline.sdg.extractive.variety import shuffled


@dataclass(frozen=True, kw_only=True)
class Pair:
    question: str
    answer: str


WORDINGS: Mapping[str, tuple[str, ...]] = {
    # Told of one thing in one way: the relations of the demo's documents, and of any prose that puts things so.
    "orbits": (
        "What does {subject} orbit?",
        "Around which body does {subject} travel?",
        "Name the body that {subject} circles.",
        "{subject} goes round which body?",
        "Which body has {subject} in orbit?",
        "{subject} is in orbit around what?",
        "What body holds {subject} in orbit?",
    ),
    "discoverer": (
        "Who discovered {subject}?",
        "By whom was {subject} discovered?",
        "Name the discoverer of {subject}.",
        "Whose discovery was {subject}?",
        "{subject} was found by whom?",
        "Who was first to find {subject}?",
        "Which person is credited with discovering {subject}?",
    ),
    "discovery_year": (
        "When was {subject} discovered?",
        "In which year was {subject} found?",
        "Give the year of {subject}'s discovery.",
        "{subject} was discovered in what year?",
        "What year brought the discovery of {subject}?",
        "Since when has {subject} been known?",
        "Date the discovery of {subject}.",
    ),
    "diameter": (
        "What is the diameter of {subject}?",
        "How wide is {subject}?",
        "What diameter does {subject} have?",
        "{subject} has which diameter?",
        "State the diameter of {subject}.",
        "How large is {subject} across?",
        "What is the width of {subject}?",
    ),
    "orbital_period": (
        "How long does {subject} take for one orbit?",
        "What is the orbital period of {subject}?",
        "In what time does {subject} complete an orbit?",
        "{subject} needs how long to go round once?",
        "State the orbital period of {subject}.",
        "How long is one orbit of {subject}?",
        "One lap of {subject} lasts how long?",
    ),
    "symbol": (
        "What is the chemical symbol of {subject}?",
        "Which symbol stands for {subject}?",
        "How do chemists abbreviate {subject}?",
        "{subject} has which chemical symbol?",
        "Write the symbol for {subject}.",
        "What do chemists write for {subject}?",
        "Which letters denote {subject}?",
    ),
    "atomic_number": (
        "What is the atomic number of {subject}?",
        "How many protons has an atom of {subject}?",
        "Which atomic number does {subject} have?",
        "{subject} carries what atomic number?",
        "State the atomic number of {subject}.",
        "Which periodic table number has {subject}?",
        "Count the protons in an atom of {subject}.",
    ),
    "melting_point": (
        "At what temperature does {subject} melt?",
        "What is the melting point of {subject}?",
        "How hot must {subject} be to melt?",
        "{subject} melts at which temperature?",
        "State the melting point of {subject}.",
        "When heated, where does {subject} turn liquid?",
        "Which temperature makes {subject} liquid?",
    ),
    "latin_name": (
        "What is the Latin name of {subject}?",
        "What did the Romans call {subject}?",
        "How do you say {subject} in Latin?",
        "{subject} bears which Latin name?",
        "Give the Latin word for {subject}.",
        "By what name did Romans know {subject}?",
        "Translate {subject} into Latin.",
    ),
    "heavenly_body": (
        "With what did alchemists pair {subject}?",
        "Which heavenly body belonged to {subject} in alchemy?",
        "To alchemists, {subject} was linked with what?",
        "Name the alchemists' partner of {subject} in the sky.",
        "What heavenly body stood for {subject}?",
        "In alchemy, whose metal was {subject}?",
        "{subject} shared its sign with what?",
    ),
    "location": (
        "Where is {subject}?",
        "Where can you find {subject}?",
        "What is the location of {subject}?",
        "{subject} stands where?",
        "Where would you visit {subject}?",
        "Give the location of {subject}.",
        "Travellers find {subject} in which place?",
    ),
    "crosses": (
        "What does {subject} cross?",
        "Which water lies under {subject}?",
        "Over what does {subject} lead?",
        "{subject} crosses what?",
        "Name what {subject} spans.",
        "What do people cross on {subject}?",
        "What lies beneath {subject}?",
    ),
    "opening_year": (
        "When did {subject} open?",
        "In which year was {subject} opened?",
        "What year marks the opening of {subject}?",
        "{subject} opened in what year?",
        "Give the opening year of {subject}.",
        "Since when has {subject} been open?",
        "When was {subject} first used?",
    ),
    "design": (
        "What type of structure is {subject}?",
        "As what was {subject} built?",
        "Which design does {subject} follow?",
        "{subject} shows which design?",
        "Name the design of {subject}.",
        "How would an engineer classify {subject}?",
        "What kind of construction is {subject}?",
    ),
    "main_span": (
        "What is the main span of {subject}?",
        "How long is the span of {subject}?",
        "What length does {subject} span?",
        "{subject} has what main span?",
        "State the main span of {subject}.",
        "How far does {subject} reach unsupported?",
        "Give the widest opening of {subject}.",
    ),
    "origin": (
        "Where does {subject} come from?",
        "What is the homeland of {subject}?",
        "From which place do we have {subject}?",
        "{subject} comes from where?",
        "Name the home of {subject}.",
        "Which place is the origin of {subject}?",
        "Where was {subject} first at home?",
    ),
    "count": (
        "How many {detail} does {subject} have?",
        "What number of {detail} has {subject}?",
        "Count the {detail} of {subject}.",
        "{subject} has how many {detail}?",
        "State the number of {detail} on {subject}.",
        "How many {detail} are there on {subject}?",
        "With how many {detail} is {subject} made?",
    ),
    "played_with": (
        "What is {subject} played with?",
        "With what do musicians play {subject}?",
        "How do you sound {subject}?",
        "{subject} is played using what?",
        "Name what a player of {subject} uses.",
        "What sets {subject}'s strings in motion?",
        "What do you need to play {subject}?",
    ),
    "part_material": (
        "What is the {detail} of {subject} made of?",
        "Which material forms the {detail} of {subject}?",
        "From what is {subject}'s {detail} made?",
        "{subject} has a {detail} of which material?",
        "Name the material of {subject}'s {detail}.",
        "Of what does the {detail} of {subject} consist?",
        "What serves as the {detail} of {subject}?",
    ),
    "shape": (
        "What is {subject} shaped like?",
        "Which shape does {subject} have?",
        "What does the body of {subject} look like?",
        "{subject} has the shape of what?",
        "Describe the shape of {subject}.",
        "What does {subject} resemble?",
        "To what is the form of {subject} compared?",
    ),
    # For any prose.
    "definition": (
        "What {detail} {subject}?",
        "Give a short definition of {subject}.",
        "How would you define {subject}?",
        "Describe {subject} in a few words.",
        "Say what {subject} {detail}.",
        "How can {subject} be described?",
    ),
    "attribute": (
        "What is the {detail} of {subject}?",
        "Which {detail} does {subject} have?",
        "State the {detail} of {subject}.",
        "{subject} has what {detail}?",
        "Tell me the {detail} of {subject}.",
        "Do you know the {detail} of {subject}?",
    ),
    "maker": (
        "By whom was {subject} {detail}?",
        "To whom do we owe that {subject} was {detail}?",
        "{subject} was {detail} by which person or group?",
        "Tell me by whom {subject} was {detail}.",
        "State the name of whoever {subject} was {detail} by.",
        "Do you know by whom {subject} was {detail}?",
    ),
    "event_year": (
        "When was {subject} {detail}?",
        "In which year was {subject} {detail}?",
        "{subject} was {detail} in what year?",
        "Tell me when {subject} was {detail}.",
        "State the year when {subject} was {detail}.",
        "Do you know when {subject} was {detail}?",
    ),
    "place": (
        "Where is {subject} found?",
        "Where would you look for {subject}?",
        "In which place is {subject}?",
        "Give the place of {subject}.",
        "State where {subject} is to be found.",
        "Tell me the whereabouts of {subject}.",
    ),
    "material": (
        "What is {subject} made of?",
        "Of what does {subject} consist?",
        "From what is {subject} made?",
        "Which material makes up {subject}?",
        "State what {subject} consists of.",
        "Which substance has {subject} been made of?",
    ),
    "contents": (
        "What does {subject} contain?",
        "What is contained in {subject}?",
        "Name what {subject} contains.",
        "{subject} contains what?",
        "What can be found inside {subject}?",
        "State the contents of {subject}.",
    ),
    "purpose": (
        "What {detail} {subject} used for?",
        "To what use {detail} {subject} put?",
        "State the use of {subject}.",
        "{subject} {detail} used for what?",
        "What purpose is served by {subject}?",
        "Tell me the purpose of {subject}.",
    ),
    "namesake": (
        "After whom or what is {subject} named?",
        "Where does {subject} get its name from?",
        "Who or what gave {subject} its name?",
        "{subject} is named after whom or what?",
        "Name the namesake of {subject}.",
        "Whose name does {subject} bear?",
    ),
    "other_name": (
        "What is {subject} called?",
        "By what other name is {subject} known?",
        "Give another name for {subject}.",
        "{subject} is known by which name?",
        "How else is {subject} called?",
        "Which other name has {subject}?",
    ),
    "meaning": (
        "What does {subject} mean?",
        "What does {subject} stand for?",
        "Give the meaning of {subject}.",
        "{subject} stands for what?",
        "How is {subject} to be understood?",
        "Explain what {subject} means.",
    ),
    "reason": (
        "Explain why {subject} {detail}.",
        "What is the reason that {subject} {detail}?",
        "Tell me why {subject} {detail}.",
        "Give the reason why {subject} {detail}.",
        "Which fact explains that {subject} {detail}?",
        "Say for what reason {subject} {detail}.",
    ),
}
# The forms of question that a teacher is asked for, and the relations that serve each; no relation serves two.
FORMS: Mapping[str, frozenset[str]] = {
    "fact": frozenset(WORDINGS) - {"definition", "reason", "purpose"},
    "definition": frozenset({"definition"}),
    "explanation": frozenset({"reason", "purpose"}),
}


def wordings_of(relation: str, *, detail: str = "") -> tuple[str, ...]:
    """The templates of one relation, `{subject}` still open."""
    return tuple(template.replace("{detail}", detail) for template in WORDINGS[relation])


def question(template: str, subject: str) -> str:
    """A template about a subject, as a sentence: `{subject}` may come first and then begins with a capital."""
    text = template.replace("{subject}", subject)
    return text[0].upper() + text[1:]


def pairs(facts: Sequence[Fact], *, form: str, seed: str) -> list[Pair]:
    """Every wording of every fact that the form asks for, each once.

    They come in rounds: each round asks for every fact once, in an order and in wordings of its own, so that the first
    pairs are about different facts and ask in different ways.
    """
    asked = [fact for fact in facts if fact.relation in FORMS.get(form, ())]
    orders = {fact: shuffled(wordings_of(fact.relation, detail=fact.detail), seed=f"{seed} {fact}") for fact in asked}
    rounds = max((len(order) for order in orders.values()), default=0)
    return [
        Pair(question=question(orders[fact][turn], fact.subject), answer=fact.object)
        for turn in range(rounds)
        for fact in shuffled(asked, seed=f"{seed} {turn}")
        if turn < len(orders[fact])
    ]
