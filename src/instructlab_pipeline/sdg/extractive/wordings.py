"""The questions that can be asked about a fact: one template per wording, the same answer for all of them.

`{subject}` is what the fact is about; `{detail}` is the word that some relations leave open, such as what is counted.
Practice text about other subjects can be written from the same table by `wordings_of`.
"""

from collections.abc import Mapping

WORDINGS: Mapping[str, tuple[str, ...]] = {
    # Told of one thing in one way: the relations of the demo's documents, and of any prose that puts things so.
    "orbits": (
        "What does {subject} orbit?",
        "Around which body does {subject} travel?",
        "Name the body that {subject} circles.",
        "{subject} goes round which body?",
        "Which body has {subject} in orbit?",
        "{subject} is in orbit around what?",
        "What is at the centre of {subject}'s orbit?",
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
        "How far is it through the middle of {subject}?",
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
        "Under which number is {subject} in the periodic table?",
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
        "{subject} shared its old sign with which heavenly body?",
    ),
    "location": (
        "Where is {subject}?",
        "Where can you find {subject}?",
        "What is the location of {subject}?",
        "{subject} stands where?",
        "In what place would you visit {subject}?",
        "State where {subject} is.",
        "Travellers find {subject} in which place?",
    ),
    "crosses": (
        "What does {subject} cross?",
        "Which water lies under {subject}?",
        "Over what does {subject} lead?",
        "{subject} crosses what?",
        "Name what {subject} spans.",
        "What do people cross on {subject}?",
        "What flows beneath {subject}?",
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
        "{subject} is an example of which design?",
        "Name the design of {subject}.",
        "How would an engineer classify {subject}?",
        "What kind of construction is {subject}?",
    ),
    "main_span": (
        "How long is the main span of {subject}?",
        "What length has {subject}'s main span?",
        "How far does {subject} reach in one span?",
        "{subject} has a main span of what length?",
        "State the main span of {subject}.",
        "What does the longest span of {subject} measure?",
        "Between its main supports, how long is {subject}?",
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
        "What does it take to play {subject}?",
    ),
    "part_material": (
        "What is the {detail} of {subject} made of?",
        "Which material forms the {detail} of {subject}?",
        "From what is {subject}'s {detail} made?",
        "{subject} has a {detail} of which material?",
        "Name the material of {subject}'s {detail}.",
        "Of what does the {detail} of {subject} consist?",
        "What do makers use for the {detail} of {subject}?",
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
}


def wordings_of(relation: str, *, detail: str = "") -> tuple[str, ...]:
    """The templates of one relation, `{subject}` still open."""
    return tuple(template.replace("{detail}", detail) for template in WORDINGS[relation])


def question(template: str, subject: str) -> str:
    """A template about a subject, as a sentence: `{subject}` may come first and then begins with a capital."""
    text = template.replace("{subject}", subject)
    return text[0].upper() + text[1:]
