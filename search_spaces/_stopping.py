"""Rules that stop trials, which Optuna does not have: what `search_spaces.pruners` imports late."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, cast

from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.study import StudyDirection

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState


class Brackets(BasePruner):
    """Successive halving in several brackets, each with a later first rung than the one before.

    It is no ``HyperbandPruner``: of one that is, Optuna shows each sampler the trials of one bracket alone. Values at
    rungs are kept in the trials' system attributes, as `SuccessiveHalvingPruner` does, so that a study that is made
    again of its trials goes on as if nothing had happened.

    Args:
        sequence: The bracket of each trial by its number, again from the beginning after the end.
        factor: One of so many trials passes a rung.
    """

    def __init__(self, sequence: Sequence[int], factor: int) -> None:
        self._sequence = tuple(sequence)
        self._rules = [
            SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor, min_early_stopping_rate=bracket)
            for bracket in range(max(sequence) + 1)
        ]

    def bracket(self, number: int) -> int:
        """Return the bracket of trial ``number``."""
        return self._sequence[number % len(self._sequence)]

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a trial is to stop after its last step."""
        bracket = self.bracket(trial.number)
        return self._rules[bracket].prune(cast("Study", _OneBracket(study, self, bracket)), trial)


class _OneBracket:
    """A study with the trials of one bracket alone, as far as `SuccessiveHalvingPruner` looks at it."""

    def __init__(self, study: Study, brackets: Brackets, bracket: int) -> None:
        self._study, self._brackets, self._bracket = study, brackets, bracket

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=deepcopy, states=states)
        return [trial for trial in trials if self._brackets.bracket(trial.number) == self._bracket]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


class BestSoFar(BasePruner):
    """A trial goes on after a step where fewer than ``best`` trials that came there before it were better.

    So at any time the best trials at that step, of all that came there, have gone on to the end, and of *n* trials in
    random order about best · (1 + ln(n / best)) have: 11 of 50 for the best three. One whose value is not a number
    stops, and is better than none.

    Args:
        step: After which a trial is judged, once; the first that it reports from there on.
        best: How many go on.
    """

    def __init__(self, step: int, best: int) -> None:
        self._step, self._best = step, best

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a trial is to stop after its last step."""
        if trial.last_step is None or trial.last_step != self._judged(trial):
            return False
        value = self._cost(trial, study.direction)
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        better = sum(self._cost(other, study.direction) < value for other in others if self._judged(other) is not None)
        return math.isnan(value) or better >= self._best

    def _judged(self, trial: FrozenTrial) -> int | None:
        """Return the step after which ``trial`` is judged; ``None`` before it came there."""
        return min((step for step in trial.intermediate_values if step >= self._step), default=None)

    def _cost(self, trial: FrozenTrial, direction: StudyDirection) -> float:
        """Return the value at that step, less being better."""
        value = trial.intermediate_values[cast("int", self._judged(trial))]
        return -value if direction == StudyDirection.MAXIMIZE else value
