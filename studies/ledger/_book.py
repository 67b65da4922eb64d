"""One study's book: Optuna deciding in memory, the database following.

Two studies stand behind it. The one in memory is in *search* coordinates (``1 - beta`` on a log scale, say); the
sampler and the pruner see nothing else, and cost no database access. The one in the database is in *stored*
coordinates, under the names and on the scales of the optimizers' arguments. Trial numbers agree, so that on a restart
the first is rebuilt from the second.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import SearchSpace, SpaceError
from studies.errors import UserError
from studies.ledger._database import TrialWriter, running_template
from studies.ledger._samplers import derive_seed, make_plan, make_pruner, make_sampler
from studies.trials import Assignment, Tally

Facts = Mapping[str, Any]
"""What a worker says of a trial besides its records, kept as user attributes: ``device``, ``busy_seconds``."""

LOST = "driver lost"
INTERRUPTED = "interrupted"
MAX_FAILURES_IN_A_ROW = 10
_OWN_ATTRIBUTES = ("fixed_params",)  # how a configuration was enqueued in memory: in search coordinates
_INFEASIBLE = "diverged"  # the name of Optuna's constraint that a diverged trial breaks

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(slots=True)
class _Running:
    trial: optuna.Trial  # of the study in memory
    stored: FrozenTrial  # what the database shows
    history: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a book needs to know of its study, all of it from the campaign and the workload."""

    name: str
    workload: str
    optimizer: str
    metric: str
    direction: Literal["maximize", "minimize"]
    metric_split: str
    epochs: int
    trials: int
    sampler: str
    pruner: str
    seed: int
    space: SearchSpace


class StudyBook:
    """Asks Optuna for configurations, hears results, and keeps the database in step.

    Args:
        plan: the study.
        study_id: of the study in the database.
        writer: through which the database is written.
        trials: what the database has of this study, in the order of their numbers.
    """

    def __init__(self, plan: StudyPlan, study_id: int, writer: TrialWriter, trials: list[FrozenTrial]) -> None:
        self.plan = plan
        self._study_id = study_id
        self._writer = writer
        self._running: dict[int, _Running] = {}
        self._retries: deque[FrozenTrial] = deque()
        self._counts = dict.fromkeys(("complete", "pruned", "diverged", "failed"), 0)
        self._best: tuple[float, Mapping[str, Any]] | None = None
        self._worst: float | None = None  # of the complete trials
        self._seconds = 0.0
        self._failures_in_a_row = 0
        self._next_index = 0
        self.stopped: str | None = None
        seed = derive_seed(plan.seed, plan.workload, plan.optimizer)  # whatever the campaign is called
        self._plan = make_plan(plan.sampler, seed)
        self._stored_distributions = plan.space.stored_distributions()
        self._search_distributions = plan.space.search_distributions()
        self._study = optuna.create_study(
            storage=InMemoryStorage(),
            study_name=plan.name,  # Hyperband's brackets depend on it
            direction=plan.direction,
            # a sampler that learns goes on with fresh random numbers after a restart, not with those it has used
            sampler=make_sampler(plan.sampler, derive_seed(seed, len(trials)) if trials else seed),
            pruner=make_pruner(plan.pruner, plan.epochs),
        )
        self._recall(trials)

    # ------------------------------------------------------------------ restart

    def _recall(self, trials: list[FrozenTrial]) -> None:
        origins = set()
        settled = set()
        lost: dict[int, FrozenTrial] = {}
        for trial in trials:
            if trial.state == TrialState.COMPLETE and not trial.user_attrs.get("diverged"):
                self._learn_worst(trial.value)
        for trial in trials:
            if trial.state == TrialState.WAITING:
                raise UserError(
                    f"another program queued trial {trial.number} of study '{self.plan.name}', which only sofim may "
                    "add trials to; give this campaign another name with --name"
                )
            self._writer.known(self._study_id, trial.number, trial._trial_id)
            if trial.state == TrialState.RUNNING:
                trial = self._close_lost(trial)
            origin = _origin(trial)
            origins.add(origin)
            if trial.user_attrs.get("failure") in (LOST, INTERRUPTED):
                lost[origin] = trial
            else:
                settled.add(origin)
                self._count(trial)
            self._study.add_trial(self._remembered(trial))
        self._next_index = len(origins)
        self._retries.extend(trial for origin, trial in lost.items() if origin not in settled)

    def _close_lost(self, trial: FrozenTrial) -> FrozenTrial:
        closed = copy(trial)
        closed.state = TrialState.FAIL
        closed.user_attrs = {**trial.user_attrs, "failure": LOST}
        closed.datetime_complete = datetime.now()
        self._writer.finish(self._study_id, closed)
        return closed

    def _remembered(self, trial: FrozenTrial) -> FrozenTrial:
        """``trial`` of the database as the sampler and the pruner may see it."""
        space = self.plan.space
        state, value = trial.state, trial.value
        if trial.user_attrs.get("diverged") and self._punishes():
            state, value = self._punishment()
        usable = set(self._search_distributions) == set(trial.params)
        return create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params=space.encode(trial.params) if usable else {},
            distributions=self._search_distributions if usable else {},
            intermediate_values=trial.intermediate_values,
            system_attrs=trial.system_attrs,  # of a diverged trial too: CMA-ES keeps its state in any of them
        )

    # ---------------------------------------------------------------------- ask

    @property
    def wants_more(self) -> bool:
        """Whether there is a trial to ask for now."""
        return self.stopped is None and bool(self._retries or self._next_index < self.plan.trials)

    @property
    def asked_share(self) -> float:
        """Share of the trials that have been asked for, from 0 to 1."""
        return (self._next_index - len(self._retries)) / self.plan.trials

    def ask(self) -> Assignment:
        """The next trial; it is RUNNING from now on."""
        retried = self._retries.popleft() if self._retries else None
        attributes: dict[str, Any] = {"seed": self.plan.seed}
        if retried is not None:
            self._study.enqueue_trial(self.plan.space.encode(retried.params))
            attributes["retry_of"] = _origin(retried)
        else:
            if self._plan is None and self._next_index == 0:  # what everybody would try first
                self._study.enqueue_trial(self.plan.space.encode(self.plan.space.default))
            elif self._plan is not None:
                self._study.enqueue_trial(self._plan.configuration(self._next_index, self._search_distributions))
            self._next_index += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(fixed_distributions=self._search_distributions)
        params = self.plan.space.decode(trial.params) if retried is None else retried.params
        try:
            arguments = self.plan.space.arguments(params)
        except SpaceError as error:  # the user's own file has changed or gone while the campaign runs
            raise UserError(f"study {self.plan.name}: {error}") from None
        stored = running_template(trial.number, params, self._stored_distributions, attributes)
        self._writer.start(self._study_id, copy(stored))
        stored.intermediate_values = {}  # not shared with what the writer reads in its thread
        self._running[trial.number] = _Running(trial, stored)
        return Assignment(
            study=self.plan.name,
            number=trial.number,
            workload=self.plan.workload,
            optimizer=self.plan.optimizer,
            arguments=arguments,
            seed=self.plan.seed,
            epochs=self.plan.epochs,
        )

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
        running.trial.report(value, epoch)
        running.stored.intermediate_values[epoch] = value
        self._writer.value(self._study_id, number, epoch, value)
        return epoch < self.plan.epochs and running.trial.should_prune()

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

    def interrupt(self) -> None:
        """Closes every running trial; the next driver asks them again."""
        for number in list(self._running):
            self._end(number, TrialState.FAIL, None, failure=INTERRUPTED)

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
            "history": {name: [_jsonable(entry) for entry in column] for name, column in history.items()},
            "diverged": diverged,
        }
        if failure is not None:
            stored.user_attrs["failure"] = failure
        self._tell(running.trial, state, value, diverged=diverged)
        # rungs of the pruner and constraints: in the database too, so that a restart has them
        remembered = self._study.get_trials(deepcopy=False)[number].system_attrs
        stored.system_attrs = {name: entry for name, entry in remembered.items() if name not in _OWN_ATTRIBUTES}
        if failure != INTERRUPTED:
            self._count(stored)
        self._writer.finish(self._study_id, stored)

    def _tell(self, trial: optuna.Trial, state: TrialState, value: float | None, *, diverged: bool) -> None:
        if diverged and self._punishes():
            state, value = self._punishment()
        elif diverged:
            trial.set_constraint(_INFEASIBLE, 1.0)
        elif state == TrialState.COMPLETE:
            self._learn_worst(value)
        if state == TrialState.COMPLETE:
            self._study.tell(trial, value)
        else:
            self._study.tell(trial, state=state)

    def _punishes(self) -> bool:
        """Whether the sampler learns from COMPLETE trials alone, so that it must be told a bad value."""
        return self.plan.sampler in ("gp", "cmaes")

    def _punishment(self) -> tuple[TrialState, float | None]:
        """What such a sampler is told of a diverged trial: the worst value so far; nothing as long as there is none."""
        return (TrialState.FAIL, None) if self._worst is None else (TrialState.COMPLETE, self._worst)

    def _learn_worst(self, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            worse = min if self.plan.direction == "maximize" else max
            self._worst = value if self._worst is None else worse(self._worst, value)

    # -------------------------------------------------------------------- tally

    def _count(self, trial: FrozenTrial) -> None:
        """Counts a trial that ended for good."""
        self._seconds += float(trial.user_attrs.get("seconds", 0.0))
        if trial.state == TrialState.FAIL:
            self._counts["failed"] += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                self.stopped = too_many_failures(str(trial.user_attrs.get("failure", "")))
            return
        self._failures_in_a_row = 0
        if trial.user_attrs.get("diverged"):
            self._counts["diverged"] += 1
        elif trial.state == TrialState.PRUNED:
            self._counts["pruned"] += 1
        else:
            self._counts["complete"] += 1
            assert trial.value is not None
            better = self._best is None or (
                trial.value > self._best[0] if self.plan.direction == "maximize" else trial.value < self._best[0]
            )
            if better:
                self._best = (trial.value, trial.params)

    def tally(self) -> Tally:
        """How far the study is."""
        return Tally(
            study=self.plan.name,
            workload=self.plan.workload,
            optimizer=self.plan.optimizer,
            metric=self.plan.metric,
            direction=self.plan.direction,
            asked_for=self.plan.trials,
            running=len(self._running),
            best=None if self._best is None else self._best[0],
            best_params={} if self._best is None else self._best[1],
            seconds=self._seconds,
            stopped=self.stopped,
            **self._counts,
        )


def too_many_failures(failure: str) -> str:
    """Why a study is stopped, in one line, from the ``failure`` (a line or a traceback) of its last trial."""
    lines = failure.strip().splitlines()
    return f"{MAX_FAILURES_IN_A_ROW} failures in a row, the last: {lines[-1] if lines else '?'}"


def _origin(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("retry_of", trial.number))


def _jsonable(entry: float) -> float | None:
    """JSON has no NaN and no infinity; a history has ``None`` there."""
    return entry if math.isfinite(entry) else None
