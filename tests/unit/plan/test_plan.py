import pytest

from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.forecast import calls_expected, calls_of_flow


@pytest.mark.parametrize("kind", ["knowledge", "freeform", "grounded"])
def test_expected_calls_grow_with_the_items_and_include_every_step(kind):
    flow = built_in_flow(kind)
    few, many = calls_of_flow(flow, 100), calls_of_flow(flow, 1000)
    assert many == pytest.approx(10 * few, rel=0.01)
    assert few > 100 / flow.steps[0].count + 100  # at least the calls that write, and one judgement for each item
    assert calls_expected([(kind, 100), (kind, 100)], sdg_flows=None) == 2 * few
