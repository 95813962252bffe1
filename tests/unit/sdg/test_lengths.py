from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.lengths import Lengths

FREEFORM, KNOWLEDGE = built_in_flow("freeform"), built_in_flow("knowledge")


def test_before_anything_is_known_the_limits_of_the_flow_decide():
    lengths = Lengths()
    before = [lengths.remaining(FREEFORM, step) for step in range(len(FREEFORM.steps))]
    assert before == sorted(before, reverse=True)
    assert before[0] > lengths.remaining(KNOWLEDGE, 1)


def test_what_has_come_decides_afterwards():
    lengths = Lengths()
    for step, tokens in enumerate([80, 70, 200, 70]):
        lengths.learn(FREEFORM, step, tokens)
    for step, tokens in enumerate([2000, 70]):
        lengths.learn(KNOWLEDGE, step, tokens)
    assert lengths.remaining(KNOWLEDGE, 0) > lengths.remaining(FREEFORM, 0)
    assert lengths.remaining(KNOWLEDGE, 1) == lengths.remaining(FREEFORM, 3)


def test_a_mean_that_drifts_a_little_moves_no_row_ahead_of_another():
    lengths = Lengths()
    lengths.learn(FREEFORM, 3, 70)
    before = lengths.remaining(FREEFORM, 3)
    for _ in range(100):
        lengths.learn(FREEFORM, 3, 75)
    assert lengths.remaining(FREEFORM, 3) == before
