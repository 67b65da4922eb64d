"""The handwritten digits as their workloads use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studies.data import DATASETS, BundledDataset, Data, Split

_LARGEST = 16.0  # the pixels count dots: 0 to 16
_MEAN, _STD = 0.305, 0.376  # of the training pixels, on the scale from 0 to 1
_VALIDATION_FRACTION = 1 / 5  # of what is left beside the test examples: 1198 train, 299 validate, 300 test


def digits(_directory: Path | None = None) -> Data:
    """Return the digits: standardized float32 images [n, 1, 8, 8] and int64 labels [n]."""
    return _split(lambda arrays: Split((_pixels(arrays) - _MEAN) / _STD, torch.from_numpy(arrays["labels"])))


def digits_to_restore(_directory: Path | None = None) -> Data:
    """Return the digits as inputs and targets: float32 pixels [n, 64] from 0 to 1, twice."""

    def pair(arrays: Mapping[str, NDArray[np.generic]]) -> Split:
        pixels = _pixels(arrays).flatten(1)
        return Split(pixels, pixels)

    return _split(pair)


def _split(made: Callable[[Mapping[str, NDArray[np.generic]]], Split]) -> Data:
    rows = DATASETS["digits"]
    assert isinstance(rows, BundledDataset)
    examples = made(rows.arrays("train"))
    num_train = len(examples) - round(len(examples) * _VALIDATION_FRACTION)
    train, validation = (
        (examples.inputs[part], examples.targets[part]) for part in (slice(num_train), slice(num_train, None))
    )
    return Data(train, validation, lambda: made(rows.arrays("test")))


def _pixels(arrays: Mapping[str, NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(arrays["images"]) / _LARGEST
