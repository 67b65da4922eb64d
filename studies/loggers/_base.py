"""What a kind of log does, and what it may rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from studies.trials import Ending, LoggedTrial, Outcome

BROKEN: frozenset[Outcome] = frozenset({"failed", "interrupted"})
"""How trials end that a log shows as such that did not end well; to be pruned or to diverge is a result."""


class Logger(Protocol):
    """Writes one run a trial. It is called from one thread, may take its time, and raises what goes wrong."""

    def begin(self, trial: LoggedTrial) -> None:
        """Begin the run of a trial."""

    def step(self, trial: LoggedTrial, epoch: int, values: Mapping[str, float]) -> None:
        """Write what one epoch gave to a run that has begun."""

    def end(self, trial: LoggedTrial, ending: Ending) -> None:
        """End a run that has begun."""

    def settle(self, trial: LoggedTrial, ending: Ending) -> None:
        """End the run of an earlier driver's trial if it is there and open; nothing else is written of it."""

    def close(self) -> None:
        """Write all that waits."""
