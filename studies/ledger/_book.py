"""What every book of a study keeps: the trials that run, how they end, what a restart finds; the database follows.

Which trial comes next, and whether one stops early, is for the books on top of it: :mod:`studies.ledger._tuning`
searches, :mod:`studies.ledger._confirming` runs winners again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from analysis.schema import INTERRUPTED, LOST, MAX_FAILURES_IN_A_ROW
from search_spaces.errors import UserError
from studies.campaign.plan import StudyPlan
from studies.ledger.failures import FailureCount, reason_of
from studies.storage.writer import TrialWriter
from studies.trials import Assignment, Tally

Facts = Mapping[str, Any]
"""What a worker says of a trial besides its records, kept as user attributes: ``device``, ``busy_seconds``."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(slots=True)
class Running:
    """A trial that runs.

    Attributes:
        stored: what the database shows of it.
        history: a column for each thing that its records tell, an entry an epoch.
    """

    stored: FrozenTrial
    history: dict[str, list[float]] = field(default_factory=dict)


class Book(ABC):
    """Gives out trials, hears results, and keeps the database in step.

    Args:
        plan: the study.
        study_id: of the study in the database.
        writer: through which the database is written.
    """

    def __init__(self, plan: StudyPlan, study_id: int, writer: TrialWriter) -> None:
        self.plan = plan
        self._study_id = study_id
        self._writer = writer
        self._folder = writer.folder(study_id)  # of checkpoints
        self._running: dict[int, Running] = {}
        self._retries: deque[FrozenTrial] = deque()  # the latest attempts of trials that are to be asked again
        self._interrupted: set[int] = set()  # origins of trials that the next driver asks again
        self._counts = dict.fromkeys(("complete", "pruned", "diverged", "failed"), 0)
        self._best: FrozenTrial | None = None
        self._since_best = 0  # trials that ended after the best one
        self._seconds = 0.0
        self._failures_in_a_row = 0
        self._failures = FailureCount()
        self.stopped: str | None = None

    # ------------------------------------------------------------------ restart

    def _recall(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Counts the trials of former drivers, closes those they left running, and notes what is to be asked again.

        Returns:
            The trials as they are now.
        """
        known = []
        settled = set()
        lost: dict[int, FrozenTrial] = {}
        for trial in trials:
            if trial.state == TrialState.WAITING:
                raise UserError(
                    f"another program queued trial {trial.number} of study '{self.plan.name}', which only sofim may "
                    "add trials to; give this campaign another name with --name"
                )
            self._writer.known(self._study_id, trial.number, trial._trial_id)
            if trial.state == TrialState.RUNNING:
                trial = self._close_lost(trial)
            if trial.user_attrs.get("failure") in (LOST, INTERRUPTED):
                lost[origin_of(trial)] = trial
            else:
                settled.add(origin_of(trial))
                self._count(trial)
            known.append(trial)
        again = {origin: trial for origin, trial in lost.items() if origin not in settled}
        self._retries.extend(again.values())
        self._writer.sweep(self._folder, again.keys())
        return known

    def _close_lost(self, trial: FrozenTrial) -> FrozenTrial:
        closed = copy(trial)
        closed.state = TrialState.FAIL
        closed.user_attrs = {**trial.user_attrs, "failure": LOST}
        closed.datetime_complete = datetime.now()
        self._writer.finish(self._study_id, closed)
        return closed

    # ---------------------------------------------------------------------- ask

    @property
    @abstractmethod
    def wants_more(self) -> bool:
        """Whether there is a trial to ask for now."""

    @property
    @abstractmethod
    def asked_share(self) -> float:
        """Share of the trials that have been asked for, from 0 to 1; 0 where their number does not end the study."""

    @abstractmethod
    def ask(self) -> Assignment:
        """The next trial; it is RUNNING from now on."""

    def _arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the optimizer is called with, and the batch size."""
        try:
            return self.plan.space.arguments(params)
        except UserError as error:  # the user's own file has changed or gone while the campaign runs
            raise UserError(f"study {self.plan.name}: {error}") from None

    def tidy(self) -> None:
        """Removes checkpoints that no driver will ask for; to be called when the database has every end."""
        self._writer.sweep(self._folder, {*self._interrupted, *(origin_of(trial) for trial in self._retries)})

    def _begin(self, stored: FrozenTrial) -> None:
        self._writer.start(self._study_id, copy(stored))
        stored.intermediate_values = {}  # not shared with what the writer reads in its thread
        self._running[stored.number] = Running(stored)

    # ------------------------------------------------------------------- report

    def report(self, number: int, record: Mapping[str, float]) -> bool:
        """Hears of one epoch: ``epoch``, ``seconds``, …, ``metric``; says whether the trial is to stop.

        An epoch heard of before (a trial that started again on another worker) changes nothing. A metric that is not
        finite is kept in the history; it is no value that others could be compared with.
        """
        running = self._running[number]
        epoch, value = int(record["epoch"]), float(record["metric"])
        if epoch <= len(running.history.get("epoch", ())):
            return False
        for name, entry in record.items():
            running.history.setdefault(self.plan.metric if name == "metric" else name, []).append(entry)
        if not math.isfinite(value):
            return False
        running.stored.intermediate_values[epoch] = value
        self._writer.value(self._study_id, number, epoch, value)
        return self._stops(number, epoch, value)

    def _stops(self, number: int, epoch: int, value: float) -> bool:
        """Whether the trial is to stop after this epoch."""
        return False

    # --------------------------------------------------------------------- tell

    def complete(self, number: int, facts: Facts) -> None:
        """The trial ran its whole budget; its value is the best metric over its epochs."""
        values = self._running[number].stored.intermediate_values.values()
        if not values:
            self.fail(number, f"the metric '{self.plan.metric}' was never a finite number", facts)
            return
        best = max(values) if self.plan.direction == "maximize" else min(values)
        self._end(number, TrialState.COMPLETE, best, facts=facts)

    def prune(self, number: int, facts: Facts) -> None:
        """The pruner stopped the trial; its value is its last one, as Optuna has it."""
        values = self._running[number].stored.intermediate_values
        self._end(number, TrialState.PRUNED, values[max(values)], facts=facts)

    def diverge(self, number: int, facts: Facts) -> None:
        """The trial diverged: PRUNED, and infeasible in Optuna's sense, so that the sampler learns to avoid it."""
        values = self._running[number].stored.intermediate_values
        self._end(number, TrialState.PRUNED, values[max(values)] if values else None, facts=facts, diverged=True)

    def fail(self, number: int, failure: str, facts: Facts | None = None) -> None:
        """The trial broke; ``failure`` says why. Ten in a row stop the study."""
        self._end(number, TrialState.FAIL, None, facts=facts, failure=failure)

    def interrupt(self, number: int | None = None, facts: Facts | None = None) -> None:
        """Closes a running trial, or every one; the next driver asks for them again."""
        for one in [number] if number is not None else list(self._running):
            self._end(one, TrialState.FAIL, None, facts=facts, failure=INTERRUPTED)

    def _end(
        self,
        number: int,
        state: TrialState,
        value: float | None,
        *,
        facts: Facts | None = None,
        diverged: bool = False,
        failure: str | None = None,
    ) -> None:
        running = self._running.pop(number)
        history = running.history
        stored = copy(running.stored)  # the writer may not have written the running one yet
        stored.state = state
        stored.value = value
        stored.datetime_complete = datetime.now()
        stored.user_attrs = running.stored.user_attrs | dict(facts or {})
        stored.user_attrs |= {
            "seconds": history["seconds"][-1] if history else 0.0,
            "gradient_evaluations": int(history["gradient_evaluations"][-1]) if history else 0,
            "history": {name: [jsonable(entry) for entry in column] for name, column in history.items()},
            "diverged": diverged,
        }
        if failure is not None:
            stored.user_attrs["failure"] = failure
        stored.system_attrs = self._told(stored)
        if failure == INTERRUPTED:
            self._interrupted.add(origin_of(stored))
            self._writer.finish(self._study_id, stored)
        else:
            self._count(stored)
            self._writer.finish(self._study_id, stored, self._checkpoint(stored))

    def _checkpoint(self, trial: FrozenTrial) -> str:
        """What the checkpoint of a trial is called, however often it is begun again."""
        return f"{self.folder}/{origin_of(trial)}" if self.folder else ""

    @property
    def folder(self) -> str:
        """What the folder with the study's checkpoints is called; empty where there are none."""
        self._folder = self._folder or self._writer.folder(self._study_id, make=True)
        return self._folder

    def _told(self, stored: FrozenTrial) -> dict[str, Any]:
        """Tells whoever decides that a trial ended; returns what a restart must know of that, as system attributes."""
        return {}

    # -------------------------------------------------------------------- tally

    def _count(self, trial: FrozenTrial) -> None:
        """Counts a trial that ended for good."""
        self._since_best += 1
        self._seconds += float(trial.user_attrs.get("seconds", 0.0))
        failure = str(trial.user_attrs.get("failure", "")) if trial.state == TrialState.FAIL else None
        self._failures.add(str(trial.params.get("optimizer", self.plan.optimizer)), failure)
        if failure is not None:
            self._counts["failed"] += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                self.stopped = too_many_failures(failure)
            return
        self._failures_in_a_row = 0
        if trial.user_attrs.get("diverged"):
            self._counts["diverged"] += 1
        elif trial.state == TrialState.PRUNED:
            self._counts["pruned"] += 1
        else:
            self._counts["complete"] += 1
            if self._is_better(trial):
                self._best, self._since_best = trial, 0

    def _is_better(self, trial: FrozenTrial) -> bool:
        """Whether a complete trial is better than the best so far."""
        assert trial.value is not None
        if self._best is None:
            return True
        assert self._best.value is not None
        return trial.value > self._best.value if self.plan.direction == "maximize" else trial.value < self._best.value

    @property
    def running(self) -> tuple[int, ...]:
        """The numbers of the trials that run."""
        return tuple(self._running)

    @property
    def best(self) -> FrozenTrial | None:
        """The best complete trial, ``None`` before the first."""
        return self._best

    def tally(self) -> Tally:
        """How far the study is."""
        return Tally(
            study=self.plan.name,
            workload=self.plan.workload,
            optimizer=self.plan.optimizer,
            metric=self.plan.metric,
            direction=self.plan.direction,
            asked_for=self.plan.trials,
            complete=self._counts["complete"],
            pruned=self._counts["pruned"],
            diverged=self._counts["diverged"],
            failed=self._counts["failed"],
            running=len(self._running),
            best=None if self._best is None else self._best.value,
            best_params={} if self._best is None else self._best.params,
            since_best=self._since_best,
            seconds=self._seconds,
            stopped=self.stopped,
            replicate=self.plan.replicate,
            failing=self._failures.failing(),
        )


def too_many_failures(failure: str) -> str:
    """Why a study is stopped, in one line, from the ``failure`` (a line or a traceback) of its last trial."""
    return f"{MAX_FAILURES_IN_A_ROW} failures in a row, the last: {reason_of(failure)}"


def origin_of(trial: FrozenTrial) -> int:
    """The number of the first attempt at what ``trial`` runs."""
    return int(trial.user_attrs.get("retry_of", trial.number))


def jsonable(entry: float) -> float | None:
    """JSON has no NaN and no infinity; a history has ``None`` there."""
    return entry if math.isfinite(entry) else None
