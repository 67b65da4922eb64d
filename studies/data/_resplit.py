"""Examples drawn again: the three parts of a workload's data pooled, shuffled and cut where they were cut before.

What a comparison finds on one choice of examples, it may not find on another, and that is no smaller a source of
variation than initial weights (Bouthillier et al. 2021). The draw is a plain one, not by class: so were the splits of
the data sets here made, and targets need not be classes. What ``load`` has computed from its training part, a mean to
subtract say, stays as it is.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.errors import UserError
from studies.data._cache import cached_arrays
from studies.data._split import Data, Split

MAPPED_BYTES = 2**22
"""Data of this size are written to the cache and mapped, so that the processes of a machine share them."""


def resplit(data: Data, seed: int) -> Data:
    """Return data with parts of the same sizes, drawn from all examples; the test part stays behind its door.

    The test examples are read, since they are drawn from too. Those that become test examples are again seen by nobody
    but who asks for ``Data.test()``.

    Args:
        data: Of a workload.
        seed: Of the draw, which depends on it and on the number of examples alone.

    Raises:
        UserError: The parts have examples of different shapes or types, or test data are missing or damaged.
    """
    parts = [data.train, data.validation, *([data.test()] if data.has_test else [])]
    sizes = [len(part) for part in parts]
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed))
    inputs = _drawn([part.inputs for part in parts], order, "inputs")
    targets = _drawn([part.targets for part in parts], order, "targets")
    drawn = [Split(*both) for both in zip(torch.split(inputs, sizes), torch.split(targets, sizes), strict=True)]
    made = Data(drawn[0], drawn[1], drawn[2] if data.has_test else None)
    made.loaders = data.loaders
    return made


def _drawn(parts: list[Tensor], order: Tensor, what: str) -> Tensor:
    """Return the examples of ``parts`` in ``order``; large ones mapped from the cache."""
    if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
        kinds = ", ".join(f"{tuple(part.shape[1:])} of {str(part.dtype).removeprefix('torch.')}" for part in parts)
        raise UserError(
            f"resplit: the {what} of training, validation and test data are not of one kind ({kinds}), so that they "
            "cannot be drawn again; make them alike, or leave resplit out"
        )
    if sum(part.numel() * part.element_size() for part in parts) < MAPPED_BYTES:
        return torch.cat(parts)[order]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_bytes(part).data)
    identity = [digest.hexdigest(), hashlib.sha256(_bytes(order).data).hexdigest()]
    rows = cached_arrays(f"resplit-{what}", identity, lambda: {"rows": _bytes(torch.cat(parts)[order])})["rows"]
    return torch.from_numpy(rows).view(parts[0].dtype).reshape(len(order), *parts[0].shape[1:])


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """Return the content of a tensor, flat, whatever its type."""
    return np.asarray(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
