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

What is more than rows of tensors says itself what a batch, its loss and an evaluation are, each as far as it differs:
windows of a text, collocation points and a residual, seeds of episodes and a policy gradient.

.. code-block:: python

    import math
    import torch
    from torch import nn
    from studies.workloads import Metric, Workload

    def load(directory):
        text = torch.tensor(list(b"to be or not to be that is the question " * 50))
        return {"train": text[:1200], "validation": text[1200:1600], "test": text[1600:]}

    def windows(data, n, generator):  # a batch: eight letters each, and the next one
        starts = torch.randint(len(data["train"]) - 8, (n, 1), generator=generator)
        return data["train"][starts + torch.arange(9)]

    def objective(model, batch):
        return nn.functional.cross_entropy(model(batch[:, :-1]), batch[:, -1])

    def bits(model, data, split):  # "validation" or "test"
        return objective(model, data[split].unfold(0, 9, 1)).item() / math.log(2)

    def letters():
        net = lambda: nn.Sequential(nn.Embedding(128, 8), nn.Flatten(), nn.Linear(64, 128))
        metric = Metric("bits", "minimize")
        return Workload("letters", load, net, metric=metric, epochs=5,
                        sample=windows, examples=512, objective=objective, evaluate=bits)

A loop of your own stays as it is: `TrainingFunction` declares a generator function that yields the metric each epoch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.data import Data, Split
    from studies.workloads._base import Batch, Metric, Workload, accuracy
    from studies.workloads._check import check
    from studies.workloads._function import TrainingFunction, check_function
    from studies.workloads._load import load
    from studies.workloads._pickled import carry, content, named
    from studies.workloads._rows import WORKLOADS, resolve

__all__ = [
    "WORKLOADS",
    "Batch",
    "Data",
    "Metric",
    "Split",
    "TrainingFunction",
    "Workload",
    "accuracy",
    "carry",
    "check",
    "check_function",
    "content",
    "load",
    "named",
    "resolve",
]

_PLACES = {
    "studies.data": ("Data", "Split"),
    "studies.workloads._base": ("Batch", "Metric", "Workload", "accuracy"),
    "studies.workloads._pickled": ("carry", "content", "named"),
    "studies.workloads._check": ("check",),
    "studies.workloads._function": ("TrainingFunction", "check_function"),
    "studies.workloads._load": ("load",),
    "studies.workloads._rows": ("WORKLOADS", "resolve"),
}


def __getattr__(name: str) -> object:
    """Import what is asked for only now: nearly all of it brings torch, which whoever lists workloads does without."""
    for module, names in _PLACES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
