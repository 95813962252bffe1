from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.model.pace import STAYS, Pace


def paced(line, looks, *, fewest=2, most=16):
    """How many connections there were, without repetitions, on a line that brings `line(number)` bytes a second."""
    pace, numbers = Pace(fewest=fewest, most=most), []
    for _ in range(looks):
        numbers.append(pace.number)
        pace.hear(line(pace.number))
    return [number for number, _ in groupby(numbers)]


def test_as_many_slow_connections_are_opened_as_bring_plenty():
    assert paced(lambda number: 50e6 * number, 100) == [2, 16]
    assert paced(lambda number: 80e6 * number, 100) == [2, 10, 16]


def test_a_line_that_is_full_keeps_the_few():
    assert paced(lambda _: 600e6, STAYS) == [2, 4, 2]
    assert paced(lambda _: 100e6, STAYS) == [2, 16, 2]


def test_the_number_settles_where_the_line_is_full():
    assert paced(lambda number: min(150e6 * number, 1000e6), STAYS) == [2, 5, 10, 16, 10]
    assert paced(lambda number: min(150e6 * number, 800e6), STAYS) == [2, 5, 10, 5]


def test_a_line_that_gets_wider_is_noticed_after_a_while():
    pace = Pace(fewest=2, most=16)
    for _ in range(STAYS):
        pace.hear(400e6)
    assert pace.number == 2
    for _ in range(STAYS):
        pace.hear(100e6 * pace.number)
    assert pace.number == 16


def test_new_connections_have_a_look_of_time_to_get_going():
    pace = Pace(fewest=2, most=4)
    for rate in (100e6, 10e6, 200e6, 200e6):
        pace.hear(rate)
    assert pace.number == 4


def test_a_line_that_slows_down_keeps_what_has_paid():
    pace = Pace(fewest=2, most=16)
    for rate in (100e6, 100e6, 800e6, 100e6, 100e6, 100e6):
        pace.hear(rate)
    assert pace.number == 16


def test_a_server_that_says_nothing_is_not_asked_by_ever_more():
    assert paced(lambda _: 0.0, STAYS) == [2, 4, 2]


@given(st.lists(st.floats(0, 1e9), max_size=100), st.integers(1, 4), st.integers(4, 32))
def test_there_are_never_fewer_or_more_than_was_said(rates, fewest, most):
    pace = Pace(fewest=fewest, most=most)
    for rate in rates:
        pace.hear(rate)
        assert fewest <= pace.number <= most
