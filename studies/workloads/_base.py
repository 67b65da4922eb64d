"""What a workload is: data × model × loss × metric (with direction and target) × epoch budget."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from analysis.schema import HISTORY
from studies.data import Data, PublishedDataset, Split, dataset
from studies.workloads.user_errors import caller

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Metric:
    """The number by which configurations are chosen.

    Attributes:
        name: What it is called in tables.
        direction: ``"maximize"`` or ``"minimize"``.
        function: Called with (outputs, targets) of a batch; returns its mean over the batch as a tensor without
            dimensions. Means of batches are averaged by their sizes. None means the loss with its penalty.
        split: The examples it is computed on: ``"validation"``, or ``"train"`` for a metric of the optimization itself.
        finish: Called with the mean over the split; returns the metric (a square root, the gap to a known optimum, …).
        meaning: What it is, in a few words, where its name does not say so.
        scale: ``"log"`` for a positive metric to be minimized that spreads over decades (a gap, the loss of a
            physical problem), whose differences are told as ratios; else ``"linear"``.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    function: Callable[[Tensor, Tensor], Tensor] | None = None
    split: Literal["train", "validation"] = "validation"
    finish: Callable[[float], float] | None = None
    meaning: str = ""
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        _check_name("metric", self.name)
        if self.name in HISTORY:
            raise ValueError(f"a metric is not called {self.name!r}: a trial's history has a column of that name")
        if self.direction not in ("maximize", "minimize"):
            raise ValueError(f"a metric's direction is 'maximize' or 'minimize', not {self.direction!r}")
        if self.split not in ("train", "validation"):
            raise ValueError(f"a metric's split is 'train' or 'validation', not {self.split!r}")
        if self.scale not in ("linear", "log"):
            raise ValueError(f"a metric's scale is 'linear' or 'log', not {self.scale!r}")
        if self.scale == "log" and self.direction == "maximize":
            raise ValueError(
                "a metric's scale is 'log' where it is minimized: of a maximized one take the distance to 1"
            )
        _check_callable("metric.function", self.function, optional=True)
        _check_callable("metric.finish", self.finish, optional=True)

    def is_better(self, value: float, than: float) -> bool:
        """Return whether ``value`` is strictly better; a value that is not a number is never better."""
        return value > than if self.direction == "maximize" else value < than


@dataclass(frozen=True)
class Workload:
    """One thing to train.

    Only functions, no tensors: a workload is small, and data and weights are made where it runs.

    Attributes:
        name: Its key: letters, digits, ``.``, ``_`` and ``-``.
        load: Called with the data directory (None: the default one); returns the data. What it returns is kept and
            shared, so it does not depend on a trial's seed.
        model: Called without arguments; returns a new model, its weights drawn from torch's global generator, which is
            seeded with the trial's seed before the call. It maps a batch of (prepared) inputs to outputs.
        loss: Called with (outputs, targets); returns the mean loss of the batch as a tensor without dimensions.
        metric: The number by which configurations are chosen.
        target: The value of the metric that counts as solved, for the time to get there; None if there is none.
        epochs: The epoch budget of one trial.
        source: Where the task comes from.
        licence: Licence of its data.
        dataset: Key in ``studies.data.DATASETS``, if its data are one of these.
        prepare: Turns a batch of stored inputs into what the model takes; for training and for evaluation.
        augment: Called with (stored inputs, generator) for training batches alone, before ``prepare``; it draws from
            that generator only.
        penalty: Called with the model; returns a regularization term that is added to the training loss.
        place: "file:line" where the workload was written, for messages; found, not given.
    """

    name: str
    load: Callable[[Path | None], Data]
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Metric
    target: float | None = None
    epochs: int = 10
    source: str = ""
    licence: str = ""
    dataset: str | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    place: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller())
        _check_name("workload", self.name)
        for name in ("load", "model", "loss"):
            _check_callable(name, getattr(self, name))
        for name in ("prepare", "augment", "penalty"):
            _check_callable(name, getattr(self, name), optional=True)
        if isinstance(self.model, nn.Module):
            raise TypeError("model is a function that makes a new model, not a model (lambda: MyNet() is one)")
        if not isinstance(self.metric, Metric):
            raise TypeError(f"metric is a Metric, not {type(self.metric).__name__}")
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise ValueError(f"epochs is a whole number from 1, not {self.epochs!r}")
        if self.target is not None and not math.isfinite(self.target):
            raise ValueError(f"target is a finite number or None, not {self.target!r}")


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the fraction of a batch whose largest logit is the right one.

    Args:
        outputs: Logits [n, classes].
        targets: Right classes [n].

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])).item()
    0.5
    """
    return (outputs.argmax(dim=1) == targets).double().mean()


def image_data(dataset_name: str, directory: Path | None, *, validation_fraction: float) -> Data:
    """Return a published image data set, its training part cut into training and validation examples.

    The tensors are uint8 [n, channels, height, width] and int64 [n], mapped from the cache and shared with the other
    processes of the machine.

    Args:
        dataset_name: Key in ``studies.data.DATASETS``.
        directory: The data directory.
        validation_fraction: Fraction of the training part that validates.

    Raises:
        UserError: If a file of the training part is missing or damaged. Test files are not looked at before
            ``Data.test()``.
    """
    published = dataset(dataset_name)
    assert isinstance(published, PublishedDataset)

    def test() -> Split:
        arrays = published.arrays("test", directory)
        return Split(torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"]))

    arrays = published.arrays("train", directory)
    images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    num_train = len(labels) - max(1, round(len(labels) * validation_fraction))
    train, validation = Split(images[:num_train], labels[:num_train]), Split(images[num_train:], labels[num_train:])
    return Data(train, validation, test)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"the name of a {what} is up to 64 letters, digits, '.', '_' and '-', not {name!r}")


def _check_callable(field: str, value: object, *, optional: bool = False) -> None:
    if not (callable(value) or (optional and value is None)):
        raise TypeError(f"{field} is a function, not {type(value).__name__}")
