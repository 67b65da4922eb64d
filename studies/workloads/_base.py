"""What a workload is: data × model × loss × metric (with direction and target) × epoch budget.

Batches, loss and evaluation are each either what most tasks need, rows of tensors, or a function of the task's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from analysis.schema import HISTORY
from studies.data import Data, PublishedDataset, Split, dataset
from studies.workloads.user_errors import caller

Batch: TypeAlias = Any
"""What one step trains on: a tensor, or a tuple, list or dict of tensors."""

HeldOut = Literal["validation", "test"]
"""A split that a workload's ``evaluate`` is asked for."""

_NEEDED: Any = None
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Metric:
    """The number by which configurations are chosen.

    Attributes:
        name: What it is called in tables.
        direction: ``"maximize"`` or ``"minimize"``.
        function: Called with (outputs, targets) of a batch; returns its mean over the batch as a tensor without
            dimensions. Means of batches are averaged by their sizes. None means the loss with its penalty, or
            what the workload's ``evaluate`` returns.
        split: The examples it is computed on: ``"validation"``, or ``"train"`` for a metric of the optimization itself.
        finish: Called with the mean over the split; returns the metric (a square root, the gap to a known optimum, …).
        meaning: What it is, in a few words, where its name does not say so.
        scale: ``"log"`` for a positive metric to be minimized that spreads over decades (a gap, the loss of a
            physical problem), whose differences are told as ratios; else ``"linear"``.
        bounds: Between which values it lies, (least, most), both finite, where its name and scale do not say so:
            intervals end there.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    function: Callable[[Tensor, Tensor], Tensor] | None = None
    split: Literal["train", "validation"] = "validation"
    finish: Callable[[float], float] | None = None
    meaning: str = ""
    scale: Literal["linear", "log"] = "linear"
    bounds: tuple[float, float] | None = None

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
        if self.bounds is not None and not _is_range(self.bounds):
            raise ValueError(f"a metric's bounds are (least, most), two finite numbers, not {self.bounds!r}")
        _check_callable("metric.function", self.function, optional=True)
        _check_callable("metric.finish", self.finish, optional=True)

    def is_better(self, value: float, than: float) -> bool:
        """Return whether ``value`` is strictly better; a value that is not a number is never better."""
        return value > than if self.direction == "maximize" else value < than


def _is_range(value: object) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    least, most = value
    return all(isinstance(end, int | float) and math.isfinite(end) for end in (least, most)) and least < most


@dataclass(frozen=True)
class Workload:
    """One thing to train.

    Only functions, no tensors: a workload is small, and data and weights are made where it runs.

    ``sample``, ``objective`` and ``evaluate`` are for tasks that are more than rows of tensors, and each is independent
    of the others: a stream of batches, a loss of the model itself, an evaluation that is a program.

    Attributes:
        name: Its key: letters, digits, ``.``, ``_`` and ``-``.
        load: Called with the data directory (None: the default one); returns a `Data`, or, with both ``sample`` and
            ``evaluate``, whatever these want. What it returns is kept and shared, so it does not depend on a trial's
            seed, and is not changed. None, with both of these: there is nothing to load.
        model: Called without arguments; returns a new model, its weights drawn from torch's global generator, which is
            seeded with the trial's seed before the call. It maps a batch of (prepared) inputs to outputs, or does what
            ``objective`` and ``evaluate`` ask of it.
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
        sample: Called with (what ``load`` returned, n, generator); returns a batch of n examples on the CPU, drawn from
            that generator, which is the CPU's and has its seed from the trial's and the epoch. None: batches are
            (inputs, targets), rows of ``Data.train`` in a new order in each epoch. With a ``loss`` a batch is
            (inputs, targets) too.
        examples: With ``sample``: how many an epoch has, in ``examples // batch_size`` batches, at least one.
        objective: In place of ``loss``: called with (model, batch), both on the trial's device; returns the mean loss
            of the batch as a tensor without dimensions. It draws from torch's global generators, which are the
            trial's, and L-BFGS calls it several times a step. Optimizers that take Hessian-vector products
            differentiate it twice.
        evaluate: Called with (model, data, split), ``split`` being "validation" or "test"; returns the metric, or a
            mapping with ``"loss"`` and the metric by its name. The model is in evaluation mode, no gradients are
            recorded, tensors in the data are on the trial's device, and the global generators of Python, NumPy and
            torch have the same seed at every call for a split. None: loss and metric are means over a split of
            ``Data``.
        has_test: Whether ``evaluate`` may be asked for "test"; a `Data` needs a test part too.
        kind: Of task, in one word, by which reports tell where an optimizer does well: ``"image"``, ``"text"``, …
        place: "file:line" where the workload was written, for messages; found, not given.
    """

    name: str
    load: Callable[[Path | None], Any] | None = None
    model: Callable[[], nn.Module] = _NEEDED  # and comes after what may be left out
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    metric: Metric = _NEEDED
    target: float | None = None
    epochs: int = 10
    source: str = ""
    licence: str = ""
    dataset: str | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    sample: Callable[[Any, int, torch.Generator], Batch] | None = None
    examples: int | None = None
    objective: Callable[[nn.Module, Batch], Tensor] | None = None
    evaluate: Callable[[nn.Module, Any, HeldOut], float | Tensor | Mapping[str, float | Tensor]] | None = None
    has_test: bool = True
    kind: str = ""
    place: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller())
        _check_name("workload", self.name)
        if self.kind != "":
            _check_name("kind of workload", self.kind)
        for name in ("prepare", "augment", "penalty", "sample", "objective", "evaluate"):
            _check_callable(name, getattr(self, name), optional=True)
        if self.load is not None or self.sample is None or self.evaluate is None:
            _check_callable("load", self.load, " (left out with both sample and evaluate alone)")
        _check_callable("model", self.model)
        if self.loss is not None or self.objective is None:
            _check_callable("loss", self.loss, " (left out with an objective alone)")
        if isinstance(self.model, nn.Module):
            raise TypeError("model is a function that makes a new model, not a model (lambda: MyNet() is one)")
        if not isinstance(self.metric, Metric):
            raise TypeError(f"metric is a Metric, not {type(self.metric).__name__}")
        if not _is_whole(self.epochs):
            raise ValueError(f"epochs is a whole number from 1, not {self.epochs!r}")
        if self.target is not None and not math.isfinite(self.target):
            raise ValueError(f"target is a finite number or None, not {self.target!r}")
        if self.sample is not None and not _is_whole(self.examples):
            raise ValueError(
                f"examples, of which sample makes an epoch, is a whole number from 1, not {self.examples!r}"
            )
        if not isinstance(self.has_test, bool):
            raise TypeError(f"has_test is True or False, not {self.has_test!r}")
        for refused, reason in self._contradictions():
            if refused:
                raise ValueError(reason)

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        """Yield whether fields contradict each other, and how."""
        evaluated, sampled, metric = self.evaluate is not None, self.sample is not None, self.metric
        yield (
            self.loss is not None and self.objective is not None,
            "loss and objective are two training losses; give one of them",
        )
        yield self.examples is not None and not sampled, "examples is of sample: without it, an epoch is Data.train"
        yield (
            sampled and self.augment is not None,
            "augment is of rows of Data.train: what sample returns is used as is",
        )
        yield (
            sampled and self.objective is not None and self.prepare is not None,
            "prepare has no inputs where sample makes batches for an objective; do it in one of these",
        )
        for name in ("function", "finish"):
            yield (
                evaluated and getattr(metric, name) is not None,
                f"metric.{name} and evaluate both compute the metric; leave one out",
            )
        yield (
            evaluated and metric.split == "train",
            "metric.split 'train' is of Data.train, and evaluate is asked for validation and test; leave one out",
        )
        yield not (evaluated or self.has_test), "has_test is of evaluate; a Data without a third part has no test data"

    def num_examples(self, data: Any) -> int:
        """Return how many examples an epoch has: no batch is larger."""
        return len(data.train) if self.examples is None else self.examples

    def is_tested(self, data: Any) -> bool:
        """Return whether there is something to test on."""
        return self.has_test and (data.has_test if isinstance(data, Data) else True)


def leaves(value: object) -> list[object]:
    """Return what is in tuples, lists and mappings, whatever these are in.

    >>> leaves({"windows": (1, [2, 3]), "alphabet": "ab"})
    [1, 2, 3, 'ab']
    """
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [leaf for entry in value for leaf in leaves(entry)] if isinstance(value, (tuple, list)) else [value]


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


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"the name of a {what} is up to 64 letters, digits, '.', '_' and '-', not {name!r}")


def _check_callable(field: str, value: object, required: str = "", *, optional: bool = False) -> None:
    if not (callable(value) or (optional and value is None)):
        raise TypeError(f"{field} is a function, not {type(value).__name__}{required if value is None else ''}")
