import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.report.scales import Scale, thinned, ticks

POSITIVE = st.floats(1e-6, 1e9)


@given(low=st.floats(-1e6, 1e6), width=POSITIVE)
def test_ticks_are_few_lie_inside_and_are_evenly_spaced(low, width):
    high = low + width
    found = ticks(low, high)
    if not high > low:
        return
    assert 1 <= len(found) <= 6
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)
    gaps = {round((after - before) / width, 6) for before, after in itertools.pairwise(found)}
    assert len(gaps) <= 1 or max(gaps) - min(gaps) < 1e-4


def test_ticks_are_numbers_that_people_like():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0, 315) == [0, 100, 200, 300]
    assert ticks(3, 3) == [3]


def test_a_scale_maps_its_ends_to_its_ends():
    scale = Scale(low=2, high=4, start=100, end=0)
    assert [scale(2), scale(3), scale(4)] == [100, 50, 0]
    assert Scale(low=1, high=1, start=7, end=9)(1) == 7


@given(st.lists(st.floats(0, 100), max_size=900), st.integers(1, 50))
def test_thinning_keeps_the_mean_and_the_bound(values, most):
    points = list(enumerate(values))
    kept = thinned(points, most=most)
    assert len(kept) <= max(most, 0) or kept == points
    assert len(kept) == min(len(points), most)
    if values and len(values) % most == 0:
        mean = sum(y for _, y in kept) / len(kept)
        assert math.isclose(mean, sum(values) / len(values), rel_tol=1e-6, abs_tol=1e-6)
