"""Which texts are the same question, and which signs make another one."""

import unicodedata

import pytest

from instructlab_pipeline.likeness import bare, is_near, print_of

SUM = "A farmer who lives by the old mill wants to know what comes out of it when she works out {} with care"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 12 + 3?", "What is 12 - 3?"),
        ("What is 12+3?", "What is 1+23?"),
        ("What is 12-3?", "What is 12*3?"),
        ("What is 12 / 3?", "What is 12 × 3?"),  # noqa: RUF001 - as people write it
        ("What is 2 * (3 + 4)?", "What is 2 * (3 - 4)?"),
        ("What is 2 + -3?", "What is 2 + 3?"),
        ("Solve x + 3 = 7.", "Solve x - 3 = 7."),
        ("Is x < y?", "Is x > y?"),
        ("What is 3.5 plus 1?", "What is 35 plus 1?"),
        ("Is -5 even?", "Is 5 even?"),
        ("What is 50% of 80?", "What is 50 of 80?"),
        ("How many yen are €5?", "How many yen are £5?"),
        ("Who made C#?", "Who made C?"),
        ("Who made C++?", "Who made C?"),
        ("What is 5²?", "What is 52?"),
    ],
)
def test_a_sign_makes_another_question(one, other):
    assert bare(one) != bare(other)
    assert not is_near(print_of(SUM.format(one)), print_of(SUM.format(other)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 12+3?", "what is 12 + 3"),
        ("What is 12-3?", "What is 12 − 3?"),  # noqa: RUF001 - the minus sign
        ("From 1990-1995?", "From 1990–1995?"),  # noqa: RUF001 - a range
        ("How many people had 1,000 coins?", "How many people had 1000 coins"),
        ("Who wrote the e-mail? (A well-known one.)", "who wrote the email a wellknown one"),
        ("- Which mill?", "Which mill"),
        ("The mill - an old one - stands.", "The mill, an old one, stands."),
        ("Is it 5.", "is it 5"),
        (unicodedata.normalize("NFC", "Où est le café ?"), unicodedata.normalize("NFD", "Où est le café?")),
    ],
)
def test_other_punctuation_and_other_ways_to_write_a_sign_make_no_difference(one, other):
    assert bare(one) == bare(other)
