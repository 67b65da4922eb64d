"""Reading a workload's data, with the same random numbers wherever they are read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from studies.data import Data, resplit
from studies.workloads._base import Workload


def load(workload: Workload, directory: Path | None, split: int | None = None) -> Data:
    """Return the workload's data: the same in every process, though ``load`` draws or shuffles without a seed.

    Args:
        workload: Whose.
        directory: Where data sets are; ``None`` for the usual places.
        split: The seed by which examples are drawn again, see `studies.data.resplit`; ``None``: as the workload has
            them.
    """
    with seeded():
        data = workload.load(directory)
        return data if split is None else resplit(data, split)


@contextmanager
def seeded() -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch; afterwards put back what was there."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (these are what a person's code may draw from)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
