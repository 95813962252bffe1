from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.sdg.leaves import Chunk
from instructlab_pipeline.sdg.rows import EVALUATION, TRAINING, Ask, Row
from instructlab_pipeline.sdg.selection import Quota, select, spread


def row(place, *, question=None, stream=TRAINING, example=0, chunk=0, context=""):
    source = Chunk(id=f"chunk {chunk}", document={}, start=0, end=1, text="")
    ask = Ask(stream=stream, chunk=source, form="fact", batch=0, seed_example=example, count=1, before=0)
    fields = {"question": question or f"Question number {place}?", "answer": "A", "context": context}
    return Row(place=(0, place), ask=ask, fields=fields)


def reasons(selection):
    return Counter(rejected.reason for rejected in selection.rejected)


def test_the_order_of_rows_does_not_matter():
    rows = [row(place, example=place % 3, chunk=place % 4) for place in range(40)]
    quota = Quota(training=10, evaluation=0)
    assert select(rows, quota, kind="knowledge") == select(rows[::-1], quota, kind="knowledge")


def test_a_question_of_the_evaluation_set_is_no_sample():
    rows = [row(0, question="Which moon is largest?", stream=EVALUATION), row(1, question="which moon is the largest")]
    selection = select(rows, Quota(training=5, evaluation=5), kind="knowledge")
    assert len(selection.evaluation) == 1
    assert selection.training == []
    assert reasons(selection) == {"in_evaluation_set": 1}


def test_what_the_evaluation_does_not_need_may_become_a_sample_after_all_others():
    rows = [row(place, question=f"Moon {place}?", stream=EVALUATION) for place in range(3)]
    rows += [row(3, question="Moon 1?"), row(4, question="Moon 4?")]
    selection = select(rows, Quota(training=3, evaluation=1), kind="knowledge")
    assert [sample.place[1] for sample in selection.evaluation] == [0]
    assert [sample.place[1] for sample in selection.training] == [3, 4, 2]
    assert reasons(selection) == {"duplicate": 1}
    assert [sample.place[1] for sample in select(rows, Quota(training=2, evaluation=1), kind="knowledge").training] == [
        3,
        4,
    ]


def test_a_grounded_question_is_another_one_with_another_context():
    rows = [row(place, question="When does it open?", context=f"Door {place}.") for place in range(3)]
    assert len(select(rows, Quota(training=5, evaluation=0), kind="grounded").training) == 3
    assert reasons(select(rows, Quota(training=5, evaluation=0), kind="knowledge")) == {"duplicate": 2}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60), st.integers(0, 50))
def test_the_chosen_are_spread_as_evenly_as_what_there_is_allows(origins, quota):
    rows = [row(place, example=example, chunk=chunk) for place, (example, chunk) in enumerate(origins)]
    chosen, rest = spread(rows, quota)
    assert len(chosen) == min(quota, len(rows))
    assert sorted([*chosen, *rest], key=lambda item: item.place) == rows
    taken = Counter(item.ask.seed_example for item in chosen)
    left = Counter(item.ask.seed_example for item in rest)
    for example in left:
        assert taken[example] >= max(taken.values(), default=0) - 1
