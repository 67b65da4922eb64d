"""A deep autoencoder on scikit-learn's handwritten digits, the classic task of second-order methods.

Hinton and Salakhutdinov (2006) set it on larger images, Martens (2010) made it the test of Hessian-free optimization:
eight layers through a code of a few numbers, hard for plain gradients. As there, the loss is the cross-entropy of the
pixels, and what is told is the squared error. Differs from theirs: tanh for the logistic function, and layers that fit
images of 8×8 pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from studies.data import DATASETS
from studies.workloads._base import Metric, Workload
from studies.workloads._digits import digits_to_restore

_WIDTHS = (64, 128, 64, 32, 8, 32, 64, 128, 64)
_CODE = _WIDTHS.index(min(_WIDTHS))


def _model() -> nn.Module:
    layers: list[nn.Module] = []
    for number, (num_in, num_out) in enumerate(pairwise(_WIDTHS), start=1):
        layer = nn.Linear(num_in, num_out)
        nn.init.xavier_normal_(layer.weight)  # torch's own weights are smaller: eight layers of them pass nothing on
        layers.append(layer)
        if number not in (_CODE, len(_WIDTHS) - 1):  # code and output are linear
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over a batch of the cross-entropy of an image, nats, summed over its pixels."""
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="sum") / len(targets)


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over a batch of the squared error of an image, summed over its pixels."""
    return (outputs.sigmoid() - targets).square().sum(dim=1).mean()


DIGITS_AUTOENCODER = Workload(
    name="digits-autoencoder",
    kind="autoencoder",
    load=digits_to_restore,
    model=_model,
    loss=_cross_entropy,
    metric=Metric(
        "error", "minimize", _squared_error, meaning="squared error of an image, summed over its pixels", scale="log"
    ),
    target=0.5933,
    epochs=60,
    dataset="digits",
    source=f"{DATASETS['digits'].source}; Hinton, Salakhutdinov (2006); Martens (2010)",
    licence=DATASETS["digits"].licence,
)
