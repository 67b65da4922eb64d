"""What a worker needs of a run, whatever it trains: a workload, or a person's own loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from studies.training.run import Record


class Running(Protocol):
    """A run that can be stopped after any epoch."""

    epoch: int

    @property
    def finished(self) -> bool:
        """Return whether there is no further epoch."""

    @property
    def resumable(self) -> bool:
        """Return whether its state of now is enough to go on from."""

    def next_epoch(self) -> Record:
        """Train one epoch and return what it gave."""

    def state_dict(self) -> dict[str, object]:
        """Return what `load_state_dict` goes on from: tensors, numbers and strings."""

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue where the run that gave ``state`` stood."""

    def close(self) -> None:
        """Give back what it holds; there are no further epochs."""
