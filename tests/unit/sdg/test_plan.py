from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.sdg.leaves import Chunk
from instructlab_pipeline.sdg.plan import Planner, evenly, scattered, shares
from instructlab_pipeline.sdg.rows import EVALUATION, TRAINING

FORMS = {"fact": 6, "definition": 1, "explanation": 2, "comparison": 1, "summary": 1}


def chunk(number):
    return Chunk(id=f"leaf#doc.md:{number}-{number + 1}", document={}, start=number, end=number + 1, text="")


def planner(num_chunks=3, **changed):
    values = {
        "chunks": [chunk(number) for number in range(num_chunks)],
        "weights": FORMS,
        "num_examples": 5,
    }
    return Planner(**{**values, **changed})


def planned(plan, stream, needed):
    return plan.plan(stream, needed, counts=evenly(sum(needed), 5))


def test_no_two_calls_ask_for_the_same():
    plan = planner()
    asks = [
        *planned(plan, EVALUATION, [5] * 5),
        *planned(plan, TRAINING, [37] * 5),
        *planned(plan, EVALUATION, [2] * 5),
        *planned(plan, TRAINING, [6] * 5),
    ]
    asked = [(ask.chunk.id, ask.form, ask.batch) for ask in asks]
    assert len(asked) == len(set(asked))


def test_each_unit_counts_its_batches_from_0():
    plan = planner()
    batches = {}
    for ask in [*planned(plan, EVALUATION, [4] * 5), *planned(plan, TRAINING, [30] * 5)]:
        assert ask.batch == batches.get((ask.chunk.id, ask.form), -1) + 1
        batches[ask.chunk.id, ask.form] = ask.batch


def test_calls_are_spread_over_chunks_seed_examples_and_forms():
    asks = planned(planner(num_chunks=7), TRAINING, [42] * 5)
    assert len(asks) == 42
    assert set(Counter(ask.chunk.id for ask in asks).values()) == {6}
    by_example = Counter(ask.seed_example for ask in asks)
    assert max(by_example.values()) - min(by_example.values()) <= 1
    forms = Counter(ask.form for ask in asks)
    assert forms["fact"] > sum(forms.values()) / 2.5
    assert set(forms) == set(FORMS)


def test_the_seed_examples_that_lack_most_are_shown_first():
    asks = planner().plan(TRAINING, [9, 0, 0, 6, 0], counts=[3, 3, 3, 3, 3])
    assert Counter(ask.seed_example for ask in asks) == {0: 3, 3: 2}


def test_what_is_exhausted_is_not_asked_again():
    plan = planner(num_chunks=1)
    for _ in range(200):
        asks = planned(plan, TRAINING, [1] * 5)
        if not asks:
            break
        for ask in asks:
            plan.exhaust(ask)
    assert planned(plan, TRAINING, [9] * 5) == []


def test_an_empty_reply_before_the_last_batch_exhausts_nothing():
    plan = planner(chunks=[None], weights={"": 1})
    first, last = planned(plan, TRAINING, [2] * 5)
    plan.exhaust(first)
    assert planned(plan, TRAINING, [1] * 5)
    plan.exhaust(last)
    assert planned(plan, TRAINING, [1] * 5)


@given(st.integers(0, 60), st.integers(1, 9))
def test_items_are_dealt_to_as_few_calls_as_can_be(items, most):
    counts = evenly(items, most)
    assert sum(counts) == items
    assert len(counts) == -(-items // most)
    assert not counts or max(counts) - min(counts) <= 1


def test_the_order_of_chunks_stays_when_one_is_added():
    chunks = [chunk(number) for number in range(30)]
    before = [one.id for one in scattered(chunks[:-1], seed=7)]
    after = [one.id for one in scattered(chunks, seed=7)]
    after.remove(chunks[-1].id)
    assert before == after
    assert before != [one.id for one in scattered(chunks[:-1], seed=8)]


def test_shares_of_an_absurd_number_are_known_at_once():
    assert sum(shares(9 * 10**15, [3, 0, 7])) == 9 * 10**15


@given(st.integers(0, 60), st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_shares_even_out_what_is_there(missing, accepted):
    needed = shares(missing, accepted)
    assert sum(needed) == missing
    totals = [have + need for have, need in zip(accepted, needed, strict=True)]
    raised = [total for total, need in zip(totals, needed, strict=True) if need]
    assert all(total <= min(totals) + 1 for total in raised)
