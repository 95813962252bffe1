from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.sdg.duplicates import Seen, _print_of, near

LONG = " ".join(f"word{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(80))


def twins(one, other):
    seen = Seen()
    seen.add(one)
    return seen.twin_of(other) is not None


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


words = st.lists(st.sampled_from(["red", "blue", "green", "12", "Titan", "is", "a"]), min_size=1, max_size=30).map(
    " ".join
)


@given(st.lists(words, max_size=12), words)
def test_the_index_finds_what_comparing_with_each_finds(texts, text):
    seen = Seen()
    for other in texts:
        seen.add(other)
    found = _print_of(text)
    expected = any(found.bare == _print_of(other).bare or near(found, _print_of(other)) for other in texts)
    assert (seen.twin_of(text) is not None) == expected
