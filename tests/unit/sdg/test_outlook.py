import pytest

from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.forecast import calls_of_flow
from instructlab_pipeline.sdg.leaf_run import start
from instructlab_pipeline.sdg.leaves import Leaf
from instructlab_pipeline.sdg.outlook import Outlook
from instructlab_pipeline.sdg.selection import Quota

FLOW = built_in_flow("freeform")
QUOTA = Quota(training=100, evaluation=0)
FORESEEN = calls_of_flow(FLOW, 100)


def leaf_run(order):
    example = {"context": None, "pairs": [{"question": "Q", "answer": "A"}]}
    leaf = Leaf(
        path=f"compositional_skills/{order}",
        kind="freeform",
        task_description="T",
        domain="",
        document_outline="",
        seed_examples=[example],
        digest="",
        chunks=(),
    )
    return start(order, leaf, FLOW, [QUOTA], most_rounds=4, seed=1)


def outlook(leaves=4):
    found = Outlook(started=0.0)
    found.expect(leaf_run(order) for order in range(leaves))
    return found


def made(found, order, calls, *, reused=False):
    for _ in range(calls):
        found.settled(order, reused=reused)


def test_before_the_first_call_nothing_is_known_but_the_calls():
    found = outlook()
    assert found.calls_left == 4 * FORESEEN
    assert found.left_s is None


def test_the_time_left_is_the_calls_left_at_the_rate_of_calls_that_were_paid_for():
    found = outlook()
    made(found, 0, 50, reused=True)
    made(found, 0, 20)
    assert found.is_due(10.0)
    assert found.calls_per_s == pytest.approx(2.0)
    assert found.left_s == pytest.approx((4 * FORESEEN - 70) / 2.0)


def test_the_forecast_learns_from_leaves_that_are_over():
    found = outlook()
    made(found, 0, FORESEEN // 2)
    found.over(0)
    assert found.calls_left == pytest.approx(3 * FORESEEN / 2, rel=0.01)


def test_when_all_leaves_are_over_nothing_is_left():
    found = outlook(leaves=1)
    made(found, 0, 10)
    found.over(0)
    assert found.calls_left == 0


def test_the_rate_follows_the_endpoint():
    found = outlook()
    for second in range(1, 200):
        made(found, 0, 1 if second < 100 else 9)
        assert found.is_due(float(second))
    assert found.calls_per_s == pytest.approx(9.0, abs=0.5)
    assert not found.is_due(199.1)
