"""SOFIM's numbers against the slow twins, its limits, and the bound on its step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import vmap

from sofim import SOFIM, sofim_update
from tests.reference import optimizer_twins as twins

SHAPES = [(4, 3), (4,), (2, 2, 2), (1,)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)
ENDS = np.cumsum([int(np.prod(shape)) for shape in SHAPES])
PATHS = pytest.mark.parametrize("foreach", [None, True, False])
BLOCKS = {
    "group": (slice(None),),
    "tensor": tuple(slice(end - int(np.prod(shape)), end) for end, shape in zip(ENDS, SHAPES, strict=True)),
}
# Options of SOFIM's forms, and the twin of each with the matrix formed.
FORMS = pytest.mark.parametrize(
    ("form", "twin"),
    [
        (
            {"direction": direction, "blocks": blocks},
            {"direction": dense, "blocks": BLOCKS[blocks]},
        )
        for direction, dense in (("momentum", twins.dense_inverse), ("gradient", twins.gradient_dense_inverse))
        for blocks in BLOCKS
    ],
    ids=["momentum-group", "momentum-tensor", "gradient-group", "gradient-tensor"],
)


def split(flat, dtype=torch.float64):
    pieces = np.split(np.asarray(flat), np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1])
    return [torch.tensor(piece, dtype=dtype).reshape(shape) for piece, shape in zip(pieces, SHAPES, strict=True)]


def flatten(tensors):
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in tensors]).numpy()


def noisy_gradient(w, t):
    """Of a badly scaled quadratic, with noise that is a function of the step."""
    scales = np.linspace(0.1, 5.0, len(w))
    return scales * w + 0.5 * np.random.default_rng(t).standard_normal(len(w))


def start():
    return np.random.default_rng(0).standard_normal(SIZE)


def run_class(steps, *, dtype=torch.float64, gradient=noisy_gradient, **options):
    params = [nn.Parameter(param) for param in split(start(), dtype)]
    optimizer = SOFIM(params, **options)
    iterates = []
    for t in range(1, steps + 1):
        for param, grad in zip(params, split(gradient(flatten(params), t), dtype), strict=True):
            param.grad = grad
        optimizer.step()
        iterates.append(flatten(params))
    return iterates


@FORMS
@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(("weight_decay", "decoupled"), [(0.0, False), (0.1, False), (0.1, True)])
def test_equals_the_twin_over_100_steps(foreach, form, twin, maximize, weight_decay, decoupled):
    options = {"lr": 0.1, "beta": 0.9, "rho": 0.5, "weight_decay": weight_decay, "decoupled_weight_decay": decoupled}
    expected = twins.sofim(start(), noisy_gradient, 100, **options, **twin)
    if maximize:
        options |= {"maximize": True, "gradient": lambda w, t: -noisy_gradient(w, t)}
    for ours, theirs in zip(run_class(100, foreach=foreach, **options, **form), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@FORMS
@pytest.mark.parametrize("decoupled", [False, True])
def test_pure_function_equals_the_twin_over_200_steps(form, twin, decoupled):
    options = {"lr": 0.1, "beta": 0.9, "rho": 0.5, "weight_decay": 0.1, "decoupled_weight_decay": decoupled}
    params, averages = split(start()), split(np.zeros(SIZE))
    for t, theirs in enumerate(twins.sofim(start(), noisy_gradient, 200, **options, **twin), start=1):
        grads = split(noisy_gradient(flatten(params), t))
        params, averages = sofim_update(params, grads, averages, t, **options, **form)
        np.testing.assert_allclose(flatten(params), theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("direction", "twin"),
    [("momentum", twins.two_terms), ("momentum", twins.closed_form), ("gradient", twins.gradient_two_terms)],
)
@pytest.mark.parametrize("rho", [0.05, 0.5, 20.0])
def test_equals_the_papers_forms_where_they_are_stable(direction, twin, rho):
    options = {"lr": 0.02, "beta": 0.8, "rho": rho}
    expected = twins.sofim(start(), noisy_gradient, 30, direction=twin, **options)
    np.testing.assert_allclose(run_class(30, direction=direction, **options)[-1], expected[-1], rtol=1e-8, atol=1e-10)


@PATHS
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6, 1e8, 1e10, 1e12, 1e20, 1e30])
def test_float32_keeps_its_digits_where_two_terms_lose_them(ratio, foreach):
    """‖M̂‖²/ρ up to 1e30, against 60 digits; from 1e4 on the two terms in float32 are the worse by far."""
    gradient = np.random.default_rng(1).standard_normal(SIZE).astype(np.float32)
    rho = float(np.float32(gradient.astype(np.float64) @ gradient.astype(np.float64) / ratio))
    params = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for param, grad in zip(params, split(gradient, torch.float32), strict=True):
        param.grad = grad
    SOFIM(params, lr=1.0, rho=rho, foreach=foreach).step()

    expected = -twins.exact(gradient, rho)
    error = np.abs(flatten(params) - expected).max() / np.abs(expected).max()
    assert error < 1e-6

    naive = -twins.two_terms(gradient, np.float32(rho), gradient) if ratio <= 1e12 else np.full(SIZE, np.nan)
    naive_error = np.abs(naive - expected).max() / np.abs(expected).max()
    if ratio >= 1e4:
        assert not naive_error < 10 * error


def test_large_norms_overflow_to_no_step_rather_than_to_nan():
    """‖M̂‖² = 4e40 is infinite in float32; the exact step, η · 5e-21, is zero in every float32 parameter near 1."""
    param = nn.Parameter(torch.ones(4))
    param.grad = torch.full((4,), 1e20)
    SOFIM([param], lr=1.0, rho=0.5).step()
    assert torch.equal(param, torch.ones(4))


@pytest.mark.parametrize("shape", [(1500, 1000), (1_500_000,), (3, 500_000)])
def test_norm_of_a_long_tensor_is_right_in_float32(shape):
    """A single float32 sum over millions of entries is wrong by 1e-4 on CPU."""
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    param = nn.Parameter(torch.zeros(shape))
    param.grad = grad
    SOFIM([param], lr=1.0, rho=1e-6).step()
    expected = -grad.double() / (1e-6 + grad.double().square().sum())
    assert float((param.detach().double() - expected).norm() / expected.norm()) < 2e-5


def test_large_rho_is_momentum_sgd_with_bias_correction():
    """ρ → ∞ with η/ρ = a: p ← p − a M̂."""
    a, rho, beta = 0.05, 1e12, 0.9
    expected = twins.sofim(start(), noisy_gradient, 100, lr=a, beta=beta, rho=1.0, direction=lambda m, rho, g: m)
    np.testing.assert_allclose(run_class(100, lr=a * rho, beta=beta, rho=rho)[-1], expected[-1], rtol=1e-7)


def test_small_rho_is_a_step_of_length_lr_over_norm():
    """ρ → 0: p ← p − η M̂ / ‖M̂‖²."""
    expected = twins.sofim(
        start(), noisy_gradient, 50, lr=0.1, beta=0.9, rho=1.0, direction=lambda m, rho, g: m / (m @ m)
    )
    np.testing.assert_allclose(run_class(50, lr=0.1, beta=0.9, rho=1e-14)[-1], expected[-1], rtol=1e-7)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    gradients=st.lists(
        st.lists(st.floats(-1e8, 1e8, allow_subnormal=False), min_size=3, max_size=3), min_size=1, max_size=5
    ),
    lr=st.floats(1e-6, 1e3),
    beta=st.floats(0.0, 0.999),
    rho=st.floats(1e-8, 1e8),
)
def test_step_is_never_longer_than_half_lr_over_knee(gradients, lr, beta, rho):
    """‖Δp‖ ≤ η / (2√ρ), whatever the gradients."""
    param = torch.zeros(3, dtype=torch.float64)
    average = torch.zeros(3, dtype=torch.float64)
    for step, gradient in enumerate(gradients, start=1):
        (new,), (average,) = sofim_update(
            [param], [torch.tensor(gradient, dtype=torch.float64)], [average], step, lr=lr, beta=beta, rho=rho
        )
        # The subtraction of positions rounds at their size.
        assert (new - param).norm().item() <= lr / (2 * rho**0.5) * (1 + 1e-12) + 1e-15 * new.norm().item()
        param = new


def test_step_is_longest_at_the_knee():
    rho, lr = 4.0, 0.6
    lengths = []
    for norm in (1.0, 2.0, 4.0):
        param = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        param.grad = torch.tensor([norm], dtype=torch.float64)
        SOFIM([param], lr=lr, rho=rho).step()
        lengths.append(-param.item())
    assert lengths[1] == pytest.approx(lr / (2 * rho**0.5), rel=1e-14)
    assert max(lengths) == lengths[1]


@pytest.mark.parametrize("direction", ["momentum", "gradient"])
def test_vmap_over_hyperparameters_equals_separate_optimizers(direction):
    """K models in one call, each with its own learning rate, β, ρ and weight decay."""
    lrs, betas, rhos, decays = (
        torch.tensor(values, dtype=torch.float64)
        for values in ([0.1, 0.3, 1.0], [0.0, 0.9, 0.99], [0.1, 0.5, 5.0], [0.0, 0.01, 0.1])
    )
    if direction == "gradient":  # whose steps nothing bounds
        lrs = 0.02 * lrs
    count = len(lrs)
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    models = [[nn.Parameter(torch.ones(2, 2, dtype=torch.float64)) for _ in range(2)] for _ in range(count)]
    optimizers = [
        SOFIM(model, lr=float(lr), beta=float(beta), rho=float(rho), weight_decay=float(decay), direction=direction)
        for model, lr, beta, rho, decay in zip(models, lrs, betas, rhos, decays, strict=True)
    ]
    stacked = [torch.ones(count, 2, 2, dtype=torch.float64) for _ in range(2)]
    averages = [torch.zeros_like(param) for param in stacked]

    def loss_function(params, target):
        return ((params[0] @ params[1]).reshape(-1) - target).square().sum()

    def update(params, grads, averages, lr, beta, rho, decay, step):
        options = {"lr": lr, "beta": beta, "rho": rho, "weight_decay": decay, "direction": direction}
        return sofim_update(params, grads, averages, step, **options)

    for step in range(1, 21):
        for model, optimizer, target in zip(models, optimizers, targets, strict=True):
            optimizer.zero_grad()
            loss_function(model, target).backward()
            optimizer.step()
        grads = vmap(torch.func.grad(loss_function))(stacked, targets)
        stacked, averages = vmap(update, in_dims=(0,) * 7 + (None,))(
            stacked, grads, averages, lrs, betas, rhos, decays, step
        )
    for index, model in enumerate(models):
        for param, rows in zip(model, stacked, strict=True):
            torch.testing.assert_close(rows[index], param.detach(), rtol=1e-10, atol=1e-12)


@PATHS
@pytest.mark.parametrize("direction", ["momentum", "gradient"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precisions_follow_float64(dtype, direction, foreach):
    options = {"lr": 0.1, "beta": 0.9, "rho": 0.5, "weight_decay": 0.01, "direction": direction}
    exact = run_class(20, **options)[-1]
    ours = run_class(20, dtype=dtype, foreach=foreach, **options)[-1]
    tolerance = 40 * torch.finfo(dtype).eps
    np.testing.assert_allclose(ours, exact, rtol=0.0, atol=tolerance * np.abs(exact).max())


@PATHS
def test_float16_norm_beyond_its_range(foreach):
    """Entries of 300 have ‖M̂‖² = 9e7, infinite in float16, and a scale of 1e-5 that float16 hardly resolves."""
    param = nn.Parameter(torch.zeros(1000, dtype=torch.float16))
    param.grad = torch.full((1000,), 300.0, dtype=torch.float16)
    SOFIM([param], lr=1000.0, rho=1.0, foreach=foreach).step()
    expected = -1000.0 * 300.0 / (1.0 + 9e7)
    assert param[0].item() == pytest.approx(expected, rel=2e-3)


@PATHS
def test_maximize_goes_the_opposite_way(foreach):
    options = {"lr": 0.1, "weight_decay": 0.1, "foreach": foreach}
    up = run_class(10, maximize=True, gradient=lambda w, t: -noisy_gradient(w, t), **options)
    down = run_class(10, **options)
    np.testing.assert_allclose(up[-1], down[-1], rtol=1e-12)


def test_groups_are_blocks_of_their_own():
    """Two groups are two optimizers: one norm for each."""
    together = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    apart = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    options = [{"lr": 0.1, "rho": 0.5, "beta": 0.5}, {"lr": 0.7, "rho": 2.0, "beta": 0.9}]
    optimizers = [
        SOFIM([{"params": [param], **own} for param, own in zip(together, options, strict=True)]),
        *(SOFIM([param], **own) for param, own in zip(apart, options, strict=True)),
    ]
    for step in range(5):
        for first, second in zip(together, apart, strict=True):
            first.grad = torch.arange(first.numel()) + step + 1.0
            second.grad = first.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for first, second in zip(together, apart, strict=True):
        assert torch.equal(first, second)


@PATHS
def test_late_parameter_is_corrected_for_its_own_age(foreach):
    """A parameter whose first gradient comes at step 4 has M̂ = that gradient, not a tenth of it."""
    early, late = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    optimizer = SOFIM([early, late], lr=1.0, rho=1e9, foreach=foreach)
    for step in range(4):
        early.grad = torch.ones(2, dtype=torch.float64)
        late.grad = torch.full((2,), 3.0, dtype=torch.float64) if step == 3 else None
        optimizer.step()
    torch.testing.assert_close(late.detach(), torch.full((2,), -3e-9, dtype=torch.float64), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(early.detach(), torch.full((2,), -4e-9, dtype=torch.float64), rtol=1e-6, atol=0.0)
