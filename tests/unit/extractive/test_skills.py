import pytest

from instructlab_pipeline.sdg.extractive import notices, quarters, routing
from instructlab_pipeline.sdg.extractive.skills import Example, skill_for
from instructlab_pipeline.sdg.extractive.variety import likeness, varied, words_of


@pytest.mark.parametrize(
    ("instruction", "quarter"),
    [
        ("What quarter is 31 March 2019 in?", "Q1"),
        ("What quarter is 1 April 2019 in?", "Q2"),
        ("Name the quarter that September 30, 2021 belongs to.", "Q3"),
        ("Give the quarter for December 24, 1801.", "Q4"),
        ("Give the quarter for 31 April 2019.", None),
        ("Give the quarter for the third of March.", None),
        ("What happened on 3 March 2019?", None),
    ],
)
def test_a_date_lies_in_a_quarter_where_it_exists(instruction, quarter):
    assert quarters.answer(instruction, None) == quarter


@pytest.mark.parametrize(
    ("instruction", "team"),
    [
        ("Route this message: My parcel was left in the rain.", "delivery"),
        ("Which team should read this? I lost my password.", "accounts"),
        ("Route this message: The bill came with the parcel.", None),
        ("Route this message: Hello!", None),
        ("My parcel never came.", None),
    ],
)
def test_a_message_goes_to_the_one_team_whose_words_it_uses(instruction, team):
    assert routing.answer(instruction, None) == team


@pytest.mark.parametrize(
    ("instruction", "answer"),
    [
        ("On which day does the choir meet?", "Friday"),
        ("Which room belongs to the choir?", "the red room"),
        ("On which day does the film club meet?", None),
        ("Who leads the choir?", None),
    ],
)
def test_a_notice_answers_what_it_says(instruction, answer):
    assert notices.answer(instruction, "Every Friday the red room belongs to the choir.") == answer


def test_a_notice_with_two_days_answers_no_question_about_the_day():
    notice = "On Friday and Sunday the choir is in the red room."
    assert notices.answer("On which day does the choir meet?", notice) is None


def test_a_skill_takes_a_task_by_any_example_that_it_understands():
    strange = Example(question="Name a tree.", context=None)
    known = Example(question="What quarter is 3 March 2019 in?", context=None)
    assert skill_for([strange, known]).name == "quarters"
    assert skill_for([strange]) is None
    assert skill_for([]) is None


def test_varied_sentences_are_never_too_alike_and_always_the_same():
    sentences = [f"{verb} the {colour} {thing} now" for verb in "abc" for colour in "defg" for thing in "hijk"]
    chosen = varied(sentences, count=10, seed="x")
    assert chosen == varied(iter(sentences), count=10, seed="x")
    assert all(likeness(words_of(a), words_of(b)) < 0.75 for a in chosen for b in chosen if a != b)
