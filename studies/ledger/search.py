"""A search: Optuna decides in memory, the database follows.

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
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.samplers import SAMPLERS
from studies.campaign.plan import StudyPlan, campaign_seed
from studies.ledger.counting import cost_of, origin_of
from studies.ledger.study import Draw, arguments_of
from studies.trials import Runs

_OWN_ATTRIBUTES = ("fixed_params",)  # how a configuration was enqueued in memory: in search coordinates
# a trial that a study of several optimizers begins with: it runs its whole budget, so that no optimizer is judged by
# the first epochs of one configuration (L-BFGS gains most in the last ones)
_START = "start"
_INFEASIBLE = "diverged"  # the name of Optuna's constraint that a diverged trial breaks


class Search:
    """A source that asks Optuna for configurations.

    Args:
        plan: The study.

    Attributes:
        study: Optuna's, in memory, once earlier trials are taken up.
    """

    runs: Runs = "trials"
    confirms = False
    test = False

    study: optuna.Study

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._sampler = SAMPLERS[plan.sampler]
        self._seed = campaign_seed(plan.seed, plan.workload, plan.optimizer)  # whatever the campaign is called
        # the default is what everybody would try first; others may have been made for a wider space
        self._initial = [plan.space.nearest(start) for start in plan.initial or (plan.space.default,)]
        self._asked: dict[int, optuna.Trial] = {}  # the running trials, in memory
        self._spared: set[int] = set()  # running trials that the pruner may not stop
        self._worst: float | None = None  # of the complete trials
        self._next_index = 0

    def resume(self, trials: Sequence[FrozenTrial]) -> None:
        """Make the study in memory of the trials that the database has."""
        self.study = optuna.create_study(
            storage=InMemoryStorage(),
            study_name=self._plan.name,  # Hyperband's brackets depend on it
            direction=self._plan.direction,
            # a sampler that learns goes on with fresh random numbers after a restart, not with those it has used
            sampler=self._make_sampler(campaign_seed(self._seed, len(trials)) if trials else self._seed),
            pruner=_make_pruner(self._plan.pruner, self._plan.epochs),
        )
        for trial in trials:
            if trial.state == TrialState.COMPLETE and not trial.user_attrs.get("diverged"):
                self._learn_worst(trial.value)
        for trial in trials:
            self.study.add_trial(self._remembered(trial))
        self._next_index = len({origin_of(trial) for trial in trials})

    def _make_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return Optuna's sampler; that of a study whose points come from elsewhere is never asked."""
        if self._sampler.make is None:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._sampler.make(seed, self._plan.space.conditional)

    def _remembered(self, trial: FrozenTrial) -> FrozenTrial:
        """Return ``trial`` of the database as the sampler and the pruner may see it."""
        space = self._plan.space
        state, value = trial.state, trial.value
        if trial.user_attrs.get("diverged") and self._sampler.needs_complete:
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

    def counts(self, trial: FrozenTrial) -> bool:
        """Return true: every trial is one of the search."""
        return True

    @property
    def has_more(self) -> bool:
        """Return whether there is a trial that was never asked for."""
        return self._plan.trials is None or self._next_index < self._plan.trials

    def asked_share(self, again: int) -> float:
        """Return the share of the trials that were asked for; 0 where their number does not end the study."""
        return 0.0 if self._plan.trials is None else (self._next_index - again) / self._plan.trials

    def draw(self, retried: FrozenTrial | None) -> Draw:
        """Return the next trial, or another attempt at one with the same configuration."""
        space = self._plan.space
        attributes: dict[str, Any] = {"seed": self._plan.seed}
        if retried is not None:
            self.study.enqueue_trial(space.encode(retried.params))
            attributes["retry_of"] = origin_of(retried)
            attributes |= {_START: True} if retried.user_attrs.get(_START) else {}
        else:
            attributes |= self._enqueue_next()
        trial, drawn = self._ask()
        params = space.decode(drawn) if retried is None else retried.params
        arguments = arguments_of(self._plan, params)
        self._asked[trial.number] = trial
        if _START in attributes:
            self._spared.add(trial.number)
        return Draw(trial.number, params, space.stored_distributions(params), arguments, attributes)

    def _enqueue_next(self) -> dict[str, Any]:
        """Enqueue the next configuration where it is not the sampler's; return what its trial is marked with."""
        space, index = self._plan.space, self._next_index
        self._next_index += 1
        point = self._sampler.configuration(self._seed, index, space.search_distributions())
        if point is not None:
            self.study.enqueue_trial(point)
        elif index < len(self._initial):
            self.study.enqueue_trial(space.encode(self._initial[index]))
            return {_START: True} if space.conditional else {}
        return {}

    def _ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """Return a trial with values for all parameters that it has; which these are may depend on the first values."""
        space = self._plan.space
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.study.ask(fixed_distributions=space.search_distributions())
            drawn = trial.params
            for name, distribution in space.search_distributions(drawn).items():
                if name not in drawn:
                    drawn[name] = _suggest(trial, name, distribution)
        return trial, drawn

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Return whether the pruner stops a trial after an epoch."""
        trial = self._asked[number]
        trial.report(value, epoch)
        return epoch < self._plan.epochs and number not in self._spared and trial.should_prune()

    def ended(self, trial: FrozenTrial) -> dict[str, Any]:
        """Tell Optuna of a trial's end; return rungs of the pruner and constraints, so that a restart has them."""
        self._tell(self._asked.pop(trial.number), trial)
        remembered = self.study.get_trials(deepcopy=False)[trial.number].system_attrs
        return {name: entry for name, entry in remembered.items() if name not in _OWN_ATTRIBUTES}

    def _tell(self, trial: optuna.Trial, stored: FrozenTrial) -> None:
        state, value, diverged = stored.state, stored.value, stored.user_attrs["diverged"]
        if diverged and self._sampler.needs_complete:
            state, value = self._punishment()
        elif diverged:
            trial.set_constraint(_INFEASIBLE, 1.0)
        elif state == TrialState.COMPLETE:
            self._learn_worst(value)
        if state == TrialState.COMPLETE:
            self.study.tell(trial, value)
        else:
            self.study.tell(trial, state=state)

    def _punishment(self) -> tuple[TrialState, float | None]:
        """Return what a sampler that learns from complete trials is told of a diverged one.

        That is the worst value so far; nothing as long as there is none.
        """
        return (TrialState.FAIL, None) if self._worst is None else (TrialState.COMPLETE, self._worst)

    def _learn_worst(self, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            direction = self._plan.direction
            known = (value,) if self._worst is None else (self._worst, value)
            self._worst = max(known, key=lambda one: cost_of(one, direction))


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return a value of ``distribution``, drawn by the sampler of the trial's study.

    Raises:
        TypeError: For a distribution that Optuna does not have today.
    """
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    raise TypeError(f"no way to draw from {type(distribution).__name__}")


def _make_pruner(pruner: str, epochs: int) -> optuna.pruners.BasePruner:
    """Return Optuna's pruner for a campaign's ``pruner``; a trial's resource is its epochs, from 1 to ``epochs``."""
    if pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    if pruner == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return optuna.pruners.NopPruner()
