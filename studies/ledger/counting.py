"""How far a study is, counted from its trials: by a driver while they end, and by whoever reads them afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from analysis.schema import ASKED_AGAIN, LOST, ROLE, WINNER, given_up_at
from search_spaces import OPTIMIZER
from search_spaces.errors import UserError
from studies.campaign.plan import StudyPlan
from studies.training.failures import FailureCount, too_many_failures
from studies.trials import Runs, Tally

_IN_A_ROW = ("failed", "lost")  # what may stand in a row of failures


def origin_of(trial: FrozenTrial) -> int:
    """Return the number of the first attempt at what ``trial`` runs."""
    return int(trial.user_attrs.get("retry_of", trial.number))


def is_asked_again(trial: FrozenTrial) -> bool:
    """Return whether ``trial`` ended with its driver, and not for good."""
    return trial.user_attrs.get("failure") in ASKED_AGAIN


def as_left(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of a study that no driver runs, with those that ran closed as lost.

    Raises:
        UserError: Another program queued a trial.
    """
    queued = next((trial.number for trial in trials if trial.state == TrialState.WAITING), None)
    if queued is not None:
        raise UserError(
            f"another program queued trial {queued} of study '{plan.name}', which only sofim may "
            "add trials to; give this campaign another name with --name"
        )
    return [_closed_as_lost(trial) if trial.state == TrialState.RUNNING else trial for trial in trials]


def _closed_as_lost(trial: FrozenTrial) -> FrozenTrial:
    closed = copy(trial)
    closed.state = TrialState.FAIL
    closed.user_attrs = {**trial.user_attrs, "failure": LOST}
    closed.datetime_complete = datetime.now()
    return closed


def cost_of(value: float, direction: str) -> float:
    """Return ``value`` with the sign with which less is better."""
    return -value if direction == "maximize" else value


def ranked(trials: Sequence[FrozenTrial], direction: str) -> list[FrozenTrial]:
    """Return the trials that ran their whole budget, best validation value first; of equal ones the lowest number."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    return sorted(complete, key=lambda trial: (cost_of(trial.value or 0.0, direction), trial.number))


def best_of_each(every: Sequence[FrozenTrial], optimizer_of: Callable[[Mapping[str, Any]], str]) -> list[FrozenTrial]:
    """Return the first trial of each optimizer.

    Args:
        every: Trials, best first.
        optimizer_of: Tells the optimizer of a configuration.
    """
    found: dict[str, FrozenTrial] = {}
    for trial in every:
        found.setdefault(optimizer_of(trial.params), trial)
    return list(found.values())


def last_failure(trials: Sequence[FrozenTrial]) -> str | None:
    """Return what broke the last of ``trials`` that broke, ``None`` where none did."""
    failures = (trial.user_attrs.get("failure") for trial in reversed(trials))
    return next((str(failure) for failure in failures if failure is not None), None)


class TrialCount:
    """Counts the trials of a study that ended for good.

    Args:
        plan: The study.
        runs: What its trials are.

    Attributes:
        best: The best complete trial, ``None`` before the first.
        stopped: Why no more trials are asked for, ``None`` while they are.
    """

    def __init__(self, plan: StudyPlan, runs: Runs = "trials") -> None:
        self.best: FrozenTrial | None = None
        self.stopped: str | None = None
        self._plan, self._runs = plan, runs
        self._counts = dict.fromkeys(("complete", "pruned", "diverged", "failed"), 0)
        self._values: list[float] = []  # of the complete ones; in a confirmation, the first winner's
        self._best_of: dict[str, FrozenTrial] = {}  # by optimizer
        self._since_best = 0  # trials that ended after the best one
        self._seconds = 0.0
        self._outcomes: dict[int, str] = {}  # by number, as `analysis.schema.given_up_at` takes them
        self._failed: dict[int, str] = {}  # what broke trials, by number
        self._given_up_at: int | None = None  # the number of such a trial
        self._failures = FailureCount()

    def add(self, trial: FrozenTrial) -> None:
        """Count a trial. Ten failures in a row stop the study, in the order of numbers."""
        self._since_best += 1
        self._seconds += float(trial.user_attrs.get("seconds", 0.0))
        failure = str(trial.user_attrs.get("failure", "")) if trial.state == TrialState.FAIL else None
        chosen = trial.params.get(OPTIMIZER) if self._plan.space.conditional else None  # else a hyperparameter's name
        self._failures.add(str(chosen or self._plan.optimizer), failure)
        if failure is not None:
            self._counts["failed"] += 1
            self._failed[trial.number] = failure
            self._judge(trial.number, "failed")
            return
        self._outcomes[trial.number] = "complete"  # or pruned, or diverged
        if trial.user_attrs.get("diverged"):
            self._counts["diverged"] += 1
        elif trial.state == TrialState.PRUNED:
            self._counts["pruned"] += 1
        else:
            assert trial.value is not None
            self._counts["complete"] += 1
            if trial.user_attrs.get(ROLE, WINNER) == WINNER and trial.user_attrs.get("rank", 1) == 1:
                self._values.append(trial.value)
            if self._is_better(trial.value, self.best):
                self.best, self._since_best = trial, 0
            optimizer = self._plan.space.optimizer_of(trial.params)
            if self._is_better(trial.value, self._best_of.get(optimizer)):
                self._best_of[optimizer] = trial

    def pass_over(self, trial: FrozenTrial) -> None:
        """Hear of a trial that does not count: it is asked again, or is none of those that the study is for."""
        self._judge(trial.number, "lost")

    def _judge(self, number: int, outcome: str) -> None:
        """Stop the study if a trial that ended so is one of too many that failed in a row."""
        self._outcomes[number] = outcome
        first = number
        while self._outcomes.get(first - 1) in _IN_A_ROW:
            first -= 1
        row = itertools.takewhile(lambda place: self._outcomes.get(place) in _IN_A_ROW, itertools.count(first))
        place = given_up_at(self._outcomes[number] for number in row)
        if place is not None and (self._given_up_at is None or first + place < self._given_up_at):
            self._given_up_at = first + place
            self.stopped = too_many_failures(self._failed[self._given_up_at])

    def _is_better(self, value: float, best: FrozenTrial | None) -> bool:
        if best is None or best.value is None:
            return True
        return cost_of(value, self._plan.direction) < cost_of(best.value, self._plan.direction)

    @property
    def contenders(self) -> list[FrozenTrial]:
        """Return the best complete trial of each optimizer, best first."""
        return ranked(list(self._best_of.values()), self._plan.direction)

    def tally(self, running: int = 0) -> Tally:
        """Return how far the study is, of which so many trials run."""
        best = None if self.best is None else self.best.value
        if self._runs != "trials":
            best = fmean(self._values) if self._values else None
        return Tally(
            study=self._plan.name,
            workload=self._plan.workload,
            optimizer=self._plan.optimizer,
            metric=self._plan.metric,
            direction=self._plan.direction,
            asked_for=self._plan.trials,
            **self._counts,
            running=running,
            best=best,
            best_params={} if self.best is None else self.best.params,
            since_best=self._since_best,
            seconds=self._seconds,
            stopped=self.stopped,
            runs=self._runs,
            replicate=self._plan.replicate,
            failing=self._failures.failing(),
        )


class InOrder:
    """Trials in the order in which they were first asked for, each looked at once all before it have ended.

    What it says depends on what the trials gave alone, not on which of several that run at once ends first, nor on what
    a driver that died had to leave to the next.

    Args:
        direction: ``"maximize"`` or ``"minimize"``.
    """

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self._origins: list[int] = []
        self._ended: dict[int, FrozenTrial] = {}  # by origin
        self._looked_at = 0  # of the origins
        self._best: tuple[float, int] | None = None  # its cost and its number
        self._since_best = 0
        self._fruitless: list[int] = []  # [n - 1]: the trial after which n in a row were not better for the first time

    def begin(self, trial: FrozenTrial) -> None:
        """Hear that a trial was asked for, for the first time or again."""
        origin = origin_of(trial)
        if not self._origins or origin > self._origins[-1]:
            self._origins.append(origin)

    def end(self, trial: FrozenTrial) -> None:
        """Hear that a trial ended for good."""
        self._ended[origin_of(trial)] = trial
        for origin in self._origins[self._looked_at :]:
            if origin not in self._ended:
                return
            self._looked_at += 1
            self._look_at(self._ended[origin])

    def _look_at(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            cost = cost_of(trial.value, self._direction)
            if self._best is None or cost < self._best[0]:
                self._best, self._since_best = (cost, trial.number), 0
                return
        if self._best is not None:
            self._since_best += 1
            if self._since_best > len(self._fruitless):
                self._fruitless.append(self._best[1])

    def fruitless_after(self, trials: int) -> int | None:
        """Return the number of the trial after which first so many were not better; ``None`` where there is none."""
        return self._fruitless[trials - 1] if trials <= len(self._fruitless) else None


def tally(plan: StudyPlan, trials: Iterable[FrozenTrial]) -> Tally:
    """Return how far the study of ``trials`` is that no driver runs: what was lost with one is to be asked again."""
    count = TrialCount(plan)
    for trial in trials:
        if is_asked_again(trial):
            count.pass_over(trial)
        elif trial.state.is_finished():
            count.add(trial)
    return count.tally()
