import pytest

from instructlab_pipeline.evaluation.statistics import wilson
from instructlab_pipeline.plan import least_clear_share
from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.forecast import calls_expected, calls_of_flow


@pytest.mark.parametrize(("n", "threshold"), [(100, 0.8), (30, 0.5), (1000, 0.9)])
def test_the_least_clear_share_is_clear_and_one_answer_less_is_not(n, threshold):
    right = round(least_clear_share(n, threshold) * n)
    assert wilson(right, n).low >= threshold
    assert wilson(right - 1, n).low < threshold


def test_too_few_questions_can_pass_nothing_clearly():
    assert least_clear_share(10, 0.8) is None


@pytest.mark.parametrize("kind", ["knowledge", "freeform", "grounded"])
def test_expected_calls_grow_with_the_items_and_include_every_step(kind):
    flow = built_in_flow(kind)
    few, many = calls_of_flow(flow, 100), calls_of_flow(flow, 1000)
    assert many == pytest.approx(10 * few, rel=0.01)
    assert few > 100 / flow.items_per_call + 100  # at least the calls that write, and one judgement for each item
    assert calls_expected([(kind, 100), (kind, 100)], sdg_flows=None) == 2 * few
