"""A perceptron with one hidden layer on scikit-learn's handwritten digits: less than a second a trial."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from studies.data import DATASETS
from studies.workloads._base import Metric, Workload, accuracy
from studies.workloads._digits import digits


def _model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(inplace=True), nn.Linear(64, 10))


DIGITS_MLP = Workload(
    name="digits-mlp",
    kind="image",
    load=digits,
    model=_model,
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.9899,
    epochs=20,
    dataset="digits",
    source=DATASETS["digits"].source,
    licence=DATASETS["digits"].licence,
)
