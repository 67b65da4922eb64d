"""Reading a workload's data, with the same random numbers wherever they are read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.data import resplit
from studies.workloads._base import Workload


def load(workload: Workload, directory: Path | None, split: int | None = None) -> Any:
    """Return what the workload's ``load`` does: the same in every process, though it draws or shuffles without a seed.

    It is a `Data` but where the workload's ``sample`` and ``evaluate`` want something else; None without ``load``.

    Args:
        workload: Whose.
        directory: Where data sets are; ``None`` for the usual places.
        split: The seed by which examples are drawn again, see `studies.data.resplit`; ``None``: as the workload has
            them, and for one with a ``sample``, whose batches are no rows to be drawn from, the only choice.
    """
    if workload.load is None:
        return None
    with seeded():
        data = workload.load(directory)
        return data if split is None else resplit(data, split)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch; afterwards put back what was there."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (these are what a person's code may draw from)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
