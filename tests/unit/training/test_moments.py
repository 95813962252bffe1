"""Moments of 8 bits: what they cost, and that they lead where those of 32 bits lead."""

import pytest
import torch

from instructlab_pipeline.training.moments import AdamW8bit

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.1}
SHAPES = [(40, 700), (3, 17), (5, 8, 70), (30,)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def weights_of(shapes):
    return [torch.randn(shape).requires_grad_() for shape in shapes]


def learn(optimizer, weights, *, steps):
    """Towards 1, from gradients whose size differs a thousandfold from value to value."""
    for step in range(steps):
        for weight in weights:
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
            spread = torch.logspace(0, -3, weight.numel()).view(weight.shape)
            weight.grad = (weight.detach() - 1 + 0.1 * noise) * spread
        optimizer.step()


def test_they_lead_where_those_of_32_bits_lead():
    narrow = weights_of(SHAPES)
    wide = [weight.detach().clone().requires_grad_() for weight in narrow]
    before = [weight.detach().clone() for weight in narrow]
    learn(AdamW8bit(narrow, **SETTINGS), narrow, steps=40)
    learn(torch.optim.AdamW(wide, **SETTINGS), wide, steps=40)
    for one, other, was in zip(narrow, wide, before, strict=True):
        assert (one - other).norm() < 0.05 * (other - was).norm()


def test_the_first_step_and_vectors_are_those_of_torch():
    narrow = weights_of(SHAPES)
    wide = [weight.detach().clone().requires_grad_() for weight in narrow]
    ours, theirs = AdamW8bit(narrow, **SETTINGS), torch.optim.AdamW(wide, **SETTINGS)
    learn(ours, narrow, steps=1)
    learn(theirs, wide, steps=1)
    for one, other in zip(narrow, wide, strict=True):
        torch.testing.assert_close(one, other)
    learn(ours, narrow[-1:], steps=5)
    learn(theirs, wide[-1:], steps=5)
    torch.testing.assert_close(narrow[-1], wide[-1])


def test_a_value_takes_two_bytes_and_a_little_for_scales():
    (weight,) = weights_of([(64, 1024)])
    optimizer = AdamW8bit([weight], **SETTINGS)
    learn(optimizer, [weight], steps=1)
    assert sum(part.nbytes for part in optimizer.state[weight].values()) < 2.04 * weight.numel()


def test_rows_do_not_depend_on_what_other_rows_there_are():
    (whole,) = weights_of([(6, 300)])
    halves = [part.detach().clone().requires_grad_() for part in whole.split([4, 2])]
    slopes = torch.randn(3, 6, 300)
    optimizers = AdamW8bit([whole], **SETTINGS), AdamW8bit(halves, **SETTINGS)
    for slope in slopes:
        whole.grad, (halves[0].grad, halves[1].grad) = slope, slope.split([4, 2])
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(whole, torch.cat(halves))


def test_values_that_never_had_a_gradient_stay():
    weight = torch.ones(4, 600, requires_grad=True)
    optimizer = AdamW8bit([weight], **SETTINGS | {"weight_decay": 0.0})
    for _ in range(3):
        weight.grad = torch.zeros_like(weight)
        weight.grad[1, 5] = 1.0
        optimizer.step()
    assert torch.count_nonzero(weight - 1) == 1
    assert torch.isfinite(weight).all()
