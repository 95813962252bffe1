import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.sdg.extractive.facts import NEVER_IN_A_SUBJECT, Fact, facts_of
from instructlab_pipeline.sdg.extractive.wordings import WORDINGS, pairs


def stated(document):
    return [(fact.relation, fact.subject, fact.object) for fact in facts_of(document)]


@pytest.mark.parametrize(
    ("sentence", "fact"),
    [
        ("Coffee is a drink made of roasted beans.", ("definition", "Coffee", "a drink made of roasted beans")),
        ("The capital of France is Paris.", ("attribute", "France", "Paris")),
        ("Mount Everest has an elevation of 8,849 metres.", ("attribute", "Mount Everest", "8,849 metres")),
        ("Penicillin was discovered by Alexander Fleming.", ("discoverer", "Penicillin", "Alexander Fleming")),
        ("The French Press was patented by Paul-Louis Simon.", ("maker", "the French Press", "Paul-Louis Simon")),
        ("Mount Holyoke College was founded in 1837.", ("event_year", "Mount Holyoke College", "1837")),
        ("A honey bee has six legs.", ("count", "a honey bee", "six")),
        ("Lisbon lies on the river Tagus, near the sea.", ("place", "Lisbon", "on the river Tagus")),
        ("Brass is made of copper and zinc.", ("material", "Brass", "copper and zinc")),
        ("Milk contains fat, protein and sugar, among others.", ("contents", "Milk", "fat, protein and sugar")),
        ("Graphite is used as a lubricant.", ("purpose", "Graphite", "as a lubricant")),
        ("Bolivia was named after Simon Bolivar.", ("namesake", "Bolivia", "Simon Bolivar")),
        ("Sodium chloride is known as table salt.", ("other_name", "Sodium chloride", "table salt")),
        ("HTML stands for hypertext markup language.", ("meaning", "HTML", "hypertext markup language")),
        ("Ice floats because it is lighter than water.", ("reason", "Ice", "because it is lighter than water")),
        ("On the stove, tin melts at 231.9 degrees Celsius.", ("melting_point", "tin", "231.9 degrees Celsius")),
    ],
)
def test_a_sentence_gives_its_fact(sentence, fact):
    assert stated(sentence) == [fact]


@pytest.mark.parametrize(
    "sentence",
    [
        "It is a metal.",
        "This was the end.",
        "There is a house in New Orleans.",
        "The boiler is a small tank.",
        "He was a German composer.",
        "Which is a pity.",
        "The rest of the deck is concrete.",
        "Io is the first of four.",
        "Is tin a metal?",
        "Run, run, run.",
        "This text is a test.",
        "Io never orbits Mars.",
        "Some say that Io orbits Mars.",
        "The story goes that Io orbits Mars, does it?",
        "If Io orbits Mars, a probe can land.",
    ],
)
def test_what_would_not_be_clear_alone_is_passed_over(sentence):
    assert stated(sentence) == []


def test_a_definite_noun_is_clear_where_the_document_is_about_it():
    sentence = "The boiler is a small tank."
    assert stated(f"# The boiler\n\n{sentence}") == [("definition", "the boiler", "a small tank")]
    assert stated(f"Clean a boiler daily. Never open a boiler. {sentence}") != []


def test_a_common_noun_loses_the_capital_of_the_sentences_beginning():
    assert stated("Tin melts at 232 degrees Celsius. Most tin is grey.")[0][1] == "tin"
    assert stated("Tin melts at 232 degrees Celsius. Nobody knew.")[0][1] == "Tin"


def test_one_sentence_may_state_two_facts():
    assert stated("Titan was discovered by Christiaan Huygens in 1655.") == [
        ("discoverer", "Titan", "Christiaan Huygens"),
        ("discovery_year", "Titan", "1655"),
    ]


def test_the_first_of_two_answers_to_one_question_is_kept():
    assert stated("Tin is a metal. Tin is an element.") == [("definition", "Tin", "a metal")]


def test_an_object_that_is_too_long_is_no_answer():
    assert stated(f"Tin is a {' '.join(['very'] * 20)} grey metal.") == []


@given(st.text(max_size=300))
def test_no_document_is_too_strange(document):
    for fact in facts_of(document):
        assert fact.relation in WORDINGS
        assert fact.object
        assert not NEVER_IN_A_SUBJECT.intersection(fact.subject.lower().split())


FACTS = [Fact(relation="orbits", subject=name, object="Jupiter") for name in ("Io", "Europa", "Ganymede")]


def test_pairs_are_every_wording_of_every_fact_once():
    made = pairs(FACTS, form="fact", seed="any")
    assert len(set(made)) == len(made) == 3 * len(WORDINGS["orbits"])


def test_each_round_of_pairs_asks_for_every_fact():
    made = pairs(FACTS, form="fact", seed="any")
    for start in range(0, len(made), 3):
        asked = " ".join(pair.question for pair in made[start : start + 3])
        assert all(name in asked for name in ("Io", "Europa", "Ganymede"))


def test_the_order_of_pairs_hangs_on_the_seed_alone():
    assert pairs(FACTS, form="fact", seed="one") == pairs(FACTS, form="fact", seed="one")
    assert pairs(FACTS, form="fact", seed="one") != pairs(FACTS, form="fact", seed="two")


def test_forms_share_no_relation():
    mixed = [Fact(relation=relation, subject="Io", object="x", detail="is") for relation in WORDINGS]
    served = [set(pairs(mixed, form=form, seed="any")) for form in ("fact", "definition", "explanation")]
    assert sum(map(len, served)) == len(set().union(*served)) > 0
    assert pairs(mixed, form="comparison", seed="any") == []
