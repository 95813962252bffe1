from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.model.spans import Spans

SIZE = 60
spans = st.tuples(st.integers(0, SIZE), st.integers(1, SIZE)).map(lambda pair: (pair[0], min(pair[0] + pair[1], SIZE)))


def filled(added):
    spans = Spans()
    for start, end in added:
        spans.add(start, end)
    return spans


@given(st.lists(spans))
def test_what_is_missing_is_all_that_was_not_added(added):
    there = {position for start, end in added for position in range(start, end)}
    missing = filled(added).missing(SIZE)
    assert [position for span in missing for position in range(*span)] == sorted(set(range(SIZE)) - there)
    assert all(end < following for (_, end), (following, _) in pairwise(missing))


@given(st.lists(spans), st.integers(0, SIZE))
def test_the_reach_goes_to_the_first_hole(added, position):
    there = {position for start, end in added for position in range(start, end)}
    hole = next(place for place in range(position, SIZE + 1) if place not in there)
    assert filled(added).reach(position) == hole
