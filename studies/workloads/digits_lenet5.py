"""LeNet5 on scikit-learn's handwritten digits: a convolutional net that trains in seconds."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from studies.data import DATASETS, Data, Split
from studies.models import LeNet5
from studies.workloads._base import Metric, Workload, accuracy
from studies.workloads._digits import digits

_SIZE = 16


def _load(directory: Path | None) -> Data:
    """Enlarge the 8×8 digits to 16×16, once and bilinearly.

    At 8×8 nothing would be left after LeNet5's two 5×5 convolutions and poolings. At 16×16 with padding 2 both keep
    their form, and the first linear layer takes 16·2·2 features where the paper's takes 16·5·5; the paper's 32×32 would
    show the net nothing more and cost four times as much.
    """
    small = digits(directory)
    return Data(_enlarged(small.train), _enlarged(small.validation), lambda: _enlarged(small.test()))


def _enlarged(split: Split) -> Split:
    images: Tensor = F.interpolate(split.inputs, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False)
    return Split(images, split.targets)


def _model() -> nn.Module:
    return LeNet5(channels=1, size=_SIZE, num_classes=10, padding=2)


DIGITS_LENET5 = Workload(
    name="digits-lenet5",
    kind="image",
    load=_load,
    model=_model,
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.9899,
    epochs=12,
    dataset="digits",
    source=DATASETS["digits"].source,
    licence=DATASETS["digits"].licence,
)
