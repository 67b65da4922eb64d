"""Random numbers of a training run: independent streams from one seed, and torch's global generators kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Stream(IntEnum):
    """What random numbers of a run are for. Each has a stream of its own: to draw more from one changes no other."""

    WEIGHTS = 0
    ORDER = 1
    AUGMENTATION = 2
    GLOBAL = 3
    AVERAGES = 4


def stream_seed(seed: int, stream: Stream, epoch: int = 0) -> int:
    """Return the seed, of 63 bits, of one stream of the run with ``seed``."""
    return int(np.random.SeedSequence([seed, stream, epoch]).generate_state(1, np.uint64)[0]) >> 1


def generator(seed: int, stream: Stream, epoch: int, device: torch.device) -> torch.Generator:
    """Return a new generator for one stream and epoch: an epoch repeats without those before it."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream, epoch))


class GlobalGenerators:
    """A run's own states of torch's global generators: the CPU's, and the device's where the run is on a GPU.

    Dropout, initialization and optimizers that probe draw from these.

    Args:
        seed: Seeds both.
        device: Where the run is.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self.states = [torch.Generator().manual_seed(seed).get_state()]
        if device.type == "cuda":
            self.states.append(torch.Generator(device).manual_seed(seed).get_state())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Put the run's states in place; afterwards keep them and put back what was there."""
        outer = self._get()
        self._set(self.states)
        try:
            yield
        finally:
            self.states = self._get()
            self._set(outer)

    def _get(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)
