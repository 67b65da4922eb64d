"""Workloads: data × model × loss × metric × epoch budget.

The project's own are the rows of ``WORKLOADS``. Your own is a function that returns a ``Workload``, written anywhere
that Python can import (the current directory will do), and named as ``package.module:factory``. A complete one:

.. code-block:: python

    import torch
    from torch import nn
    from studies.workloads import Data, Metric, Workload, accuracy

    def load(directory):  # the data directory, for those who keep files there
        points = torch.rand(900, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
        classes = (points.prod(dim=1) > 0).long()
        return Data((points[:500], classes[:500]), (points[500:700], classes[500:700]), (points[700:], classes[700:]))

    def xor():
        net = lambda: nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        metric = Metric("accuracy", "maximize", accuracy)
        return Workload("xor", load, net, nn.functional.cross_entropy, metric, epochs=5)

In a file ``mine.py`` that is ``sofim launch CAMPAIGN --workload mine:xor --name NAME``; in a notebook's cell
``studies.tune(xor, budget=…)``. Each part of ``Data`` may also be a
``Dataset`` or a ``DataLoader``, and the test part a function that reads it when it is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping

from studies.data import Data, Split
from studies.workloads._base import Metric, Workload, accuracy
from studies.workloads._check import check
from studies.workloads._load import load
from studies.workloads._pickled import carry, content, named
from studies.workloads._resolve import resolve_in
from studies.workloads.breast_cancer_logreg import BREAST_CANCER_LOGREG
from studies.workloads.cifar10_lenet5 import CIFAR10_LENET5
from studies.workloads.cifar10_resnet18 import CIFAR10_RESNET18
from studies.workloads.cifar100_resnet9 import CIFAR100_RESNET9
from studies.workloads.digits_lenet5 import DIGITS_LENET5
from studies.workloads.digits_mlp import DIGITS_MLP
from studies.workloads.fashion_lenet5 import FASHION_LENET5
from studies.workloads.svhn_resnet9 import SVHN_RESNET9

__all__ = [
    "WORKLOADS",
    "Data",
    "Metric",
    "Split",
    "Workload",
    "accuracy",
    "carry",
    "check",
    "content",
    "load",
    "named",
    "resolve",
]

WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        BREAST_CANCER_LOGREG,
        DIGITS_MLP,
        DIGITS_LENET5,
        FASHION_LENET5,
        CIFAR10_LENET5,
        CIFAR10_RESNET18,
        CIFAR100_RESNET9,
        SVHN_RESNET9,
    )
}
"""The project's workloads by name: small ones first, then the pairs of the SOFIM paper."""


def resolve(name: str) -> Workload:
    """Return a workload by its name in ``WORKLOADS``, or by the path of a function that returns one.

    Args:
        name: ``"digits-mlp"``, or ``"package.module:factory"`` for one's own.

    Raises:
        UserError: If there is no such workload, or the user's module or function fails or returns something else; the
            message says where in the user's code.
    """
    return resolve_in(WORKLOADS, name)
