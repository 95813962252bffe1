from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.model.pace import STAYS, Pace


def paced(line, looks, *, fewest=2, most=16):
    """How many connections there were at each look, on a line that brings `line(number)` bytes a second."""
    pace, numbers = Pace(fewest=fewest, most=most), []
    for _ in range(looks):
        numbers.append(pace.number)
        pace.hear(line(pace.number))
    return numbers


def test_connections_that_are_slow_each_are_doubled_until_there_are_most():
    assert paced(lambda number: 50e6 * number, 6) == [2, 4, 8, 16, 16, 16]


def test_a_line_that_is_full_keeps_the_few():
    assert paced(lambda _: 400e6, 5) == [2, 4, 2, 2, 2]


def test_the_number_settles_where_the_line_is_full():
    assert paced(lambda number: min(50e6 * number, 380e6), 7) == [2, 4, 8, 16, 8, 8, 8]


def test_a_line_that_gets_wider_is_noticed_after_a_while():
    pace = Pace(fewest=2, most=16)
    for _ in range(STAYS):
        pace.hear(400e6)
    for _ in range(STAYS):
        pace.hear(100e6 * pace.number)
    assert pace.number == 16


def test_a_server_that_says_nothing_is_not_asked_by_ever_more():
    assert paced(lambda _: 0.0, 5) == [2, 4, 2, 2, 2]


@given(st.lists(st.floats(0, 1e9), max_size=100), st.integers(1, 4), st.integers(4, 32))
def test_there_are_never_fewer_or_more_than_was_said(rates, fewest, most):
    pace = Pace(fewest=fewest, most=most)
    for rate in rates:
        pace.hear(rate)
        assert fewest <= pace.number <= most
