"""Optimizers of other people: each step is that of its paper, and what their libraries leave open is closed."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from sofim import OPTIMIZERS
from tests.reference import baseline_twins
from tests.sofim.driver import advance

ADAM = {"lr": 0.01, "betas": (0.9, 0.97), "eps": 1e-8, "weight_decay": 0.1}
BASELINES = {
    "nadamw": ADAM,
    "soap": {**ADAM, "update_period": 3},
    "shampoo": {**ADAM, "update_period": 3},
    "lion": {"lr": 0.01, "betas": (0.9, 0.97), "weight_decay": 0.1},
    "ademamix": {**ADAM, "betas": (0.9, 0.97, 0.99), "alpha": 5.0},
}
SOPHIA = {"lr": 0.01, "betas": (0.9, 0.97), "gamma": 0.5, "eps": 1e-12, "weight_decay": 0.1, "update_period": 3}
ALL = {**BASELINES, "sophia": SOPHIA}


@pytest.mark.parametrize("key", BASELINES)
def test_every_step_is_the_papers(key: str) -> None:
    generator = np.random.default_rng(0)
    start = generator.normal(size=(4, 3))
    gradients = [generator.normal(size=(4, 3)) + 1 for _ in range(12)]
    param = nn.Parameter(torch.tensor(start))
    optimizer = OPTIMIZERS[key].factory([param], **BASELINES[key])
    for gradient, expected in zip(
        gradients, getattr(baseline_twins, key)(start, gradients, **BASELINES[key]), strict=True
    ):
        param.grad = torch.tensor(gradient)
        optimizer.step()
        # SOAP decomposes, and torch's NAdam multiplies its momenta, in float32.
        tolerance = {"soap": 1e-4, "nadamw": 1e-5}.get(key, 1e-9)
        np.testing.assert_allclose(param.detach().numpy(), expected, rtol=tolerance)


def test_every_step_of_sophia_is_the_papers() -> None:
    scales = torch.tensor([[1.0, -2.0, 5.0]], dtype=torch.float64)  # one direction curves downwards
    start = torch.tensor([[1.0, 0.3, -0.1]], dtype=torch.float64)
    param = nn.Parameter(start.clone())
    spec = OPTIMIZERS["sophia"]
    optimizer = spec.factory([param], **SOPHIA)
    torch.manual_seed(3)
    seen = []
    gradients = []
    for _ in range(8):
        gradients.append((scales * param).detach().numpy())
        advance(spec, optimizer, lambda: (scales * param.square()).sum() / 2)
        seen.append(param.detach().clone().numpy())
    torch.manual_seed(3)
    diagonals = [(torch.randn_like(start).square() * scales).numpy() for _ in range(3)]
    np.testing.assert_allclose(seen, list(baseline_twins.sophia(start.numpy(), gradients, diagonals, **SOPHIA)))


def test_sophia_wants_a_hessian_first_and_counts_what_it_costs() -> None:
    param = nn.Parameter(torch.ones(2))
    optimizer = OPTIMIZERS["sophia"].factory([param], update_period=2)
    param.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match=r"call refresh\(loss\)"):
        optimizer.step()
    due = []
    for _ in range(5):
        due.append(optimizer.refresh_due)
        if due[-1]:
            assert optimizer.refresh(param.square().sum()) == 2
        optimizer.step()
    assert due == [True, False, True, False, True]


class Scaled(nn.Module):
    """A convolution, a matrix, vectors and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * self.layers(images)


@pytest.mark.parametrize("key", ALL)
def test_tensors_of_every_dimension_learn_and_go_on_bit_for_bit(key: str) -> None:
    spec = OPTIMIZERS[key]

    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = Scaled()
        return model, spec.factory(model.parameters(), **ALL[key])

    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(20, 1, 4, 4, generator=generator), torch.arange(20) % 5

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> list[float]:
        return [
            advance(spec, optimizer, lambda: nn.functional.cross_entropy(model(images), labels)) for _ in range(number)
        ]

    model, optimizer = made()
    losses = steps(model, optimizer, 7)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    random = torch.get_rng_state()
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    losses += steps(model, optimizer, 13)
    again, optimizer = made()
    again.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(random)
    assert steps(again, optimizer, 13) == losses[7:]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("key", ["soap", "shampoo"])
def test_a_dimension_that_is_too_large_has_no_matrix(key: str) -> None:
    param = nn.Parameter(torch.ones(3, 50))
    optimizer = OPTIMIZERS[key].factory([param], update_period=1, max_precondition_dim=20)
    for _ in range(3):
        param.grad = torch.randn(3, 50)
        optimizer.step()
    assert [len(matrix) for matrix in optimizer.state[param]["GG"]] == [3, 0]
    assert param.isfinite().all()


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *((key, bad) for key in ALL for bad in ({"lr": math.nan}, {"weight_decay": math.inf}, {"betas": (0.9, 1.0)})),
        *((key, {"eps": -1.0}) for key in ALL if key != "lion"),
        *((key, {"update_period": 0}) for key in ("soap", "shampoo", "sophia")),
        *((key, {"max_precondition_dim": 0}) for key in ("soap", "shampoo")),
        ("ademamix", {"betas": (0.9, 0.999, 1.0)}),
        ("ademamix", {"alpha": -1.0}),
        ("ademamix", {"warmup_steps": 0}),
        ("sophia", {"gamma": 0.0}),
    ],
    ids=str,
)
def test_bad_hyperparameters(key: str, bad: dict[str, object]) -> None:
    [name] = bad
    known = {"betas": r"betas\[|beta|range|momentum", "lr": "lr|learning rate", "eps": "eps"}
    with pytest.raises(ValueError, match=known.get(name, name)):
        OPTIMIZERS[key].factory([nn.Parameter(torch.ones(2))], **bad)


def test_the_slow_average_of_ademamix_grows_into_its_place() -> None:
    """With the authors' schedule the first steps are AdamW's, apart from rounding."""
    ends = {}
    for key, more in (("adamw", {}), ("ademamix", {"alpha": 8.0, "warmup_steps": 10_000_000})):
        param = nn.Parameter(torch.ones(3, dtype=torch.float64))
        betas = (0.9, 0.99) if key == "adamw" else (0.9, 0.99, 0.9999)
        optimizer = OPTIMIZERS[key].factory([param], lr=0.1, weight_decay=0.1, betas=betas, **more)
        for _ in range(5):
            advance(OPTIMIZERS[key], optimizer, lambda param=param: param.square().sum())
        ends[key] = param.detach()
    torch.testing.assert_close(ends["adamw"], ends["ademamix"], rtol=1e-4, atol=0.0)
