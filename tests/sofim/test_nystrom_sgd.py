"""Nyström-SGD against the dense formula, the Newton step, and the edges of its sketch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from sofim import OPTIMIZERS, NystromSGD
from tests.reference import optimizer_twins as twins


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def network_loss(model):
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(2, (10,), generator=generator)
    return nn.functional.cross_entropy(model(inputs), targets)


def flatten(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).numpy()


def dense_hessian(model):
    """By autograd over the flat vector of parameters."""
    names, shapes = zip(*((name, param.shape) for name, param in model.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    def loss_function(flat):
        pieces = {
            name: piece.reshape(shape) for name, piece, shape in zip(names, flat.split(sizes), shapes, strict=True)
        }
        return network_loss(lambda inputs: torch.func.functional_call(model, pieces, (inputs,)))

    return torch.autograd.functional.hessian(loss_function, torch.tensor(flatten(model.parameters()))).numpy()


def drawn_coordinates(optimizer, size, rank):
    """What the next refresh will draw."""
    generator = torch.Generator()
    generator.set_state(optimizer.param_groups[0]["generator_state"])
    return torch.randperm(size, generator=generator)[:rank].tolist()


def take_step(optimizer, model):
    optimizer.zero_grad()
    loss = network_loss(model)
    if optimizer.refresh_due:
        optimizer.refresh(loss)
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_equals_the_dense_formula_on_a_network(rank, weight_decay):
    """The Hessian is indefinite here, so that |W| is tested too; the L2 term stays out of it."""
    model = network()
    hessian = dense_hessian(model)
    assert np.linalg.eigvalsh(hessian).min() < -1e-3
    rho, lr = 0.1, 0.7
    optimizer = NystromSGD(model.parameters(), lr, rho=rho, rank=rank, weight_decay=weight_decay, seed=5)
    coordinates = drawn_coordinates(optimizer, len(hessian), rank)
    before = flatten(model.parameters())
    take_step(optimizer, model)
    gradient = flatten([param.grad for param in model.parameters()]) + weight_decay * before
    expected = before - lr * twins.nystrom_direction(hessian, coordinates, gradient, rho)
    np.testing.assert_allclose(flatten(model.parameters()), expected, rtol=1e-7, atol=1e-9)


def test_all_columns_are_the_regularized_newton_step():
    """m = d on a convex quadratic: p − (H + ρ I)⁻¹ g."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    hessian = root @ root.T + torch.eye(6, dtype=torch.float64)
    x = nn.Parameter(torch.randn(6, generator=generator, dtype=torch.float64))
    optimizer = NystromSGD([x], 1.0, rho=0.3, rank=6)
    loss = x @ hessian @ x / 2
    assert optimizer.refresh(loss) == 7
    loss.backward()
    gradient, before = x.grad.clone(), x.detach().clone()
    optimizer.step()
    newton = before - torch.linalg.solve(hessian + 0.3 * torch.eye(6, dtype=torch.float64), gradient)
    torch.testing.assert_close(x.detach(), newton, rtol=1e-9, atol=1e-10)


def test_negative_curvature_is_descended():
    """Of −x²/2 the inverse of H + ρ I would point uphill."""
    x = nn.Parameter(torch.tensor([0.1], dtype=torch.float64))
    optimizer = NystromSGD([x], 1.0, rho=0.1, rank=1)
    loss = -x.square().sum() / 2
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert x.item() == pytest.approx(0.1 + 0.1 / (1.0 + 0.1))


def test_more_columns_than_parameters_are_all_columns():
    x = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer = NystromSGD([x], 1.0, rho=0.1, rank=50)
    assert optimizer.refresh((x**4).sum()) == 3
    assert optimizer.state[x]["sketch"].shape == (2, 2)


def test_refresh_is_due_every_period():
    model = network()
    optimizer = NystromSGD(model.parameters(), 0.01, rho=1.0, rank=2, update_period=3)
    due = []
    for _ in range(8):
        due.append(optimizer.refresh_due)
        take_step(optimizer, model)
    assert due == [True, False, False, True, False, False, True, False]


def test_coordinates_differ_between_refreshes_and_repeat_with_the_seed():
    def coordinates(seed):
        model = network()
        optimizer = NystromSGD(model.parameters(), 0.01, rho=1.0, rank=6, update_period=1, seed=seed)
        drawn = []
        for _ in range(3):
            drawn.append(drawn_coordinates(optimizer, 26, 6))
            take_step(optimizer, model)
        return drawn

    first = coordinates(0)
    assert first == coordinates(0)
    assert first != coordinates(1)
    assert first[0] != first[1] != first[2]
    assert all(len(set(drawn)) == 6 for drawn in first)


def test_global_generator_is_left_alone():
    """Data order and initial weights must not depend on the optimizer."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = nn.Linear(2, 1)
    torch.set_rng_state(before)
    optimizer = NystromSGD(model.parameters(), rank=2)
    optimizer.refresh(model(torch.ones(1, 2)).square().sum())
    assert torch.equal(torch.get_rng_state(), before)


def test_step_before_the_first_refresh_is_a_clear_error():
    model = network()
    optimizer = NystromSGD(model.parameters())
    before = flatten(model.parameters())
    network_loss(model).backward()
    with pytest.raises(RuntimeError, match=r"refresh\(loss\)"):
        optimizer.step()
    np.testing.assert_array_equal(flatten(model.parameters()), before)


def test_state_is_the_sketch_alone():
    model = network()
    optimizer = NystromSGD(model.parameters(), rho=1.0, rank=4)
    take_step(optimizer, model)
    for param in model.parameters():
        assert list(optimizer.state[param]) == ["sketch"]
        rank, size = optimizer.state[param]["sketch"].shape
        assert rank <= 4
        assert size == param.numel()


def test_flat_loss_steps_by_lr_over_rho():
    """A Hessian of zeros has rank 0 and says nothing: also where the gradient depends on no parameter at all."""
    x = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = NystromSGD([x], 0.5, rho=2.0, rank=2)
    loss = 3.0 * x.sum()
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert x.tolist() == [0.25, 1.25]


def test_columns_that_are_not_finite_are_left_out():
    """y^1.5 at 0 has an infinite second derivative; the column of x is sound and still used."""
    x = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    y = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    optimizer = NystromSGD([x, y], 1.0, rho=1.0, rank=2)
    loss = 2.0 * x.square().sum() + (y**1.5).sum()
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert x.item() == pytest.approx(2.0 - 8.0 / (4.0 + 1.0))
    assert math.isfinite(y.item())


def test_loss_that_is_not_finite_leaves_no_sketch():
    x = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = NystromSGD([x], 1.0, rho=1.0, rank=2)
    optimizer.refresh((x * math.nan).square().sum())
    x.grad = torch.ones(2)
    optimizer.step()
    assert x.tolist() == [0.0, 0.0]


def test_parameter_frozen_at_the_refresh_steps_by_lr_over_rho_when_it_thaws():
    """It has no part in the new sketch, and its part of the old one must not be mixed in."""
    frozen = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    other = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = NystromSGD([frozen, other], 0.5, rho=2.0, rank=3)

    def loss_function():
        return frozen.square().sum() + 4.0 * other.square().sum()

    optimizer.refresh(loss_function())
    frozen.requires_grad_(False)
    optimizer.refresh(loss_function())
    frozen.requires_grad_(True)
    loss_function().backward()
    optimizer.step()
    assert frozen.tolist() == pytest.approx([1.0 - 0.25 * 2.0, 2.0 - 0.25 * 4.0])
    assert other.item() == pytest.approx(3.0 - 0.5 * 24.0 / (8.0 + 2.0))


def test_maximize_climbs():
    x = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = NystromSGD([x], 1.0, rho=1.0, rank=1, maximize=True)
    loss = -x.square().sum() / 2
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert x.item() == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precisions(dtype):
    x = nn.Parameter(torch.tensor([1.0, -2.0], dtype=dtype))
    optimizer = NystromSGD([x], 1.0, rho=0.25, rank=2)
    loss = (torch.tensor([1.0, 4.0], dtype=dtype) * x.square()).sum() / 2
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    expected = torch.tensor([1.0 - 1.0 / 1.25, -2.0 + 8.0 / 4.25])
    torch.testing.assert_close(x.detach().float(), expected, rtol=0.0, atol=32 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    "bad",
    [
        {"lr": -1.0},
        {"rho": 0.0},
        {"rho": math.nan},
        {"rank": 0},
        {"rank": 1.5},
        {"update_period": 0},
        {"weight_decay": -1.0},
    ],
    ids=str,
)
def test_bad_hyperparameters(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        NystromSGD([nn.Parameter(torch.ones(2))], **bad)


def test_complex_and_sparse_are_refused():
    with pytest.raises(ValueError, match="view_as_real"):
        NystromSGD([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    x = nn.Parameter(torch.ones(2))
    optimizer = NystromSGD([x], rank=1)
    optimizer.refresh(x.square().sum())
    x.grad = torch.ones(2).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    embedding = nn.Embedding(5, 2, sparse=True)
    with pytest.raises(RuntimeError, match="sparse"):
        NystromSGD(embedding.parameters()).refresh(embedding(torch.tensor([1, 2])).square().sum())


def test_sums_over_a_sketch_in_half_precision_do_not_overflow():
    x = nn.Parameter(torch.full((64,), 1e-4, dtype=torch.float16))
    optimizer = NystromSGD([x], 1.0, rho=1.0, rank=8)
    # One direction, whose curvature 64 · 2 · 40² is above float16's largest number; its columns are not.
    loss = (40.0 * x).sum().square()
    optimizer.refresh(loss)
    assert optimizer.param_groups[0]["spectrum"][-1] == pytest.approx(64 * 2 * 40**2, rel=0.01)


def test_a_hessian_whose_sums_overflow_is_left_out():
    x = nn.Parameter(torch.zeros(64))
    optimizer = NystromSGD([x], 1.0, rho=1.0, rank=64)
    loss = 1e38 * x.sum().square() + x.sum()
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert torch.equal(x, -torch.ones(64))


def test_nothing_to_train_costs_nothing():
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    optimizer = NystromSGD([frozen])
    assert optimizer.refresh(nn.Parameter(torch.ones(2)).sum()) == 0
    optimizer.step()
    assert torch.equal(frozen, torch.ones(2))


class Square(torch.autograd.Function):
    """x², of whose derivative autograd has no second one."""

    @staticmethod
    def forward(context, values):
        context.save_for_backward(values)
        return values * values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return 2 * context.saved_tensors[0] * gradient


CURVED = {
    "inside": lambda x: (Square.apply(x) ** 1.5).sum(),
    "before the sum": lambda x: Square.apply(x).sum(),
    "last": lambda x: Square.apply((x * x).sum()),
}


@pytest.mark.parametrize("kind", CURVED)
@pytest.mark.parametrize("name", ["nystrom-sgd", "sophia"])
def test_curvature_that_autograd_does_not_have_is_not_taken_for_none(name, kind):
    x = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match="once_differentiable"):
        OPTIMIZERS[name].factory([x]).refresh(CURVED[kind](x))


def test_a_loss_without_curvature_has_none():
    x = nn.Parameter(torch.ones(3))
    optimizer = NystromSGD([x], lr=0.1, rho=1.0)
    optimizer.refresh((2 * x).sum())
    assert not any(optimizer.param_groups[0]["spectrum"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_ordinary_curvature_is_no_overflow_in_half_precision(dtype):
    x = nn.Parameter(torch.ones(2, dtype=dtype))
    optimizer = NystromSGD([x], lr=1.0, rho=1.0, rank=2, seed=0)
    loss = (torch.tensor([1.0, 2000.0], dtype=dtype) * x * x).sum() / 2
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert x[1].item() == pytest.approx(0.0005, abs=0.02), "where the curvature is, Newton's step"
    assert 0 <= x[0].item() <= 0.5, "with few digits the sketch may leave out the small curvature beside it"


def test_a_learning_rate_of_one_entry_fits_a_parameter_without_a_dimension():
    x = nn.Parameter(torch.tensor(1.0))
    optimizer = NystromSGD([x], lr=torch.tensor([0.1]), rho=1.0)
    loss = x.square()
    optimizer.refresh(loss)
    loss.backward()
    optimizer.step()
    assert x.shape == ()
    assert x.item() < 1
