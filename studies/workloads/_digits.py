"""The handwritten digits as both of their workloads use them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from studies.data import DATASETS, BundledDataset, Data, Split

_LARGEST = 16.0  # the pixels count dots: 0 to 16
_MEAN, _STD = 0.305, 0.376  # of the training pixels, on the scale from 0 to 1
_VALIDATION_FRACTION = 1 / 5  # of what is left beside the test examples: 1198 train, 299 validate, 300 test


def digits(_directory: Path | None = None) -> Data:
    """Return the digits: standardized float32 images [n, 1, 8, 8] and int64 labels [n]."""
    rows = DATASETS["digits"]
    assert isinstance(rows, BundledDataset)
    arrays = rows.arrays("train")
    images, labels = _standardized(torch.from_numpy(arrays["images"])), torch.from_numpy(arrays["labels"])
    num_train = len(labels) - round(len(labels) * _VALIDATION_FRACTION)

    def test() -> Split:
        held_out = rows.arrays("test")
        return Split(_standardized(torch.from_numpy(held_out["images"])), torch.from_numpy(held_out["labels"]))

    return Data((images[:num_train], labels[:num_train]), (images[num_train:], labels[num_train:]), test)


def _standardized(images: Tensor) -> Tensor:
    return (images / _LARGEST - _MEAN) / _STD
