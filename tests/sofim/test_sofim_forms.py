"""SOFIM's forms: the step along F⁻¹ g beside that along F⁻¹ M̂, and a Fisher block for each tensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sofim import SOFIM, sofim_update
from tests.reference import optimizer_twins as twins

PATHS = pytest.mark.parametrize("foreach", [None, False])


def directions(gradients, rho, *, beta=0.9, dtype=torch.float64, direction="gradient", foreach=None, **options):
    """Return −Δp of each step, with η = 1, of gradients that do not depend on the parameter."""
    param = nn.Parameter(torch.zeros(len(gradients[0]), dtype=dtype))
    optimizer = SOFIM([param], lr=1.0, beta=beta, rho=rho, direction=direction, foreach=foreach, **options)
    steps = []
    for gradient in gradients:
        with torch.no_grad():
            param.zero_()  # so that no digit is lost to the position
        param.grad = torch.as_tensor(gradient, dtype=dtype)
        optimizer.step()
        steps.append(-param.detach().double().numpy())
    return steps


def relative_error(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


@PATHS
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e8])
@pytest.mark.parametrize(
    ("size", "noise", "tolerance"),
    [
        (1, 0.5, 1e-6),  # always parallel to M̂
        (64, 0.0, 1e-6),  # parallel to M̂
        (64, 1e-3, 1e-3),  # nearly so: M̂ in float32 has an angle of its own, which ‖M̂‖²/ρ magnifies
        (64, 10.0, 1e-6),
        (3000, 0.0, 1e-6),
    ],
)
def test_gradient_form_keeps_the_digits_that_float32_has(ratio, size, noise, tolerance, foreach):
    """‖M̂‖²/ρ of 1e8, against 60 digits."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal(size)
    gradients = [(base + noise * rng.standard_normal(size)).astype(np.float32) for _ in range(5)]
    rho = float(np.float32(base @ base / ratio))
    expected = twins.gradient_exact(gradients, 0.9, rho)
    ours = directions(gradients, rho, dtype=torch.float32, foreach=foreach)[-1]
    assert relative_error(ours, expected) < tolerance
    if ratio == 1e8 and noise == 0.0:
        naive = twins.gradient_two_terms(gradients[0], np.float32(rho), gradients[0])
        assert not relative_error(naive, expected) < 0.1


@PATHS
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rho", [1e-20, 1e-8, 1.0])
def test_the_forms_are_one_on_the_first_step(rho, dtype, weight_decay, foreach):
    ends = []
    for direction in ("momentum", "gradient"):
        param = nn.Parameter(torch.linspace(-1.0, 2.0, 40, dtype=dtype))
        param.grad = torch.cos(5.0 * param.detach())
        SOFIM([param], lr=1.0, rho=rho, weight_decay=weight_decay, direction=direction, foreach=foreach).step()
        ends.append(param.detach())
    torch.testing.assert_close(*ends, rtol=2 * torch.finfo(dtype).eps, atol=2 * torch.finfo(dtype).eps)


def test_where_g_is_parallel_to_the_average_the_forms_differ_by_a_factor():
    """F⁻¹ (c M̂) = c F⁻¹ M̂, with c = g / M̂."""
    base = np.random.default_rng(1).standard_normal(7)
    gradients = [scale * base for scale in (1.0, -2.0, 0.5)]
    average = twins.sofim(np.zeros(7), lambda w, t: gradients[t - 1], 3, lr=1.0, beta=0.9, rho=1.0, direction=_average)
    factor = (gradients[-1] @ base) / ((average[-2] - average[-1]) @ base)
    along_gradient, along_average = (
        directions(gradients, 0.3, direction=direction)[-1] for direction in ("gradient", "momentum")
    )
    np.testing.assert_allclose(along_gradient, factor * along_average, rtol=1e-12)


def _average(m, rho, g):
    return m


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rho=st.floats(1e-6, 1e6), beta=st.floats(0.0, 0.99), size=st.integers(1, 6))
def test_gradient_form_always_descends(seed, rho, beta, size):
    """F is positive definite: g · F⁻¹ g > 0. The step along the average may ascend."""
    gradients = np.random.default_rng(seed).standard_normal((4, size)).astype(np.float32)
    for gradient, step in zip(gradients, directions(gradients, rho, beta=beta, dtype=torch.float32), strict=True):
        assert step @ gradient > 0.0


def test_the_step_along_the_average_may_ascend():
    gradients = [np.array([1.0]), np.array([-0.1])]
    assert directions(gradients, 1.0, direction="momentum")[-1] @ gradients[-1] < 0.0
    assert directions(gradients, 1.0, direction="gradient")[-1] @ gradients[-1] > 0.0


@pytest.mark.parametrize("direction", ["momentum", "gradient"])
def test_steps_turn_with_the_coordinates(direction):
    rng = np.random.default_rng(2)
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    gradients = rng.standard_normal((5, 6))
    plain = directions(gradients, 0.1, direction=direction)
    turned = directions(gradients @ rotation.T, 0.1, direction=direction)
    np.testing.assert_allclose(turned, np.array(plain) @ rotation.T, rtol=1e-10, atol=1e-12)


def test_far_below_the_knee_the_gradient_form_is_plain_sgd():
    gradients = np.random.default_rng(3).standard_normal((4, 5))
    np.testing.assert_allclose(1e12 * np.array(directions(gradients, 1e12)), gradients, rtol=1e-10)


def test_a_zero_gradient_takes_no_step_whatever_was_before():
    steps = directions([np.zeros(3), np.ones(3), np.zeros(3)], 0.5)
    assert not steps[0].any()
    assert np.abs(steps[2]).max() < 1e-30


@pytest.mark.parametrize("direction", ["momentum", "gradient"])
def test_tensors_as_blocks_are_optimizers_of_their_own(direction):
    options = {"lr": 0.3, "rho": 0.2, "weight_decay": 0.01, "direction": direction}
    together, apart = ([nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3, 2))] for _ in range(2))
    optimizers = [SOFIM(together, blocks="tensor", **options), *(SOFIM([param], **options) for param in apart)]
    for step in range(5):
        for first, second in zip(together, apart, strict=True):
            first.grad = torch.cos(first.detach() + step)
            second.grad = first.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for first, second in zip(together, apart, strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(together[0][0], together[1][0, 0])


def test_groups_may_have_forms_of_their_own_and_keep_them_in_checkpoints():
    params = [nn.Parameter(torch.ones(3)) for _ in range(3)]
    forms = [{}, {"direction": "gradient"}, {"direction": "gradient", "blocks": "tensor"}]
    groups = [{"params": [param], **form} for param, form in zip(params, forms, strict=True)]
    optimizer = SOFIM(groups, lr=0.5)
    for step in range(3):
        for param in params:
            param.grad = torch.tensor([1.0, step, -step])
        optimizer.step()
    assert not torch.equal(params[0], params[1])
    assert torch.equal(params[1], params[2])
    other = SOFIM([{"params": [param]} for param in params])
    other.load_state_dict(optimizer.state_dict())
    assert [group["direction"] for group in other.param_groups] == ["momentum", "gradient", "gradient"]
    assert other.param_groups[2]["blocks"] == "tensor"
    assert set(optimizer.state[params[1]]) == set(optimizer.state[params[0]]) == {"step", "average"}


@PATHS
def test_gradient_form_corrects_a_late_parameter_for_its_own_age(foreach):
    """Its average is its gradient, as on a first step, so that with the other's it makes the vector M̂."""
    early, late = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    optimizer = SOFIM([early, late], lr=1.0, rho=0.5, direction="gradient", foreach=foreach)
    for step in range(3):
        early.grad = torch.tensor([1.0, step], dtype=torch.float64)
        late.grad = torch.tensor([2.0, -1.0], dtype=torch.float64) if step == 2 else None
        before = torch.cat([early, late]).detach()
        optimizer.step()
    average = torch.cat([optimizer.state[param]["average"] for param in (early, late)]).numpy()
    gradient = torch.cat([early.grad, late.grad]).numpy()
    expected = twins.gradient_dense_inverse(average, 0.5, gradient)
    np.testing.assert_allclose(before - torch.cat([early, late]).detach(), expected, rtol=1e-12)


def test_path_of_the_gradient_form_for_devices_gives_the_numbers_of_that_for_cpu(monkeypatch):
    """The inner products that CUDA runs, run on CPU."""
    from sofim import _in_place

    gradients = np.random.default_rng(4).standard_normal((4, 9))
    on_cpu = directions(gradients, 0.3, weight_decay=0.1)
    monkeypatch.setattr(_in_place, "_inner_product_on_host", _in_place._inner_product_on_device)
    np.testing.assert_allclose(directions(gradients, 0.3, weight_decay=0.1), on_cpu, rtol=1e-12)


def test_the_pure_function_knows_its_forms():
    tensors = [torch.ones(2)]
    for bad in ({"direction": "natural"}, {"blocks": "layer"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            sofim_update(tensors, tensors, tensors, 1, lr=0.1, beta=0.9, rho=0.5, **bad)
