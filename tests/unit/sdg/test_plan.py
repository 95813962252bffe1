from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.sdg.leaf_run import shares
from instructlab_pipeline.sdg.leaves import Chunk
from instructlab_pipeline.sdg.plan import Planner, scattered
from instructlab_pipeline.sdg.rows import EVALUATION, TRAINING

FORMS = {"fact": 6, "definition": 1, "explanation": 2, "comparison": 1, "summary": 1}


def chunk(number):
    return Chunk(id=f"leaf#doc.md:{number}-{number + 1}", document={}, start=number, end=number + 1, text="")


def planner(num_chunks=3, **changed):
    values = {
        "chunks": [chunk(number) for number in range(num_chunks)],
        "weights": FORMS,
        "num_examples": 5,
        "items_per_call": 5,
    }
    return Planner(**{**values, **changed})


def test_no_two_calls_ask_for_the_same():
    plan = planner()
    asks = [
        *plan.plan(EVALUATION, [4] * 5, 0.8),
        *plan.plan(TRAINING, [30] * 5, 0.8),
        *plan.plan(EVALUATION, [1] * 5, 0.5),
        *plan.plan(TRAINING, [3] * 5, 0.5),
    ]
    asked = [(ask.chunk.id, ask.form, ask.batch) for ask in asks]
    assert len(asked) == len(set(asked))


def test_each_unit_counts_its_batches_from_0():
    plan = planner()
    batches = {}
    for ask in [*plan.plan(EVALUATION, [4] * 5, 1.0), *plan.plan(TRAINING, [30] * 5, 1.0)]:
        assert ask.batch == batches.get((ask.chunk.id, ask.form), -1) + 1
        batches[ask.chunk.id, ask.form] = ask.batch


def test_calls_are_spread_over_chunks_seed_examples_and_forms():
    asks = planner(num_chunks=7).plan(TRAINING, [42] * 5, 1.0)
    assert len(asks) == 42
    assert set(Counter(ask.chunk.id for ask in asks).values()) == {6}
    by_example = Counter(ask.seed_example for ask in asks)
    assert max(by_example.values()) - min(by_example.values()) <= 1
    forms = Counter(ask.form for ask in asks)
    assert forms["fact"] > sum(forms.values()) / 2.5
    assert set(forms) == set(FORMS)


def test_more_is_asked_for_when_less_passes():
    assert len(planner().plan(TRAINING, [10] * 5, 1.0)) == 10
    assert len(planner().plan(TRAINING, [10] * 5, 0.5)) == 22
    assert len(planner().plan(TRAINING, [10] * 5, 0.0)) == 57
    assert planner().plan(TRAINING, [0] * 5, 0.5) == []


def test_what_is_exhausted_is_not_asked_again():
    plan = planner(num_chunks=1)
    for _ in range(200):
        asks = plan.plan(TRAINING, [1] * 5, 1.0)
        if not asks:
            break
        for ask in asks:
            plan.exhaust(ask)
    assert plan.plan(TRAINING, [9] * 5, 1.0) == []


def test_an_empty_reply_before_the_last_batch_exhausts_nothing():
    plan = planner(chunks=[None], weights={"": 1})
    first, last = plan.plan(TRAINING, [2] * 5, 1.0)
    plan.exhaust(first)
    assert plan.plan(TRAINING, [1] * 5, 1.0)
    plan.exhaust(last)
    assert plan.plan(TRAINING, [1] * 5, 1.0)


def test_the_order_of_chunks_stays_when_one_is_added():
    chunks = [chunk(number) for number in range(30)]
    before = [one.id for one in scattered(chunks[:-1], seed=7)]
    after = [one.id for one in scattered(chunks, seed=7)]
    after.remove(chunks[-1].id)
    assert before == after
    assert before != [one.id for one in scattered(chunks[:-1], seed=8)]


@given(st.integers(0, 60), st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_shares_even_out_what_is_there(missing, accepted):
    needed = shares(missing, accepted)
    assert sum(needed) == missing
    totals = [have + need for have, need in zip(accepted, needed, strict=True)]
    raised = [total for total, need in zip(totals, needed, strict=True) if need]
    assert all(total <= min(totals) + 1 for total in raised)
