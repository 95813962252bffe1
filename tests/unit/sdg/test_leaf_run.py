import random
from collections import Counter
from itertools import islice

import pytest

from instructlab_pipeline.sdg.flows import built_in_flow
from instructlab_pipeline.sdg.leaf_run import EARLY_ROUNDS, LARGEST_ROUND, PRIOR_ITEMS, start
from instructlab_pipeline.sdg.leaves import Leaf
from instructlab_pipeline.sdg.rows import EVALUATION, TRAINING, Rejected
from instructlab_pipeline.sdg.selection import Quota

FLOW = built_in_flow("freeform")
NUM_EXAMPLES = 5


def leaf_run(training, evaluation=1, most_rounds=4):
    leaf = Leaf(
        path="skill",
        kind="freeform",
        task_description="",
        domain="",
        document_outline="",
        seed_examples=[{}] * NUM_EXAMPLES,
        digest="",
        chunks=(),
    )
    quota = Quota(training=training, evaluation=evaluation)
    return start(0, leaf, FLOW, [quota], most_rounds=most_rounds, seed=1)


def live(run, *, share, shuffled=None):
    """Bring every row to its end, in the order of `shuffled` or as they come; an item passes by its place alone."""
    waiting, calls = list(run.begin()), Counter()
    while waiting:
        row = waiting.pop(shuffled.randrange(len(waiting)) if shuffled else 0)
        calls[row.place[0]] += 1
        for index in range(row.ask.count):
            run.take(ended(row, index, passes=random.Random(str((*row.place, index))).random() < share))
        waiting += run.came_back(row)
    return calls


def ended(row, index, *, passes):
    place = (*row.place, index)
    end = row.__class__(place=place, ask=row.ask, fields={"question": f"Which {place}?"}, scores={"a": 1.0})
    return end if passes else Rejected(row=end, reason="low_quality", detail="")


def chosen(run):
    return [[row.place for row in rows] for rows in (run.selection.evaluation, run.selection.training)]


@pytest.mark.parametrize("share", [1.0, 0.65, 0.3])
@pytest.mark.parametrize("target", [1, 20, 400])
def test_the_target_is_reached_with_little_to_spare(target, share):
    run = leaf_run(target)
    live(run, share=share)
    assert run.is_over
    assert len(run.selection.training) == target
    assert len(run.selection.evaluation) == 1
    assert len(run.selection.surplus) <= 5 + (target * max(0.1, share - FLOW.expected_yield) / FLOW.expected_yield)


@pytest.mark.parametrize("attempt", range(5))
def test_the_order_in_which_rows_end_changes_nothing(attempt):
    straight, shuffled = leaf_run(60), leaf_run(60)
    calls = live(straight, share=0.5)
    assert live(shuffled, share=0.5, shuffled=random.Random(attempt)) == calls
    assert chosen(shuffled) == chosen(straight)


def test_rounds_are_counted_and_end():
    run = leaf_run(30, most_rounds=3)
    calls = live(run, share=0.0)
    assert run.is_over
    assert run.selection.training == []
    assert len(calls) == 2 + EARLY_ROUNDS + 3


def test_what_makes_up_for_the_first_round_is_planned_before_the_second_has_begun():
    run = leaf_run(40)
    rows = run.begin()
    first = [row for row in rows if not run.can_wait(row)]
    assert sum(row.ask.count for row in first) > sum(row.ask.count for row in rows) / 2
    further = [more for row in first for more in run.came_back(row)]
    assert further
    assert not any(run.can_wait(row) for row in further)


def test_what_makes_up_for_the_first_round_has_nothing_to_spare():
    run = leaf_run(400, evaluation=0)
    rows = run.begin()
    for row in (row for row in rows if not run.can_wait(row)):
        for index in range(row.ask.count):
            run.take(ended(row, index, passes=index < 2))
        further = run.came_back(row)
    passed = len(run.selection.training)
    share = (passed + PRIOR_ITEMS * FLOW.expected_yield) / (items(rows, waiting=False) + PRIOR_ITEMS)
    to_come = (items(rows, waiting=True) + items(further, waiting=False)) * share
    assert passed + to_come == pytest.approx(400, abs=2)


def items(rows, *, waiting):
    return sum(row.ask.count for row in rows if (row.place[0] == 1) == waiting)


def test_an_absurd_target_is_planned_piece_by_piece():
    run = leaf_run(9 * 10**15)
    items = Counter()
    for row in islice(run.begin(), 10**6):
        items[row.place[0], row.ask.stream] += row.ask.count
    assert items[0, TRAINING] == items[1, TRAINING] == LARGEST_ROUND
    assert items[0, EVALUATION] == 1
