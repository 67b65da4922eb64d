"""ResNet18 on CIFAR-10, a pair of the SOFIM paper."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F

from studies.data import DATASETS
from studies.models import resnet18
from studies.workloads._base import Metric, Workload, accuracy, image_data
from studies.workloads._cifar import AUGMENTATION, CIFAR10_COLOURS, VALIDATION_FRACTION

CIFAR10_RESNET18 = Workload(
    name="cifar10-resnet18",
    kind="image",
    load=partial(image_data, "cifar10", validation_fraction=VALIDATION_FRACTION),
    model=partial(resnet18, 10),
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.93,
    epochs=30,
    dataset="cifar10",
    source=f"{DATASETS['cifar10'].source}; arXiv 2403.02833 (the pair)",
    licence=DATASETS["cifar10"].licence,
    prepare=CIFAR10_COLOURS,
    augment=AUGMENTATION,
)
