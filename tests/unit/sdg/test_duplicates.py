from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.likeness import is_near, print_of
from instructlab_pipeline.sdg.duplicates import Kept, alike

LONG = " ".join(f"word{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(80))


def twins(one, other):
    kept = Kept(alike=alike([one, other]))
    kept.add(0)
    return kept.twin_of(1) == 0


def test_case_punctuation_articles_and_spaces_make_no_difference():
    assert twins("What is the largest moon of Saturn?", "what is  largest moon of saturn")
    assert twins("Don't go!", "Dont go")


def test_wordings_of_one_fact_are_different_questions():
    wordings = [
        "How many days does Titan take to circle Saturn?",
        "How many days does it take Titan to circle Saturn?",
        "In how many days does Titan circle Saturn?",
        "Titan circles Saturn in how many days?",
    ]
    assert not any(twins(one, other) for one in wordings for other in wordings if one != other)


def test_one_other_number_name_or_short_word_makes_another_question():
    assert not twins("Which moon was found in 1655?", "Which moon was found in 1656?")
    assert not twins(f"{LONG} of Titan", f"{LONG} of Rhea")
    assert not twins(f"{LONG} in 1655", f"{LONG} in 1656")
    assert not twins("Sort these: pear, fig, plum.", "Sort these: pear, fig, kiwi.")


def test_a_long_text_that_was_only_touched_up_is_the_same():
    assert twins(LONG, LONG.replace("wordbb", "other"))


def test_the_twin_that_is_named_is_one_that_was_kept():
    kept = Kept(alike=alike(["Who?", "Why?", "who", "WHO!"]))
    assert kept.twin_of(0) is None
    kept.add(2)
    assert [kept.twin_of(number) for number in range(4)] == [2, None, 2, 2]


def test_no_text_at_all_is_like_nothing():
    assert alike([]).near == {}


words = st.lists(st.sampled_from(["red", "blue", "green", "12", "Titan", "is", "a"]), max_size=30).map(" ".join)


@settings(max_examples=60)
@given(st.lists(words, max_size=12), words, st.integers(0, 29), st.sampled_from([0, 1100]))
def test_minhash_finds_what_comparing_each_with_each_finds(texts, text, place, others):
    touched_up = " ".join(text.split()[:place] + text.split()[place + 1 :])
    texts = [*texts, text, touched_up]
    found = alike([*texts, *(f"one of many {number}" for number in range(others))])
    prints = [print_of(text) for text in texts]
    for one, first in enumerate(found.first[: len(texts)]):
        assert prints[one].bare == prints[first].bare
        near = {found.first[other] for other in range(len(texts)) if is_near(prints[first], prints[other])}
        assert {first, *found.near.get(first, ())} == near
