from dataclasses import replace

import pytest

from instructlab_pipeline.sdg.filters import flaw, is_refusal, manner_of

ENGLISH = {
    "question": manner_of(["What is the largest of the moons that circle Saturn, and who was the first to see it?"]),
    "answer": manner_of(["Titan, which was found by Huygens in the spring of 1655, is the largest of them all."]),
}
GERMAN = "Der Mond ist der einzige natürliche Satellit der Erde und er kreist um sie in 27 Tagen."


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"question": "", "answer": "A"}, "empty_field"),
        ({"question": "Who?", "answer": " ... "}, "empty_field"),
        ({"question": "Who?", "answer": "x" * 30_000}, "too_long"),
        ({"answer": "I'm sorry, but I can't help with that."}, "refusal"),
        ({"answer": "I’m sorry, I am not able to write that."}, "refusal"),  # noqa: RUF001 - as models write it
        ({"answer": "Unfortunately, I do not have access to the document."}, "refusal"),
        ({"answer": "I cannot provide medical advice."}, "refusal"),
        ({"answer": "As an AI, I have no opinion."}, "refusal"),
        ({"question": "What does the passage say about moons?", "answer": "Much."}, "points_at_document"),
        ({"question": "According to the given text, how many are there?", "answer": "12"}, "points_at_document"),
        ({"question": "Сколько лун у Сатурна?"}, "other_language"),  # noqa: RUF001 - Russian
        ({"answer": "土星最大的卫星是泰坦。"}, "other_language"),
        ({"answer": GERMAN}, "other_language"),
    ],
)
def test_each_flaw_has_its_reason(fields, reason):
    found = flaw(fields, ENGLISH, about_document=True)
    assert found is not None
    assert found[0] == reason


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "How many moons are there?", "answer": "12"},
        {"question": "Which document ended the war?", "answer": "A letter."},
        {"question": "Wer?", "answer": "Titan (Τιτάν)"},
        {"answer": "I cannot recommend it enough, said the critic."},
        {"answer": "I'm sorry to hear that your parcel is late; we will send another one today."},
        {"answer": "Johann Sebastian Bach, Wolfgang Amadeus Mozart, Ludwig van Beethoven, Franz Schubert, Clara"},
        {"answer": "for i in range(10):\n    print(i, end=' ')\nelse:\n    return None"},
        {"other": GERMAN},
    ],
)
def test_what_has_no_flaw_passes(fields):
    assert flaw(fields, ENGLISH, about_document=True) is None


def test_a_skill_may_speak_of_its_text_and_a_context_may_apologise():
    letters = {**ENGLISH, "context": replace(manner_of(["I'm sorry, but I can't come."]), scripts=frozenset())}
    assert flaw({"question": "Sum up the text above."}, letters, about_document=False) is None
    assert flaw({"context": "I'm sorry, but I cannot pay."}, letters, about_document=False) is None


def test_where_the_seed_examples_refuse_refusing_is_the_lesson():
    manners = {"answer": manner_of(["I'm sorry, but I can't help with weapons.", "Here is a cake."])}
    assert flaw({"answer": "I'm sorry, but I cannot help with poisons."}, manners, about_document=False) is None


def test_a_leaf_in_another_language_wants_that_language():
    manners = {"answer": manner_of([GERMAN])}
    assert flaw({"answer": GERMAN.replace("Mond", "Trabant")}, manners, about_document=False) is None
    english = "The moon is the only natural satellite of the earth and it circles it in 27 days."
    found = flaw({"answer": english}, manners, about_document=False)
    assert found is not None
    assert "English" in found[1]


def test_a_refusal_shows_itself_at_the_beginning():
    assert not is_refusal("He wrote: I'm sorry, but I can't come.")
