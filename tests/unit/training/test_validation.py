"""Samples that are held out, and what is made of their losses."""

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.training.validation import best_epoch, overfitting, split


@given(st.integers(1, 200), st.floats(0, 1), st.integers(-5, 5))
def test_every_sample_is_learned_or_held_out_and_one_is_always_learned(count, share, seed):
    learned, held_out = split(count, share=share, seed=seed)
    assert sorted([*learned, *held_out]) == list(range(count))
    assert len(learned) >= 1
    assert (len(held_out) > 0) == (share > 0 and count > 1)
    again = split(count, share=share, seed=seed)
    assert [list(part) for part in again] == [list(learned), list(held_out)]


def test_the_best_epoch_is_one_that_was_kept_or_the_last_one():
    losses = [3.0, 1.0, 2.0, 1.5]
    assert best_epoch(losses, kept=[2, 4]) == 2
    assert best_epoch(losses, kept=[3]) == 4
    assert best_epoch(losses, kept=[]) == 4
    assert best_epoch([1.0, 1.0], kept=[1, 2]) == 2


def test_losses_that_rise_again_are_told():
    assert "best after epoch 2 (loss 1)" in overfitting([3.0, 1.0, 2.0, 1.5])
    assert overfitting([3.0, 2.0]) is None
    assert overfitting([]) is None
