"""What a workload trains on: three splits of examples, the test split behind a door that tuning never opens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from search_spaces.errors import UserError

_SOURCES = "a Split, an (inputs, targets) pair of tensors, a Dataset or a DataLoader"


@dataclass(frozen=True, slots=True)
class Split:
    """Examples held in memory.

    Attributes:
        inputs: What the model takes (or what ``Workload.prepare`` turns into that); the first axis counts the examples.
        targets: What the loss compares the outputs with; the first axis counts the examples.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            value = getattr(self, name)
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"the {name} of a Split are tensors, not {type(value).__name__}; torch.as_tensor makes one"
                )
            if value.dim() == 0:
                raise ValueError(f"the {name} of a Split have one row per example, not shape ()")
            if value.layout != torch.strided or value.is_nested:
                raise TypeError(f"the {name} of a Split are dense tensors; make them so, with .to_dense() if sparse")
            if value.requires_grad:
                raise ValueError(
                    f"the {name} of a Split carry an autograd graph, which the first step would use up; "
                    "compute them under torch.no_grad(), or .detach() them"
                )
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"a Split has {len(self.inputs)} inputs but {len(self.targets)} targets")
        if len(self.inputs) == 0:
            raise ValueError("a Split has no examples")

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Split:
        """Return the split on ``device``; where it is there already, the same tensors."""
        return Split(self.inputs.to(device), self.targets.to(device))

    @classmethod
    def of(cls, source: Source) -> Split:
        """Make a split from whatever holds examples.

        A ``Dataset`` (map style) or a ``DataLoader`` is read once, in its order, into tensors: a random transformation
        in it is drawn once and stays. Put augmentation into ``Workload.augment`` instead.

        Args:
            source: A ``Split``, a pair of tensors, a ``Dataset`` of (input, target) pairs, or a ``DataLoader`` of such.

        Raises:
            TypeError: If it is none of these.
            ValueError: If it is empty or its parts have unequal lengths.
        """
        if isinstance(source, Split):
            return source
        if isinstance(source, (tuple, list)) and len(source) == 2:
            return cls(source[0], source[1])
        if isinstance(source, Dataset):
            source = DataLoader(source, batch_size=1024)
        if not isinstance(source, DataLoader):
            raise TypeError(f"a split is {_SOURCES}, not {type(source).__name__}")
        inputs: list[Tensor] = []
        targets: list[Tensor] = []
        for batch in source:
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise TypeError(f"a data set gives (input, target) pairs, not {type(batch).__name__}")
            inputs.append(batch[0])
            targets.append(batch[1])
        if not inputs:
            raise ValueError("a Split has no examples")
        return cls(torch.cat(inputs), torch.cat(targets))


Source = Split | tuple[Tensor, Tensor] | Dataset[tuple[Tensor, Tensor]] | DataLoader[tuple[Tensor, Tensor]]
"""What examples may be given as: a split, two tensors, or what torch gives examples in."""


class Data:
    """The three splits of a workload.

    Args:
        train: Examples to train on: anything that ``Split.of`` takes.
        validation: Examples that choose hyperparameters and the epoch.
        test: Examples for confirmation runs alone, or better a function that reads them: it is called by ``test()``
            and by nothing else, so that tuning cannot see them.

    Attributes:
        loaders: In words, what the training examples' ``DataLoader`` says that training does not keep to; "" without.
    """

    def __init__(self, train: Source, validation: Source, test: Source | Callable[[], Source] | None = None) -> None:
        self.train = Split.of(train)
        self.validation = Split.of(validation)
        self._test_source = test
        self._test: Split | None = None
        self._moved: dict[torch.device, Data] = {}
        self.loaders = _settings(train) if isinstance(train, DataLoader) else ""

    @property
    def has_test(self) -> bool:
        """Whether there is a test split, or a function that reads one: which is not found out by reading it."""
        return self._test_source is not None

    def test(self) -> Split:
        """Return the test split, reading it now if it has not been read.

        Raises:
            UserError: If there is none, or its files are missing or damaged.
        """
        if self._test is None:
            if self._test_source is None:
                raise UserError("this workload has no test data; give its Data a third split to confirm winners on it")
            source = self._test_source() if callable(self._test_source) else self._test_source
            self._test = Split.of(source)
        return self._test

    def on(self, device: torch.device | str) -> Data:
        """Return the data on ``device``. They are moved once; later calls return the same tensors."""
        device = torch.device(device)
        if device == self.train.inputs.device and device == self.validation.inputs.device:
            return self
        if device not in self._moved:
            test = (lambda: self.test().to(device)) if self.has_test else None
            moved = Data(self.train.to(device), self.validation.to(device), test)
            moved.loaders = self.loaders
            self._moved[device] = moved
        return self._moved[device]


def _settings(loader: DataLoader[tuple[Tensor, Tensor]]) -> str:
    size = "" if loader.batch_size is None else f"its batch_size={loader.batch_size} and "
    return f"{size}its order"
