"""AdaHessian comes from a library; these hold the library to what we rely on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sofim import OPTIMIZERS
from tests.sofim.driver import advance

SPEC = OPTIMIZERS["adahessian"]


def test_hessian_estimate_is_exact_on_a_diagonal_quadratic():
    """z ⊙ (D z) = diag(D) for every z of ±1, so that each step is known in closed form."""
    scales = torch.tensor([1.0, 5.0, 20.0], dtype=torch.float64)
    x = nn.Parameter(torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64))
    optimizer = SPEC.factory([x], lr=0.2, betas=(0.9, 0.99), eps=0.0)
    expected, average = x.detach().clone(), torch.zeros(3, dtype=torch.float64)
    for step in range(1, 6):
        average = 0.9 * average + 0.1 * scales * expected
        # The root of the bias-corrected mean of D² is D itself.
        expected = expected - 0.2 * average / (1 - 0.9**step) / scales
        advance(SPEC, optimizer, lambda: (scales * x.square()).sum() / 2)
        torch.testing.assert_close(optimizer.state[x]["hessian"], scales)
        torch.testing.assert_close(x.detach(), expected)


def test_probe_has_both_signs():
    """With a constant probe an off-diagonal Hessian would give the same estimate each time: the row sums."""
    hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    x = nn.Parameter(torch.ones(2, dtype=torch.float64))
    torch.manual_seed(0)
    optimizer = SPEC.factory([x], lr=0.0)
    seen = set()
    for _ in range(20):
        advance(SPEC, optimizer, lambda: x @ hessian @ x / 2)
        seen.add(optimizer.state[x]["hessian"][0].item())
    assert seen == {1.0, 3.0}


@pytest.mark.parametrize(
    "bad",
    [
        {"lr": math.nan},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
        {"eps": -1.0},
        {"weight_decay": -1.0},
        {"hessian_power": 0.0},
        {"hessian_power": 1.5},
    ],
    ids=str,
)
def test_bad_hyperparameters(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        SPEC.factory([nn.Parameter(torch.ones(2))], **bad)


def test_weight_decay_is_decoupled_or_a_part_of_the_gradient():
    ended = []
    for coupling in ({}, {"decoupled_weight_decay": False}):
        x = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        optimizer = SPEC.factory([x], lr=0.5, eps=0.0, weight_decay=0.1, **coupling)
        # The loss is flat at 1 to first order; its curvature is 2.
        advance(SPEC, optimizer, lambda x=x: (x - 1).square().sum())
        ended.append(x.item())
    assert ended == pytest.approx([1.0 - 0.5 * 0.1, 1.0 - 0.5 * 0.1 / 2])


def test_decay_in_the_gradient_leaves_the_gradient_as_it_is():
    x = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = SPEC.factory([x], weight_decay=0.1, decoupled_weight_decay=False)
    x.pow(4).sum().backward(create_graph=True)
    before, given = x.grad.detach().clone(), x.grad
    with torch.no_grad():  # where a copy has a graph all the same
        optimizer.step()
    assert x.grad is given
    assert torch.equal(x.grad.detach(), before)
    assert torch.equal(optimizer.state[x]["hessian"], torch.tensor([12.0, 48.0]))
    x.grad = None


def test_without_curvature_the_step_is_that_of_a_zero_diagonal():
    """A loss that is linear in pieces: p ← p − η m̂ / ε, and the moving average of the gradient goes on."""
    x = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    slope = torch.tensor([3.0, -1.0], dtype=torch.float64)
    optimizer = SPEC.factory([x], lr=0.1, eps=0.5)
    for count in range(1, 4):
        advance(SPEC, optimizer, lambda: (slope * x).sum())
        expected = torch.tensor([1.0, -2.0], dtype=torch.float64) - count * 0.1 * slope / 0.5
        torch.testing.assert_close(x.detach(), expected)
        assert torch.equal(optimizer.state[x]["hessian"], torch.zeros(2, dtype=torch.float64))


def test_a_linear_part_beside_a_curved_one_leaves_its_estimate_as_it_is():
    """The probes are drawn for all, so that the curved part sees the numbers it sees alone."""
    hessian = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)

    def estimates(*, beside):
        torch.manual_seed(0)
        curved, linear = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
        optimizer = SPEC.factory([curved, linear] if beside else [curved], lr=0.0)
        advance(SPEC, optimizer, lambda: curved @ hessian @ curved / 2 + (linear.sum() if beside else 0.0))
        return [optimizer.state[param]["hessian"] for param in optimizer.param_groups[0]["params"]]

    together, of_the_linear = estimates(beside=True)
    [alone] = estimates(beside=False)
    assert torch.equal(together, alone)
    assert torch.equal(of_the_linear, torch.zeros(2, dtype=torch.float64))


class Once(torch.autograd.Function):
    """Doubles; its derivative is a constant to autograd, whatever it is."""

    @staticmethod
    def forward(_context, values):
        return values * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_context, gradient):
        return gradient * 2


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside what has curvature"])
def test_a_second_derivative_that_autograd_does_not_have_is_not_taken_for_none(beside):
    x, y = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = SPEC.factory([x, y] if beside else [x])
    with pytest.raises(RuntimeError, match="once_differentiable"):
        advance(SPEC, optimizer, lambda: Once.apply(x).square().sum() + (y.square().sum() if beside else 0.0))
