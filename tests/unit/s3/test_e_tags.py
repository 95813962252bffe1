from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.s3.e_tags import MAX_GUESSES, MEBIBYTE, num_parts, part_sizes


@given(st.integers(1, 20_000_000_000), st.sampled_from([5, 8, 16, 50, 64, 100, 512]))
def test_the_usual_sizes_of_parts_are_found(size, mib):
    parts = -(-size // (mib * MEBIBYTE))
    assert mib * MEBIBYTE in part_sizes(size, parts) or parts == 1


@given(st.integers(1, 20_000_000_000), st.integers(1, 10_000))
def test_every_guess_makes_as_many_parts(size, parts):
    guesses = part_sizes(size, parts)
    assert len(guesses) == len(set(guesses)) <= MAX_GUESSES
    assert all(-(-size // guess) == parts for guess in guesses)


def test_a_tag_says_in_how_many_parts_it_came():
    plain = "0123456789abcdef0123456789abcdef"
    assert [num_parts(tag) for tag in (plain, f"{plain}-12", f"{plain}-0", "", "abc", f'"{plain}"')] == [
        *(0, 12, None),
        *(None, None, None),
    ]
