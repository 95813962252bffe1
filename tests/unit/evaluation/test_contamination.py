from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.conversation import answered
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.contamination import contamination, giveaways, require_no_leak
from instructlab_pipeline.evaluation.items import Item

DOCUMENT = "The mill stands by the Aller.\n\nIt was built in 1873.\n\n## Wheel\n\nThe wheel is red."
QUESTION = "When was the old mill by the river Aller built?"


def item(question: str, context: str | None = None) -> Item:
    return Item(id="held-out", leaf="l", question=question, context=context, reference="1873")


def leaked(items: list[Item], records: list[dict]) -> list[str]:
    return [leak.item for leak in contamination(items, records).leaks]


def how(asked: Item, trained: dict) -> str | None:
    return next((leak.how for leak in contamination([asked], [trained]).leaks), None)


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
    assert how(asked, trained) == "same"


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
    assert how(asked, trained) is None


def test_only_what_the_user_said_counts():
    found = contamination([item(QUESTION)], [{"messages": [{"role": "assistant", "content": QUESTION}]}])
    assert (found.checked, found.records, found.leaks) == (1, 1, ())


LONG = (
    "In which year did the keeper of the old mill by the river Aller write his very last letter home to the children "
    "that he had left behind so long before, and what did he say in it about the wheel, the weather and the water?"
)


def test_nearly_the_same_words_are_a_leak_unless_a_number_or_a_name_differs():
    assert how(item(LONG), record(LONG.replace("water?", "wind?"), DOCUMENT)) == "near"
    assert how(item(LONG), record(LONG.replace("Aller", "Weser"), DOCUMENT)) is None
    assert how(item(LONG), record(LONG.replace("year", "year after 1850"), DOCUMENT)) is None


def test_a_question_with_one_word_in_ten_exchanged_is_near_where_the_answer_shares_a_word():
    for words in (["old"], ["old", "last"], ["old", "last", "long"]):
        reworded = LONG
        for word in words:
            reworded = reworded.replace(f" {word} ", " xyz ")
        assert how(item(LONG), record(reworded, DOCUMENT)) == "near"
    asked = f"{QUESTION[:-1]}, and by whom?"
    assert how(item(asked), record(asked.replace("old", "ancient"))) == "near"
    assert how(item(asked), record(asked.replace("old mill", "big tower"))) is None
    assert how(item(asked), record(asked.replace("Aller", "Weser"))) is None
    other = {"messages": answered(asked.replace("old", "ancient"), "Never.")}
    assert how(item(asked), other) is None


@pytest.mark.parametrize("wrapped", ["Q: {}\nA:", "Answer in one word. {}", "{} Give the year alone."])
def test_a_question_of_five_words_inside_of_the_paragraph_that_asks_is_a_leak(wrapped):
    assert how(item(QUESTION), record(wrapped.format(QUESTION), DOCUMENT)) == "inside"
    assert how(item(QUESTION), record("Who?", f"Often asked:\n\n{wrapped.format(QUESTION)}")) is None
    assert how(item(QUESTION, "Another text."), record(wrapped.format(QUESTION), DOCUMENT)) is None


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        ("What is 2+3?", "What is 2+4?"),
        ("What is 12 + 3?", "What is 12 - 3?"),
        ("What is 12 + 3?", "What is 1 + 23?"),
        ("What is the sum 12 + 3?", "What is the sum 12 + 3 - 4?"),
        ("name the capital of france.", "name the capital of finland."),
    ],
)
def test_very_short_questions_that_differ_in_a_sign_a_number_or_a_word_are_others(asked, trained):
    assert how(item(asked), record(trained)) is None


@pytest.mark.parametrize("trained", ["what is 12+3", "Answer in one word: What is 12 + 3?", "Add.\n\nWhat is 12 + 3 ?"])
def test_very_short_questions_are_found_however_they_are_written(trained):
    assert how(item("What is 12 + 3?"), record(trained)) is not None


def test_of_several_questions_that_are_given_away_the_first_is_named_each_time():
    """Whatever order a set happens to have: the dataset's bytes depend on it."""
    alike = [replace(item(QUESTION), id=name) for name in "hgfedcba"]
    assert giveaways(alike)(record(QUESTION)) == "a"
    assert giveaways(alike)(record("Who?")) is None


def test_a_question_without_words_is_no_other_one_without_words():
    assert how(item("🙂?"), record("What?\n\n---")) is None
    assert how(item("🙂?"), record("🙂?")) == "same"


def test_nearly_the_same_about_another_context_is_none():
    assert how(item(LONG, DOCUMENT), record(LONG.replace("water?", "wind?"), f"{QUESTION} {LONG}")) is None
    assert how(item(LONG, DOCUMENT), record(LONG.replace("water?", "wind?"), DOCUMENT)) == "near"


def test_a_long_question_inside_of_another_text_is_a_leak_and_a_short_one_is_not():
    assert how(item(LONG), record(f"Please answer quickly: {LONG.lower()} Thank you.")) == "inside"
    assert how(item("Who built the mill?"), record("Tell me: Who built the mill? And when?")) is None


def test_another_wording_is_not_near():
    assert how(item(QUESTION), record("What year saw the old mill go up?")) is None


def test_each_leaked_item_is_named_once_with_its_plainest_case_and_where_it_was():
    items = [item(LONG), Item(id="other", leaf="l", question="Why?", context=None, reference="x")]
    records = [{**record(text, DOCUMENT), "id": str(n)} for n, text in enumerate(["No?", f"Say: {LONG}", LONG, LONG])]
    (leak,) = contamination(items, records).leaks
    assert (leak.item, leak.how, leak.record) == ("held-out", "same", "2")


texts = st.lists(st.sampled_from(["mill", "Aller", "red", "\n\n", "the", "12"]), min_size=1, max_size=6).map(" ".join)


@given(texts, st.lists(st.tuples(texts, st.none() | texts), max_size=5), st.integers(0, 5))
def test_a_leak_is_found_wherever_it_stands(question, others, place):
    records = [record(other, context) for other, context in others]
    records.insert(place, record(question, DOCUMENT))
    assert leaked([item(question)], records) == ["held-out"]


SOME_WORDS = ["when", "was", "the", "old", "mill", "by", "river", "Aller", "built", "1873", "red", "wheel"]
WORDS = st.lists(st.sampled_from(SOME_WORDS), min_size=1)


@given(asked=st.lists(WORDS, min_size=1, max_size=3), trained=st.lists(WORDS, max_size=5))
def test_what_gives_no_question_away_holds_no_leak(asked, trained):
    items = [
        Item(id=str(n), leaf="l", question=" ".join(words), context=None, reference="1873")
        for n, words in enumerate(asked)
    ]
    records = [record(" ".join(words), DOCUMENT) for words in trained]
    tells = giveaways(items)
    kept = [each for each in records if tells(each) is None]
    assert contamination(items, kept).leaks == ()
    assert (len(kept) < len(records)) == bool(contamination(items, records).leaks)


def test_questions_that_leaked_are_refused_by_name_and_the_rest_is_counted():
    items = [Item(id=f"{n:02}", leaf="l", question=f"Number {n}?", context=None, reference="x") for n in range(30)]
    records = [{**record(f"Number {n}?"), "id": f"r{n}"} for n in range(22)]
    require_no_leak(contamination(items, records[:0]))
    with pytest.raises(SourceError, match=r"^22 of 30 .*: 00 \(the same as in record r0\); .* r19\); and 2 more$"):
        require_no_leak(contamination(items, records))
