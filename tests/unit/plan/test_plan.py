import pytest

from instructlab_pipeline.plan import clear_pass
from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.forecast import calls_expected, calls_of_flow


@pytest.mark.parametrize("kind", ["knowledge", "freeform", "grounded"])
def test_expected_calls_grow_with_the_items_and_include_every_step(kind):
    flow = built_in_flow(kind)
    few, many = calls_of_flow(flow, 100), calls_of_flow(flow, 1000)
    assert many == pytest.approx(10 * few, rel=0.01)
    assert few > 100 / flow.steps[0].count + 100  # at least the calls that write, and one judgement for each item
    assert calls_expected([(kind, 100), (kind, 100)], sdg_flows=None) == 2 * few


@pytest.mark.parametrize(
    ("number", "threshold", "is_share", "words"),
    [
        (15, 0.8, True, "15 are too few to pass 0.8 clearly, which takes 16"),
        (16, 0.8, True, "100% right answers pass 0.8 clearly"),
        (16, 0.8, False, "16 are too few to pass 0.8 clearly, which takes 17"),
        (100, 0.8, True, "88% right answers pass 0.8 clearly"),
        (100, 0.8, False, "89% right answers pass 0.8 clearly"),
        (9, 0.0, False, "0% right answers pass 0.0 clearly"),
        (1000, 1.0, True, "no number of them passes 1.0 clearly"),
    ],
)
def test_a_plan_says_what_a_clear_pass_takes(number, threshold, is_share, words):
    assert clear_pass(number, threshold, is_share=is_share).startswith(words)
