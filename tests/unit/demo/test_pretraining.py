import math

import pytest
from pretraining import IGNORED, Schooling, _batches, _padded, _rate

CONVERSATIONS = [[number] * (1 + number % 5) for number in range(20)]


def test_every_conversation_comes_once_an_epoch():
    batches = list(_batches(CONVERSATIONS, Schooling(epochs=2, batch_size=6)))
    assert len(batches) == 2 * math.ceil(20 / 6)
    for epoch in (batches[:4], batches[4:]):
        assert sorted(ids for batch in epoch for ids in batch) == sorted(CONVERSATIONS)


def test_batches_hold_conversations_of_like_length():
    for batch in _batches(CONVERSATIONS, Schooling(epochs=1, batch_size=4)):
        assert len({len(ids) for ids in batch}) == 1


def test_order_depends_on_the_seed_alone():
    first, again, other = (list(_batches(CONVERSATIONS, Schooling(seed=seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_padding_counts_for_nothing():
    ids, labels = _padded([[5, 6], [7]])
    assert ids.tolist() == [[5, 6], [7, 0]]
    assert labels.tolist() == [[5, 6], [7, IGNORED]]


def test_the_rate_climbs_then_falls_towards_zero():
    rates = [_rate(step / 1000) for step in range(1000)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert 0 < rates[0] < 0.3
    assert rates[-1] < 0.01
