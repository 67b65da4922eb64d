"""LeNet5 on CIFAR-10, a pair of the SOFIM paper."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import nn

from studies.data import DATASETS
from studies.models import LeNet5
from studies.workloads._base import Metric, Workload, accuracy, image_data
from studies.workloads._cifar import AUGMENTATION, CIFAR10_COLOURS, VALIDATION_FRACTION


def _model() -> nn.Module:
    return LeNet5(channels=3, size=32, num_classes=10, padding=0)


CIFAR10_LENET5 = Workload(
    name="cifar10-lenet5",
    kind="image",
    load=partial(image_data, "cifar10", validation_fraction=VALIDATION_FRACTION),
    model=_model,
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.65,
    epochs=30,
    dataset="cifar10",
    source=f"{DATASETS['cifar10'].source}; arXiv 2403.02833 (the pair)",
    licence=DATASETS["cifar10"].licence,
    prepare=CIFAR10_COLOURS,
    augment=AUGMENTATION,
)
