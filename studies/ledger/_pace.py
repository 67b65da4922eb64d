"""What trials cost on the clock, learned from those that run, and when a search is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from optuna.trial import FrozenTrial

FEWEST_SEEDS = 3  # of a confirmation: below that an interval says nothing
CLOSING_SECONDS = 5.0  # to end Ray and the process, with room to spare
_START_SECONDS = 8.0  # of the first workers, until they have shown how long it takes
_NEXT_START_SHARE = 0.65  # of that, the start of a single worker afterwards: 5.3 of 10.8 s and 6.8 of 11.2 s measured
_HANDOVER_SECONDS = 0.2  # from the end of a run to the beginning of the next
_OVERHEAD = 1.3  # of evaluation and loading on training, until trials have shown it
_ENOUGH = 3  # trials that show it
_PATIENCE = 60  # trials without an improvement after which none is expected, at least


def no_improvement_expected(done: int, since_best: int) -> bool:
    """Whether so many trials went by without an improvement that a search may end.

    None of the last 60 and none of the last half of all trials was better: were it a coin's toss who of the trials is
    the best, the second half would have it every second time. Searches over all seven optimizers were seen to improve
    after 28, 44, 54 and 55 trials without any (``benchmarks/tune.py``).

    Optuna has ``optuna.terminator`` for this. It was looked at and not taken: its evaluators of improvement fit a
    Gaussian process to the parameters that *all* trials have, which here is the optimizer alone, and compare with a
    cross-validation error that one training run does not give; its ``BestValueStagnationEvaluator`` is this rule with a
    fixed number, and blind to pruned trials.

    Args:
        done: trials that ended, pruned, diverged and failed ones included.
        since_best: those of them that ended after the best one.
    """
    return since_best >= max(_PATIENCE, done / 2)


@dataclass(slots=True)
class Pace:
    """Seconds that trials, workers and confirmations take.

    Attributes:
        now: tells the time in seconds.
    """

    now: Callable[[], float] = time.monotonic
    _asked: float | None = None  # when the first trial was asked for
    _start: float | None = None  # seconds until the first of the search's workers trained
    _overheads: list[float] = field(default_factory=list)

    def asked(self) -> None:
        """A trial was asked for."""
        if self._asked is None:
            self._asked = self.now()

    def reported(self, training_seconds: float) -> None:
        """A trial reported, having trained so long."""
        if self._start is None and self._asked is not None:
            waited = self.now() - self._asked - training_seconds
            if waited > 0:  # else it went on from a checkpoint, and trained in an earlier driver
                self._start = waited

    def completed(self, training_seconds: float, busy_seconds: float) -> None:
        """A trial ran its whole budget."""
        if training_seconds > 0:
            self._overheads.append(max(1.0, busy_seconds / training_seconds))

    def remember(self, trial: FrozenTrial) -> None:
        """A trial that ran its whole budget in an earlier driver."""
        attributes = trial.user_attrs
        self.completed(float(attributes.get("seconds", 0.0)), float(attributes.get("busy_seconds", 0.0)))

    @property
    def start_seconds(self) -> float:
        """What it takes until the one worker of a confirmation trains."""
        return _NEXT_START_SHARE * (_START_SECONDS if self._start is None else self._start)

    def run_seconds(self, training_seconds: float) -> float:
        """What a whole run takes that trains so long; the first one of a worker, which loads data, takes longer."""
        overhead = median(self._overheads) if len(self._overheads) >= _ENOUGH else _OVERHEAD
        return training_seconds * overhead + _HANDOVER_SECONDS

    def confirmation_seconds(self, seeds: int, training_seconds: float) -> float:
        """What it takes to run a configuration on so many seeds, one after the other, and to end."""
        return self.start_seconds + seeds * self.run_seconds(training_seconds) + CLOSING_SECONDS

    def seeds_that_fit(self, seconds: float, seeds: int, training_seconds: float) -> int:
        """How many of ``seeds`` runs fit in so many seconds, but at least the fewest that make sense."""
        room = seconds - self.confirmation_seconds(0, training_seconds)
        return max(min(FEWEST_SEEDS, seeds), min(seeds, int(room / self.run_seconds(training_seconds))))
