"""Watching the loss of every step: its mean over the epoch, and whether the run has diverged."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

EXPLOSION = 1000.0
"""A run has diverged when a minibatch's loss exceeds this many times the first one (or 1, if that was smaller)."""


def explosion_limit(initial: float) -> float:
    """Return the loss above which a run counts as diverged.

    The floor of 1 keeps a loss that happens to begin near zero from being called exploded when it merely moves.

    Args:
        initial: Loss of the first minibatch of the run.
    """
    return EXPLOSION * max(abs(initial), 1.0)


class LossWatch(Protocol):
    """Sees each minibatch's loss once."""

    def add(self, loss: Tensor, num_examples: int) -> bool:
        """Take one loss; return whether the run is known to have diverged."""

    def close(self) -> tuple[float, float, bool]:
        """Return the mean loss per example, the first loss of the run, and whether the run has diverged."""


class PromptWatch:
    """Reads every loss at once: on a CPU that costs nothing.

    Args:
        initial: The first loss of the run if this is not its first epoch, else None.
    """

    def __init__(self, initial: float | None) -> None:
        self._initial = initial
        self._limit = math.inf if initial is None else explosion_limit(initial)
        self._total = 0.0
        self._num_examples = 0
        self._bad: float | None = None

    def add(self, loss: Tensor, num_examples: int) -> bool:
        """Take one loss; return whether the run has diverged."""
        value = loss.item()
        if self._initial is None:
            self._initial = value
            self._limit = explosion_limit(value)
        if not (-math.inf < value <= self._limit and value < math.inf):
            self._bad = value
            return True
        self._total += value * num_examples
        self._num_examples += num_examples
        return False

    def close(self) -> tuple[float, float, bool]:
        """Return the mean loss per example (in a diverged run the last), the first loss, and the verdict."""
        initial = math.nan if self._initial is None else self._initial
        if self._bad is not None:
            return self._bad, initial, True
        return self._total / max(self._num_examples, 1), initial, False


class LaggedWatch:
    """Keeps everything on the device and never waits for it: divergence is noticed a few steps late.

    The verdict of a step is copied to the host without blocking; it is read when its event says that it has arrived.

    Args:
        initial: The first loss of the run if this is not its first epoch, else None.
        device: Where the losses are.
    """

    def __init__(self, initial: float | None, device: torch.device) -> None:
        self._initial = None if initial is None else torch.tensor(initial, dtype=torch.float64, device=device)
        self._limit: Tensor | None = None if initial is None else self._limit_of(self._initial)
        self._total = torch.zeros((), dtype=torch.float64, device=device)
        self._num_examples = 0
        self._bad = torch.zeros((), dtype=torch.bool, device=device)
        self._on_host = torch.zeros((), dtype=torch.bool, pin_memory=device.type == "cuda")
        self._arrival = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._under_way = False

    @staticmethod
    def _limit_of(initial: Tensor | None) -> Tensor:
        assert initial is not None
        return EXPLOSION * initial.abs().clamp(min=1.0)

    def add(self, loss: Tensor, num_examples: int) -> bool:
        """Take one loss; return whether the run is known to have diverged by now."""
        value = loss.detach().to(torch.float64)
        if self._limit is None:
            self._initial = value.clone()
            self._limit = self._limit_of(self._initial)
        self._bad.logical_or_(~(value.isfinite() & (value <= self._limit)))
        self._total.add_(value, alpha=num_examples)
        self._num_examples += num_examples
        if not self._under_way:
            self._on_host.copy_(self._bad, non_blocking=True)
            if self._arrival is not None:
                self._arrival.record()
            self._under_way = True
        if self._arrival is None or self._arrival.query():  # type: ignore[no-untyped-call]
            self._under_way = False
            return bool(self._on_host)  # on the host: no synchronization
        return False

    def close(self) -> tuple[float, float, bool]:
        """Return the mean loss per example, the first loss, and whether it has diverged: the epoch's one transfer."""
        initial = self._total.new_tensor(math.nan) if self._initial is None else self._initial
        mean, first, bad = torch.stack([self._total / max(self._num_examples, 1), initial, self._bad.double()]).tolist()
        return mean, first, bad > 0
