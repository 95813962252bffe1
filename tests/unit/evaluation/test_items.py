from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.items import Item, choose, item_of, require_items


def item(leaf: str, number: int) -> Item:
    return Item(id=f"{leaf}-{number}", leaf=leaf, question="q", context=None, reference="a")


sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1)


def set_of(leaf_sizes: dict[str, int]) -> list[Item]:
    return [item(leaf, number) for leaf, size in leaf_sizes.items() for number in range(size)]


@given(sizes, st.integers(1, 40))
def test_exactly_as_many_are_chosen_as_asked_or_all(leaf_sizes, count):
    every = set_of(leaf_sizes)
    chosen = choose(every, count)
    assert len(chosen) == min(count, len(every)) == len({each.id for each in chosen})


@given(sizes, st.integers(1, 40))
def test_no_leaf_has_two_more_than_another_that_had_more_to_give(leaf_sizes, count):
    taken = Counter(each.leaf for each in choose(set_of(leaf_sizes), count))
    for leaf, size in leaf_sizes.items():
        if taken[leaf] < size:
            assert max(taken.values()) <= taken[leaf] + 1


@given(sizes, st.integers(1, 20), st.randoms())
def test_the_choice_depends_on_neither_order_nor_later_questions(leaf_sizes, count, random_source):
    every = set_of(leaf_sizes)
    chosen = choose(every, count)
    random_source.shuffle(every)
    assert choose(every, count) == chosen
    assert {each.id for each in chosen} <= {each.id for each in choose(every, count + 1)}


def test_items_ask_with_their_context_first():
    record = {"id": "1", "leaf": "l", "kind": "grounded", "question": "Q?", "reference": "A", "context": "C"}
    assert item_of(record).messages == [{"role": "user", "content": "C\n\nQ?"}]


def test_an_empty_evaluation_set_is_refused():
    with pytest.raises(SourceError, match="empty") as caught:
        require_items([])
    assert "sdg_scale_factor" in caught.value.remedy
