"""The book of a search: Optuna decides in memory, the database follows.

Two studies stand behind it. The one in memory is in *search* coordinates (``1 - beta`` on a log scale, say); the
sampler and the pruner see nothing else, and cost no database access. The one in the database is in *stored*
coordinates, under the names and on the scales of the optimizers' arguments. Trial numbers agree, so that on a restart
the first is rebuilt from the second.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.campaign.plan import StudyPlan, campaign_seed
from studies.ledger._book import Book, origin_of
from studies.ledger._samplers import make_plan, make_pruner, make_sampler, suggest
from studies.storage.database import running_template
from studies.storage.writer import TrialWriter
from studies.trials import Assignment

_OWN_ATTRIBUTES = ("fixed_params",)  # how a configuration was enqueued in memory: in search coordinates
# a trial that a study of several optimizers begins with: it runs its whole budget, so that no optimizer is judged by
# the first epochs of one configuration (L-BFGS gains most in the last ones)
_START = "start"
_INFEASIBLE = "diverged"  # the name of Optuna's constraint that a diverged trial breaks


class StudyBook(Book):
    """Asks Optuna for configurations.

    Args:
        plan: the study.
        study_id: of the study in the database.
        writer: through which the database is written.
        trials: what the database has of this study, in the order of their numbers.
    """

    def __init__(self, plan: StudyPlan, study_id: int, writer: TrialWriter, trials: Sequence[FrozenTrial]) -> None:
        super().__init__(plan, study_id, writer)
        self._asked: dict[int, optuna.Trial] = {}  # the running trials, in memory
        self._worst: float | None = None  # of the complete trials
        seed = campaign_seed(plan.seed, plan.workload, plan.optimizer)  # whatever the campaign is called
        self._plan = make_plan(plan.sampler, seed)
        self._spared: set[int] = set()  # running trials that the pruner may not stop
        # the default is what everybody would try first; others may have been made for a wider space
        self._initial = [plan.space.nearest(start) for start in plan.initial or (plan.space.default,)]
        self._study = optuna.create_study(
            storage=InMemoryStorage(),
            study_name=plan.name,  # Hyperband's brackets depend on it
            direction=plan.direction,
            # a sampler that learns goes on with fresh random numbers after a restart, not with those it has used
            sampler=make_sampler(
                plan.sampler, campaign_seed(seed, len(trials)) if trials else seed, conditional=plan.space.conditional
            ),
            pruner=make_pruner(plan.pruner, plan.epochs),
        )
        for trial in trials:
            if trial.state == TrialState.COMPLETE and not trial.user_attrs.get("diverged"):
                self._learn_worst(trial.value)
        known = self._recall(trials)
        for trial in known:
            self._study.add_trial(self._remembered(trial))
        self._next_index = len({origin_of(trial) for trial in known})

    def _remembered(self, trial: FrozenTrial) -> FrozenTrial:
        """``trial`` of the database as the sampler and the pruner may see it."""
        space = self.plan.space
        state, value = trial.state, trial.value
        if trial.user_attrs.get("diverged") and self._punishes():
            state, value = self._punishment()
        distributions = space.search_distributions(trial.params)
        usable = set(distributions) == set(trial.params)
        return create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params=space.encode(trial.params) if usable else {},
            distributions=distributions if usable else {},
            intermediate_values=trial.intermediate_values,
            system_attrs=trial.system_attrs,  # of a diverged trial too: CMA-ES keeps its state in any of them
        )

    @property
    def wants_more(self) -> bool:
        more = self.plan.trials is None or self._next_index < self.plan.trials
        return self.stopped is None and bool(self._retries or more)

    @property
    def asked_share(self) -> float:
        return 0.0 if self.plan.trials is None else (self._next_index - len(self._retries)) / self.plan.trials

    def ask(self) -> Assignment:
        retried = self._retries.popleft() if self._retries else None
        space = self.plan.space
        attributes: dict[str, Any] = {"seed": self.plan.seed}
        if retried is not None:
            self._study.enqueue_trial(space.encode(retried.params))
            attributes["retry_of"] = origin_of(retried)
            attributes |= {_START: True} if retried.user_attrs.get(_START) else {}
        else:
            if self._plan is not None:
                self._study.enqueue_trial(self._plan.configuration(self._next_index, space.search_distributions()))
            elif self._next_index < len(self._initial):
                self._study.enqueue_trial(space.encode(self._initial[self._next_index]))
                attributes |= {_START: True} if space.conditional else {}
            self._next_index += 1
        trial, drawn = self._draw()
        params = space.decode(drawn) if retried is None else retried.params
        arguments = self._arguments(params)
        self._asked[trial.number] = trial
        if _START in attributes:
            self._spared.add(trial.number)
        template = running_template(trial.number, params, space.stored_distributions(params), attributes)
        self._begin(template)
        return Assignment(
            study=self.plan.name,
            number=trial.number,
            workload=self.plan.workload,
            optimizer=space.optimizer_of(params),
            arguments=arguments,
            seed=self.plan.seed,
            epochs=self.plan.epochs,
            checkpoint=self._checkpoint(template),
        )

    def _draw(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """A trial with values for all parameters that it has; which these are may depend on the first values."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(fixed_distributions=self.plan.space.search_distributions())
            drawn = trial.params
            for name, distribution in self.plan.space.search_distributions(drawn).items():
                if name not in drawn:
                    drawn[name] = suggest(trial, name, distribution)
        return trial, drawn

    def _stops(self, number: int, epoch: int, value: float) -> bool:
        trial = self._asked[number]
        trial.report(value, epoch)
        return epoch < self.plan.epochs and number not in self._spared and trial.should_prune()

    def _told(self, stored: FrozenTrial) -> dict[str, Any]:
        self._tell(self._asked.pop(stored.number), stored)
        # rungs of the pruner and constraints: in the database too, so that a restart has them
        remembered = self._study.get_trials(deepcopy=False)[stored.number].system_attrs
        return {name: entry for name, entry in remembered.items() if name not in _OWN_ATTRIBUTES}

    def _tell(self, trial: optuna.Trial, stored: FrozenTrial) -> None:
        state, value, diverged = stored.state, stored.value, stored.user_attrs["diverged"]
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
