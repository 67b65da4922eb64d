"""ResNet9 on CIFAR-100, a pair of the SOFIM paper."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F

from studies.data import DATASETS
from studies.models import ResNet9
from studies.workloads._base import Metric, Workload, accuracy, image_data
from studies.workloads._cifar import AUGMENTATION, CIFAR100_COLOURS, VALIDATION_FRACTION

CIFAR100_RESNET9 = Workload(
    name="cifar100-resnet9",
    kind="image",
    load=partial(image_data, "cifar100", validation_fraction=VALIDATION_FRACTION),
    model=partial(ResNet9, 100),
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.70,
    epochs=30,
    dataset="cifar100",
    source=f"{DATASETS['cifar100'].source}; arXiv 2403.02833 (the pair)",
    licence=DATASETS["cifar100"].licence,
    prepare=CIFAR100_COLOURS,
    augment=AUGMENTATION,
)
