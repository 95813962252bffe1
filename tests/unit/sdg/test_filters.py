import pytest

from instructlab_pipeline.sdg.filters import flaw


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"question": "", "answer": "A"}, "empty_field"),
        ({"question": "Who?", "answer": " ... "}, "empty_field"),
        ({"question": "Who?", "answer": "x" * 30_000}, "too_long"),
        ({"answer": "I'm sorry, but I can't help with that."}, "refusal"),
        ({"answer": "I\u2019m sorry, but no."}, "refusal"),
        ({"answer": "As an AI, I have no opinion."}, "refusal"),
        ({"question": "What does the passage say about moons?", "answer": "Much."}, "points_at_document"),
        ({"question": "According to the given text, how many are there?", "answer": "12"}, "points_at_document"),
    ],
)
def test_each_flaw_has_its_reason(fields, reason):
    found = flaw(fields, about_document=True)
    assert found is not None
    assert found[0] == reason


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "How many moons are there?", "answer": "12"},
        {"question": "Which document ended the war?", "answer": "A letter."},
        {"question": "Wer?", "answer": "\u54c8"},
        {"answer": "I cannot recommend it enough, said the critic."},
    ],
)
def test_what_has_no_flaw_passes(fields):
    assert flaw(fields, about_document=True) is None


def test_a_skill_may_speak_of_its_text_and_a_context_may_apologise():
    assert flaw({"question": "Sum up the text above."}, about_document=False) is None
    assert flaw({"context": "I'm sorry, but the parcel is late."}, about_document=False) is None
