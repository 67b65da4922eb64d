"""L2-regularized logistic regression on the breast cancer data: convex, small, its optimum known to 1e-10."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from studies.data import DATASETS, SPLIT_SEED, BundledDataset, Data, Split, cached_arrays
from studies.workloads._base import Metric, Workload

_NUM_FEATURES = 30
_NUM_TRAIN = 379  # of 569: 95 test (a sixth), 95 validate
PENALTY = 1 / _NUM_TRAIN
"""λ of the penalty λ/2 ‖w‖² (the bias is free): scikit-learn's ``LogisticRegression(C=1)``, divided by the examples."""


def _data(_directory: Path | None = None) -> Data:
    rows = DATASETS["breast-cancer"]
    assert isinstance(rows, BundledDataset)
    arrays = rows.arrays("train")
    inputs, labels = torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["labels"]).double()
    mean, std = inputs[:_NUM_TRAIN].mean(dim=0), inputs[:_NUM_TRAIN].std(dim=0, correction=0)
    inputs = (inputs - mean) / std

    def test() -> Split:
        held_out = rows.arrays("test")
        return Split((torch.from_numpy(held_out["inputs"]) - mean) / std, torch.from_numpy(held_out["labels"]).double())

    return Data((inputs[:_NUM_TRAIN], labels[:_NUM_TRAIN]), (inputs[_NUM_TRAIN:], labels[_NUM_TRAIN:]), test)


def _model() -> nn.Module:
    return nn.Linear(_NUM_FEATURES, 1, dtype=torch.float64)


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.squeeze(1), targets)


def _penalty(model: nn.Module) -> Tensor:
    weight = model.get_parameter("weight")
    return 0.5 * PENALTY * weight.square().sum()


def objective(weights: NDArray[np.float64], inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return the training objective: mean logistic loss + λ/2 ‖w‖².

    Args:
        weights: [features + 1], the bias last.
        inputs: [n, features].
        targets: [n], 0 or 1.
    """
    margins = inputs @ weights[:-1] + weights[-1]
    return float(np.mean(np.logaddexp(0, margins) - targets * margins) + 0.5 * PENALTY * weights[:-1] @ weights[:-1])


@cache
def optimum() -> float:
    """Return the least value of the training objective, computed once by scipy and kept in the cache."""
    return float(
        cached_arrays("breast-cancer-optimum", [version("scikit-learn"), SPLIT_SEED, PENALTY], _solve)["value"]
    )


def _solve() -> dict[str, NDArray[np.generic]]:
    from scipy.optimize import minimize
    from scipy.special import expit

    train = _data().train
    inputs, targets = train.inputs.numpy(), train.targets.numpy()
    ones = np.hstack([inputs, np.ones((len(inputs), 1))])
    ridge = PENALTY * np.diag([1.0] * _NUM_FEATURES + [0.0])

    def gradient(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        slope: NDArray[np.float64] = ones.T @ (expit(ones @ weights) - targets) / len(ones) + ridge @ weights
        return slope

    def hessian(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        probability = expit(ones @ weights)
        curvature: NDArray[np.float64] = (ones * (probability * (1 - probability))[:, None]).T @ ones / len(
            ones
        ) + ridge
        return curvature

    weights = minimize(
        objective,
        np.zeros(_NUM_FEATURES + 1),
        args=(inputs, targets),
        method="trust-exact",
        jac=lambda weights, *_: gradient(weights),
        hess=lambda weights, *_: hessian(weights),
        options={"gtol": 1e-8},
    ).x
    for _ in range(3):  # Newton's steps from there: the error is squared each time, down to rounding
        weights = weights - np.linalg.solve(hessian(weights), gradient(weights))
    return {"value": np.array(objective(weights, inputs, targets)), "weights": weights}


def _gap(value: float) -> float:
    # Rounding may put a solved problem below the optimum, and a logarithmic axis has no place for that.
    return max(value - optimum(), 0.0)


BREAST_CANCER_LOGREG = Workload(
    name="breast-cancer-logreg",
    kind="table",
    load=_data,
    model=_model,
    loss=_loss,
    penalty=_penalty,
    metric=Metric(
        "gap",
        "minimize",
        split="train",
        finish=_gap,
        meaning="training loss less the least possible",
        scale="log",
    ),
    target=5.015e-05,
    epochs=30,
    dataset="breast-cancer",
    source=DATASETS["breast-cancer"].source,
    licence=DATASETS["breast-cancer"].licence,
)
