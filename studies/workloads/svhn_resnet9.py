"""ResNet9 on SVHN, a pair of the SOFIM paper.

No augmentation: a mirrored digit is no digit, and beside the digit that counts stand its neighbours of the house
number, which a shift brings towards the middle. It is also what is usual (Zagoruyko, Komodakis, 2016).
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F

from studies.data import DATASETS
from studies.data.images import Standardize
from studies.models import ResNet9
from studies.workloads._base import Metric, Workload, accuracy, image_data

SVHN_RESNET9 = Workload(
    name="svhn-resnet9",
    kind="image",
    load=partial(image_data, "svhn", validation_fraction=0.1),
    model=partial(ResNet9, 10),
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.95,
    epochs=15,
    dataset="svhn",
    source=f"{DATASETS['svhn'].source}; arXiv 2403.02833 (the pair)",
    licence=DATASETS["svhn"].licence,
    prepare=Standardize((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
)
