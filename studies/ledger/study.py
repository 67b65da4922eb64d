"""One study of a ledger: the trials that run, how they end, what a restart finds; the database follows.

Which trial comes next, and whether one stops early, is for its source: :mod:`studies.ledger.search` asks Optuna,
:mod:`studies.ledger.repeats` runs given configurations on fresh seeds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from analysis.schema import INTERRUPTED, TEST_PREFIX
from search_spaces.errors import UserError
from studies.campaign.plan import StudyPlan
from studies.ledger.counting import InOrder, TrialCount, as_left, cost_of, is_asked_again, origin_of
from studies.ledger.history import columns, evaluations, jsonable
from studies.ledger.telling import Telling
from studies.storage.database import running_template
from studies.storage.writer import TrialWriter
from studies.trials import Assignment, Outcome, Runs, Tally

Facts = Mapping[str, Any]
"""What a worker says of a trial besides its records, kept as user attributes: ``device``, ``busy_seconds``."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from telling of each study that is made; then it is as loud as the person's process had it."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@dataclass(frozen=True, slots=True)
class Draw:
    """A trial to run, as a source gives it out.

    Attributes:
        number: Of the trial.
        params: Its configuration, stored values.
        distributions: Theirs.
        arguments: What the optimizer is called with, and ``batch_size``.
        attributes: User attributes, ``seed`` among them.
        system_attributes: What a restart must know of it, whether it ends or not.
    """

    number: int
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    arguments: dict[str, Any]
    attributes: dict[str, Any]
    system_attributes: Mapping[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """What gives out the trials of a study, and hears of them."""

    @property
    def runs(self) -> Runs:
        """Return what its trials are."""

    @property
    def confirms(self) -> bool:
        """Return whether each trial is to be alone on its device."""

    @property
    def test(self) -> bool:
        """Return whether its trials look at test data."""

    def resume(self, trials: Sequence[FrozenTrial]) -> None:
        """Take up what earlier drivers left, in the order of numbers; the first call of all that change anything."""

    def counts(self, trial: FrozenTrial) -> bool:
        """Return whether ``trial`` is one of those that the study is for."""

    @property
    def has_more(self) -> bool:
        """Return whether there is a trial that was never asked for."""

    def asked_share(self, again: int) -> float:
        """Return the share of its trials that were asked for, from 0 to 1, where so many are to be asked again."""

    def draw(self, retried: FrozenTrial | None) -> Draw:
        """Return the next trial, or another attempt at one."""

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Return whether a trial is to stop after an epoch."""

    def ended(self, trial: FrozenTrial) -> dict[str, Any]:
        """Hear of a trial's end; return what a restart must know of that, as system attributes."""


@dataclass(slots=True)
class _Running:
    """A trial that runs.

    Attributes:
        stored: What the database shows of it.
        history: What its records tell, an entry an epoch: not all tell all things.
        tests: What records say of test data, by epoch: kept aside until it is known which epoch counts.
    """

    stored: FrozenTrial
    history: list[dict[str, float]] = field(default_factory=list)
    tests: dict[int, dict[str, float | None]] = field(default_factory=dict)


def recall(
    plan: StudyPlan, study_id: int, writer: TrialWriter, trials: Sequence[FrozenTrial]
) -> tuple[list[FrozenTrial], dict[int, FrozenTrial]]:
    """Close the trials that former drivers left running, and remove checkpoints that nobody will ask for.

    Args:
        plan: The study.
        study_id: Of the study in the database.
        writer: Through which the database is written.
        trials: What the database has of it, in the order of their numbers.

    Returns:
        The trials as they are now, and the latest attempts at those to be asked again, by the number of the first.

    Raises:
        UserError: Another program queued a trial.
    """
    known = as_left(plan, trials)
    for before, trial in zip(trials, known, strict=True):
        writer.known(study_id, trial.number, trial._trial_id)
        if trial is not before:
            writer.finish(study_id, trial)
    settled = {origin_of(trial) for trial in known if not is_asked_again(trial)}
    lost = {origin_of(trial): trial for trial in known if is_asked_again(trial)}
    again = {origin: trial for origin, trial in lost.items() if origin not in settled}
    writer.sweep(writer.folder(study_id), again.keys())
    return known, again


def arguments_of(plan: StudyPlan, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the optimizer is called with, and the batch size.

    Raises:
        UserError: The user's own file has changed or gone while the campaign runs.
    """
    try:
        return plan.space.arguments(params)
    except UserError as error:
        raise UserError(f"study {plan.name}: {error}") from None


class StudyLedger:
    """Gives out a study's trials, hears results, and keeps the database in step.

    Args:
        plan: The study.
        study_id: Of the study in the database.
        writer: Through which the database is written.
        trials: What the database has of it, in the order of their numbers.
        source: Of its trials.

    Attributes:
        telling: Tells somebody else of its trials, if anybody listens.
    """

    telling: Telling | None = None

    def __init__(
        self, plan: StudyPlan, study_id: int, writer: TrialWriter, trials: Sequence[FrozenTrial], source: Source
    ) -> None:
        self.plan, self.study_id, self.source = plan, study_id, source
        self._writer = writer
        # read now: the database may be away when a trial is asked for
        self.folder = writer.folder(study_id, make=True)  # with its checkpoints; empty where there are none
        self._running: dict[int, _Running] = {}
        self._interrupted: set[int] = set()  # origins of trials that the next driver asks again
        self._count, self._order = TrialCount(plan, source.runs), InOrder(plan.direction)
        known, again = recall(plan, study_id, writer, trials)
        for trial in known:
            self._order.begin(trial)
        for trial in sorted(known, key=lambda one: one.datetime_complete or datetime.max):  # as they were heard of
            if not is_asked_again(trial) and source.counts(trial):
                self._count.add(trial)
                self._order.end(trial)
            else:
                self._count.pass_over(trial)
        # the latest attempts at trials that are to be asked again
        self._again = deque(trial for trial in again.values() if source.counts(trial))
        source.resume(known)

    # ---------------------------------------------------------------------- ask

    @property
    def wants_more(self) -> bool:
        """Return whether there is a trial to ask for now."""
        return self._count.stopped is None and bool(self._again or self.source.has_more)

    @property
    def asked_share(self) -> float:
        """Return the share of the trials that were asked for, from 0; 0 where their number does not end the study."""
        return self.source.asked_share(len(self._again))

    def ask(self) -> Assignment:
        """Return the next trial; it is RUNNING from now on."""
        draw = self.source.draw(self._again.popleft() if self._again else None)
        stored = running_template(draw.number, draw.params, draw.distributions, draw.attributes)
        stored.system_attrs = dict(draw.system_attributes)
        self._writer.start(self.study_id, copy(stored))
        stored.intermediate_values = {}  # not shared with what the writer reads in its thread
        self._running[draw.number] = _Running(stored)
        self._order.begin(stored)
        if self.telling is not None:
            self.telling.began(stored)
        return Assignment(
            study=self.plan.name,
            number=draw.number,
            workload=self.plan.workload,
            optimizer=self.plan.space.optimizer_of(draw.params),
            arguments=draw.arguments,
            seed=draw.attributes["seed"],
            epochs=self.plan.epochs,
            confirmation=self.source.confirms,
            test=self.source.test,
            split=self.plan.split,
            checkpoint=self._checkpoint(stored),
            chosen_batch_size=self.plan.space.chooses_batch_size(draw.params),
        )

    # ------------------------------------------------------------------- report

    def report(self, number: int, record: Mapping[str, float]) -> bool:
        """Hear of one epoch: ``epoch``, ``seconds``, …, ``metric``; return whether the trial is to stop.

        An epoch heard of before (a trial that started again on another worker) changes nothing. A metric that is not
        finite is kept in the history; it is no value that others could be compared with.
        """
        running = self._running[number]
        epoch, value = int(record["epoch"]), float(record["metric"])
        tests = {name: jsonable(entry) for name, entry in record.items() if name.startswith(TEST_PREFIX)}
        if tests:
            running.tests.setdefault(epoch, tests)
        if epoch <= len(running.history):
            return False
        kept = {self.plan.metric if name == "metric" else name: entry for name, entry in record.items()}
        running.history.append({name: entry for name, entry in kept.items() if name not in tests})
        if self.telling is not None:
            self.telling.heard(running.stored, record)
        if not math.isfinite(value):
            return False
        running.stored.intermediate_values[epoch] = value
        self._writer.value(self.study_id, number, epoch, value)
        return self.source.stops(number, epoch, value)

    # ---------------------------------------------------------------------- end

    def end(self, number: int, outcome: Outcome, facts: Facts, failure: str | None = None) -> None:
        """Hear that a trial ended.

        One that ran its whole budget has the best metric over its epochs as its value, and the test metric of that
        epoch; one that was pruned or diverged its last, as Optuna has it. A diverged one is PRUNED, and infeasible in
        Optuna's sense, so that the sampler learns to avoid it.

        Args:
            number: Of the trial.
            outcome: How it ended.
            facts: What the worker says of it.
            failure: Why it failed.
        """
        values = self._running[number].stored.intermediate_values
        last = values[max(values)] if values else None
        if outcome == "complete":
            self._complete(number, facts)
        elif outcome in ("pruned", "diverged"):
            self._close(number, TrialState.PRUNED, last, facts, diverged=outcome == "diverged")
        else:
            why = INTERRUPTED if outcome == "interrupted" else failure
            self._close(number, TrialState.FAIL, None, facts, failure=why)

    def _complete(self, number: int, facts: Facts) -> None:
        running = self._running[number]
        values = running.stored.intermediate_values
        if not values:
            never = f"the metric '{self.plan.metric}' was never a finite number"
            self._close(number, TrialState.FAIL, None, facts, failure=never)
            return
        # the epoch that validation chose, the first of the best
        chosen = min(values, key=lambda epoch: (cost_of(values[epoch], self.plan.direction), epoch))
        if self.source.test and chosen not in running.tests:
            # It began again on a worker whose numbers were slightly others (a GPU's are not repeatable).
            self._close(number, TrialState.FAIL, None, facts, failure=INTERRUPTED)
            self._again.append(running.stored)
            return
        self._close(number, TrialState.COMPLETE, values[chosen], {**facts, **running.tests.get(chosen, {})})

    def interrupt(self) -> None:
        """Close every trial that runs; the next driver asks for them again."""
        for number in self.running:
            self.end(number, "interrupted", {})

    def _close(
        self,
        number: int,
        state: TrialState,
        value: float | None,
        facts: Facts,
        *,
        diverged: bool = False,
        failure: str | None = None,
    ) -> None:
        running = self._running.pop(number)
        history = running.history
        stored = copy(running.stored)  # the writer may not have written the running one yet
        stored.state = state
        stored.value = value
        stored.datetime_complete = datetime.now()
        stored.user_attrs = running.stored.user_attrs | dict(facts)
        stored.user_attrs |= {
            "seconds": history[-1]["seconds"] if history else 0.0,
            "gradient_evaluations": evaluations(history),
            "history": columns(history),
            "diverged": diverged,
        }
        if failure is not None:
            stored.user_attrs["failure"] = failure
        stored.system_attrs = self.source.ended(stored)
        if self.telling is not None:
            self.telling.ended(stored)
        if failure == INTERRUPTED:
            self._interrupted.add(origin_of(stored))
            self._count.pass_over(stored)
            self._writer.finish(self.study_id, stored)
            return
        if self.source.counts(stored):
            self._count.add(stored)
            self._order.end(stored)
        self._writer.finish(self.study_id, stored, self._checkpoint(stored))

    # -------------------------------------------------------------- checkpoints

    def _checkpoint(self, trial: FrozenTrial) -> str:
        """Return what the checkpoint of a trial is called, however often it is begun again."""
        return f"{self.folder}/{origin_of(trial)}" if self.folder else ""

    def tidy(self, *, over: bool) -> None:
        """Remove checkpoints that no driver will ask for: all, if the run is ``over`` for good.

        To be called when the database has every end.
        """
        if over:
            self._writer.sweep(self.folder, ())
        else:
            again = (origin_of(trial) for trial in self._again)
            self._writer.sweep(self.folder, {*self._interrupted, *again})

    # -------------------------------------------------------------------- tally

    @property
    def running(self) -> tuple[int, ...]:
        """Return the numbers of the trials that run."""
        return tuple(self._running)

    @property
    def has_lost(self) -> bool:
        """Return whether a trial that was begun waits to be asked for again."""
        return bool(self._again)

    def fruitless_after(self, trials: int) -> int | None:
        """Return the number of the trial after which first so many were not better; ``None`` where there is none."""
        return self._order.fruitless_after(trials)

    @property
    def best(self) -> FrozenTrial | None:
        """Return the best complete trial, ``None`` before the first."""
        return self._count.best

    @property
    def contenders(self) -> list[FrozenTrial]:
        """Return the best complete trial of each optimizer, best first."""
        return self._count.contenders

    def tally(self) -> Tally:
        """Return how far the study is."""
        return self._count.tally(len(self._running))
