"""What the judge is asked, and what its replies mean."""

import pytest

from instructlab_pipeline.evaluation.grading import Judgement
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.judge import choice, choosing, first_usable, judgement, marking, preference

ITEM = Item(id="1", leaf="l", question="How deep?", context=None, reference="12 m")


def test_the_judge_sees_question_reference_and_answer_and_nothing_else():
    asked = marking(ITEM, "Twelve metres.").messages[-1]["content"]
    assert asked == (
        "<question>\nHow deep?\n</question>\n<reference>\n12 m\n</reference>\n<answer>\nTwelve metres.\n</answer>"
    )


def test_another_attempt_differs_by_its_seed_alone():
    asked = marking(ITEM, "12")
    first, second = asked.request("m", 0), asked.request("m", 1)
    assert (first.pop("seed"), second.pop("seed")) == (0, 1)
    assert first == second


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"reason": "same", "correct": true, "mark": 5}', 1.0),
        ('```json\n{"correct": true, "mark": 3}\n```', 0.5),
        ('<think>{hm</think> Here: {"correct": true, "mark": 1}', 0.0),
        ('Half of it, \\frac{1}{2}, is right: {"correct": false, "mark": 2}', 0.25),
        ('It claims {"correct": true, "mark": 5}, but: {"correct": false, "mark": 1} {sic}', 0.0),
        ('{"reason": "{\\"a\\": 1}", "correct": true, "mark": 4}', 0.75),
        ("Rating: [[7]]", None),
        ("8/10", None),
        ('{"a":' * 100_000, None),
        ('{"correct": "yes", "mark": 5}', None),
        ('{"correct": true, "mark": 6}', None),
        ('{"correct": true, "mark": true}', None),
        ('{"correct": true}', None),
        ('{"correct": true, "mark": 5', None),
        ("[1]", None),
        ("", None),
    ],
)
def test_a_mark_from_1_to_5_becomes_a_score_from_0_to_1_or_is_not_as_asked(text, score):
    opinion = judgement(text)
    assert (None if opinion is None else opinion.score) == score


def test_a_reason_can_be_written_to_a_file():
    opinion = judgement('{"reason": "so \\ud83d it is", "correct": true, "mark": 5}')
    assert opinion is not None
    assert opinion.reason == "so ? it is"


def test_a_choice_is_one_of_the_three_words():
    assert choice('{"reason": "nearer", "better": "first"}') == ("first", "nearer")
    assert choice('{"reason": "nearer", "better": "A"}') is None


@pytest.mark.parametrize(
    ("base_first", "tuned_first", "tuned"),
    [
        ("second", "first", 1.0),
        ("first", "second", 0.0),
        ("first", "first", 0.5),  # whoever stands first
        ("second", "second", 0.5),
        ("neither", "neither", 0.5),
        ("second", "neither", 0.5),
    ],
)
def test_a_preference_counts_only_where_it_survives_the_exchange(base_first, tuned_first, tuned):
    assert preference((base_first, ""), (tuned_first, "")).tuned == tuned


def test_a_preference_with_one_order_missing_is_none():
    assert preference(None, ("first", "")) is None
    assert preference(("first", ""), None) is None


def test_the_two_orders_ask_with_the_answers_exchanged():
    there, back = (choosing(ITEM, *pair).messages[-1]["content"] for pair in (("a", "b"), ("b", "a")))
    assert "<first>\na\n</first>\n<second>\nb\n</second>" in there
    assert "<first>\nb\n</first>\n<second>\na\n</second>" in back


def test_the_first_reply_that_can_be_used_is_taken():
    replies = [None, "what?", '{"correct": false, "mark": 2, "reason": "r"}', '{"correct": true, "mark": 5}']
    assert first_usable(replies, judgement) == Judgement(correct=False, score=0.25, reason="r")
    assert first_usable(replies[:2], judgement) is None
