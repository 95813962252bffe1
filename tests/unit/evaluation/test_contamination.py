import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.conversation import answered
from instructlab_pipeline.evaluation.contamination import contamination
from instructlab_pipeline.evaluation.items import Item

DOCUMENT = "The mill stands by the Aller.\n\nIt was built in 1873.\n\n## Wheel\n\nThe wheel is red."
QUESTION = "When was the old mill by the river Aller built?"


def item(question: str, context: str | None = None) -> Item:
    return Item(id="held-out", leaf="l", question=question, context=context, reference="1873")


def record(question: str, context: str | None = None) -> dict:
    return {"messages": [{"role": "system", "content": QUESTION}, *answered(question, "1873", context=context)]}


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        (item(QUESTION), record(QUESTION)),
        (item(QUESTION), record("  when was OLD mill by the river Aller built")),
        (item(QUESTION), record(QUESTION, DOCUMENT)),
        (item("One.\n\nTwo?"), record("One.\n\nTwo?", DOCUMENT)),
        (item(QUESTION, DOCUMENT), record(QUESTION, DOCUMENT)),
    ],
)
def test_a_question_that_was_trained_on_is_a_leak(asked, trained):
    assert contamination([asked], [trained]).leaks == ("held-out",)


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        (item(QUESTION), record("Who built the mill?", DOCUMENT)),
        (item("The wheel is red."), record(QUESTION, DOCUMENT)),
        (item("Sort the text.", "First text."), record("Sort the text.", "Another text.")),
        (item("Sort the text.", "First text."), record("Sort the text.")),
        (item(QUESTION, "Some text."), record(QUESTION, DOCUMENT)),
    ],
)
def test_another_question_or_the_same_about_another_context_is_none(asked, trained):
    assert contamination([asked], [trained]).leaks == ()


def test_only_what_the_user_said_counts():
    found = contamination([item(QUESTION)], [{"messages": [{"role": "assistant", "content": QUESTION}]}])
    assert (found.checked, found.records, found.leaks, found.near_duplicates) == (1, 1, (), ())


def test_a_question_with_one_other_word_is_counted_as_near():
    long = "In which year did the keeper of the old mill by the river Aller write his very last letter home?"
    found = contamination([item(long)], [record(long.replace("home", "back"), DOCUMENT)])
    assert (found.leaks, found.near_duplicates) == ((), ("held-out",))


def test_another_wording_is_not_near():
    assert contamination([item(QUESTION)], [record("What year saw the old mill go up?")]).near_duplicates == ()


texts = st.lists(st.sampled_from(["mill", "Aller", "red", "\n\n", "the", "12"]), min_size=1, max_size=6).map(" ".join)


@given(texts, st.lists(st.tuples(texts, st.none() | texts), max_size=5), st.integers(0, 5))
def test_a_leak_is_found_wherever_it_stands(question, others, place):
    records = [record(other, context) for other, context in others]
    records.insert(place, record(question, DOCUMENT))
    assert contamination([item(question)], records).leaks == ("held-out",)
