"""LeNet5 on Fashion-MNIST: 50,000 images train, 10,000 validate, 10,000 test."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import nn

from studies.data import DATASETS
from studies.data.images import Standardize
from studies.models import LeNet5
from studies.workloads._base import Metric, Workload, accuracy, image_data


def _model() -> nn.Module:
    return LeNet5(channels=1, size=28, num_classes=10, padding=2)


FASHION_LENET5 = Workload(
    name="fashion-lenet5",
    kind="image",
    load=partial(image_data, "fashion-mnist", validation_fraction=1 / 6),
    model=_model,
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.911,
    epochs=5,
    dataset="fashion-mnist",
    source=DATASETS["fashion-mnist"].source,
    licence=DATASETS["fashion-mnist"].licence,
    prepare=Standardize((0.2860,), (0.3530,)),
)
