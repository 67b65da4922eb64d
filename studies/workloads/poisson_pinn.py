"""A physics-informed network for Poisson's equation on the unit square: seconds a trial, its solution known.

−Δu = f inside and u = 0 on the boundary, with the f for which u is sin(πx) sin(πy): the first problem on which the
authors of energy natural gradients compare optimizers (arXiv 2302.13163). The boundary condition is a hard one: the
network is multiplied by a function that vanishes there, so that the loss has no second term whose weight would be one
more hyperparameter, and a batch is points of one kind. Points are drawn anew in each step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from studies.workloads._base import HeldOut, Metric, Workload

_WIDTH = 32
_CELLS = {"validation": 64, "test": 81}
"""The error is computed at the centres of so many cells a side: of one grid to choose by, of another to confirm on."""


class Field(nn.Module):
    """u(x, y) = x(1 − x) y(1 − y) × a perceptron with two hidden layers of tanh."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(2, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, 1))
        self.network = nn.Sequential(*layers)

    def forward(self, points: Tensor) -> Tensor:
        """Return u [n] at points [n, 2]."""
        output: Tensor = self.network(points)
        return (points * (1 - points)).prod(dim=1) * output.squeeze(1)

    def laplacian(self, points: Tensor) -> Tensor:
        """Return Δu [n] at points [n, 2].

        Value, slopes and Laplacian go through the layers together. Differentiating `forward` twice gives the same at
        twice the time, and a Hessian-vector product would then differentiate four times.
        """
        value = points
        slopes = torch.eye(2).to(points)[:, None].expand(2, len(points), 2)  # [in x and in y, n, features]
        laplacian = torch.zeros_like(points)
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                value, slopes, laplacian = layer(value), slopes @ layer.weight.T, laplacian @ layer.weight.T
            else:
                value = value.tanh()
                first = 1 - value.square()
                laplacian = first * (laplacian - 2 * value * slopes.square().sum(dim=0))
                slopes = first * slopes
        sides = points * (1 - points)
        bubble, its_slopes = sides.prod(dim=1), (1 - 2 * points) * sides.flip(1)
        mixed = 2 * (its_slopes * slopes[..., 0].T).sum(dim=1)
        return bubble * laplacian[:, 0] + mixed - 2 * sides.sum(dim=1) * value[:, 0]


def solution(points: Tensor) -> Tensor:
    """Return sin(πx) sin(πy) [n] at points [n, 2]."""
    return torch.sin(math.pi * points).prod(dim=1)


def _points(_data: None, number: int, generator: torch.Generator) -> Tensor:
    return torch.rand(number, 2, generator=generator)


def _residual(model: nn.Module, points: Tensor) -> Tensor:
    """Return the mean of (Δu + f)² by that of f², which is π⁴: 1 for u = 0, whatever the units."""
    assert isinstance(model, Field)
    return (model.laplacian(points) / math.pi**2 + 2 * solution(points)).square().mean()


def _evaluate(model: nn.Module, _data: None, split: HeldOut) -> dict[str, Tensor]:
    centres = (torch.arange(_CELLS[split]) + 0.5) / _CELLS[split]
    points = torch.cartesian_prod(centres, centres).to(next(model.parameters()))
    right = solution(points)
    return {"loss": _residual(model, points), "error": (model(points) - right).norm() / right.norm()}


POISSON_PINN = Workload(
    name="poisson-pinn",
    kind="physics",
    model=Field,
    sample=_points,
    examples=8192,
    objective=_residual,
    evaluate=_evaluate,
    metric=Metric("error", "minimize", meaning="relative L2 error", scale="log"),
    target=2.27e-05,
    epochs=20,
    source="first problem of arXiv 2302.13163, with a hard boundary condition",
    licence="no data",
)
