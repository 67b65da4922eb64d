"""A search: Optuna decides in memory, the database follows.

Two studies stand behind it. The one in memory is in *search* coordinates (``1 - beta`` on a log scale, say); the
sampler and the pruner see nothing else, and cost no database access. The one in the database is in *stored*
coordinates, under the names and on the scales of the optimizers' arguments.

In memory a trial has the *place* in which its configuration was drawn, from 0, as its number, however often a driver
began it: the database has a number for each attempt. What is drawn in a place, and what stops it, are functions of the
seed, the place, and of what the trials before it gave. No name of a campaign, workload or optimizer enters, no storage,
and no restart: the first study is rebuilt from the second, to the last bit.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.schema import DRAWN_BY, INTERRUPTED
from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS
from studies.campaign.plan import StudyPlan, campaign_seed
from studies.ledger.counting import cost_of, is_asked_again, origin_of
from studies.ledger.study import Draw, arguments_of, quiet
from studies.trials import Runs

_STUDY = "search"  # what the study in memory is called, whatever the campaign is
# what Optuna keeps of a trial while it runs, and needs no longer: how it was enqueued, what its parameters were to be
_PASSING = re.compile(r"fixed_params|(tpe|gp):relative_params:\d+")
_FIXED = "fixed_params"  # the attribute by which Optuna knows what was enqueued: in search coordinates
# a trial that a study of several optimizers begins with: it runs its whole budget, so that no optimizer is judged by
# the first epochs of one configuration (L-BFGS gains most in the last ones)
_START = "start"
_INFEASIBLE = "diverged"  # the name of Optuna's constraint that a diverged trial breaks
_TOLD = "told"  # the value that a sampler was told of a diverged trial, if any: kept for a restart


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
        self._pruner = PRUNERS[plan.pruner].make(plan.epochs)
        self._seed = campaign_seed(plan.seed, "search")  # the same for all optimizers and workloads
        # the default is what everybody would try first; others may have been made for a wider space
        self._initial = [plan.space.nearest(start) for start in plan.initial or (plan.space.default,)]
        self._asked: dict[int, optuna.Trial] = {}  # the running trials, in memory, by their number in the database
        self._begun: dict[int, dict[str, Any]] = {}  # system attributes that they began with
        self._spared: set[int] = set()  # running trials that the pruner may not stop
        self._worst: float | None = None  # of the complete trials
        self._next_number = 0  # in the database
        self._next_place = 0

    @quiet()
    def resume(self, trials: Sequence[FrozenTrial]) -> None:
        """Make the study in memory of the trials that the database has."""
        # its pruner is asked here, not by the study
        self.study = optuna.create_study(
            storage=InMemoryStorage(),
            study_name=_STUDY,
            direction=self._plan.direction,
            sampler=self._make_sampler(0),
            pruner=optuna.pruners.NopPruner(),
        )
        attempts: dict[int, list[FrozenTrial]] = {}
        for trial in trials:
            attempts.setdefault(origin_of(trial), []).append(trial)
        for _, every in sorted(attempts.items()):
            settled = [trial for trial in every if not is_asked_again(trial)]
            self.study.add_trial(self._remembered(settled[-1]) if settled else self._waiting(every[-1]))
        self._next_number, self._next_place = len(trials), len(attempts)

    def _make_sampler(self, place: int) -> optuna.samplers.BaseSampler:
        """Return Optuna's sampler for one place; that of a study whose points come from elsewhere is never asked.

        Each place has random numbers of its own, so that a restart does not begin others.
        """
        seed = campaign_seed(self._seed, place)
        if self._sampler.make is None:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._sampler.make(seed, self._plan.space.conditional)

    def _remembered(self, trial: FrozenTrial) -> FrozenTrial:
        """Return ``trial`` of the database, which has ended for good, as the sampler and the pruner may see it."""
        state, value = trial.state, trial.value
        if trial.user_attrs.get("diverged") and self._sampler.needs_complete:
            state, value = _as_told(trial.system_attrs.get(_TOLD))
        elif state == TrialState.COMPLETE:
            self._learn_worst(value)
        params, distributions = self._searched(trial)
        usable = bool(params)
        return create_trial(
            state=state if usable else TrialState.FAIL,
            value=value if usable and state == TrialState.COMPLETE else None,
            params=params,
            distributions=distributions,
            intermediate_values=trial.intermediate_values,
            system_attrs=trial.system_attrs,  # of a diverged trial too: CMA-ES keeps its state in any of them
        )

    def _waiting(self, trial: FrozenTrial) -> FrozenTrial:
        """Return ``trial`` of the database, which is to be run again, as one that Optuna is to ask for first."""
        attributes = {**trial.system_attrs, _FIXED: self._searched(trial)[0]}
        return create_trial(state=TrialState.WAITING, system_attrs=attributes)

    def _searched(self, trial: FrozenTrial) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Return a trial's configuration in search coordinates and its distributions; empty if it is not whole."""
        distributions = self._plan.space.search_distributions(trial.params)
        if set(distributions) != set(trial.params):
            return {}, {}
        return self._plan.space.encode(trial.params), distributions

    def counts(self, trial: FrozenTrial) -> bool:
        """Return true: every trial is one of the search."""
        return True

    @property
    def has_more(self) -> bool:
        """Return whether there is a trial that was never asked for."""
        return self._plan.trials is None or self._next_place < self._plan.trials

    def asked_share(self, again: int) -> float:
        """Return the share of the trials that were asked for; 0 where their number does not end the study."""
        return 0.0 if self._plan.trials is None else (self._next_place - again) / self._plan.trials

    def draw(self, retried: FrozenTrial | None) -> Draw:
        """Return the next trial, or another attempt at one with the same configuration."""
        space = self._plan.space
        attributes: dict[str, Any] = {"seed": self._plan.seed}
        if retried is not None:
            kept = (_START, DRAWN_BY)
            attributes |= {name: entry for name, entry in retried.user_attrs.items() if name in kept}
            attributes["retry_of"] = origin_of(retried)
            trial, params = self._ask()[0], retried.params
        else:
            given = self._enqueue_next(attributes)
            trial, drawn = self._ask()
            params = space.decode(drawn)
            self._settle(trial, params)
            attributes[DRAWN_BY] = given or ("model" if trial.relative_params else "random")
        number, self._next_number = self._next_number, self._next_number + 1
        arguments = arguments_of(self._plan, params)
        self._asked[number], self._begun[number] = trial, self._lasting(trial)
        if _START in attributes:
            self._spared.add(number)
        return Draw(number, params, space.stored_distributions(params), arguments, attributes, self._begun[number])

    def _enqueue_next(self, attributes: dict[str, Any]) -> str | None:
        """Enqueue the next configuration where it is not the sampler's; return whose it is then.

        Args:
            attributes: Of the trial; a mark is added where it has one.
        """
        space, place = self._plan.space, self._next_place
        self._next_place += 1
        self.study.sampler = self._make_sampler(place)
        point = self._sampler.configuration(self._seed, place, space.search_distributions())
        if point is not None:
            self.study.enqueue_trial(point)
            return "random"
        if place < len(self._initial):
            self.study.enqueue_trial(space.encode(self._initial[place]))
            attributes |= {_START: True} if space.conditional else {}
            return "given"
        return None

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

    def _settle(self, trial: optuna.Trial, params: Mapping[str, Any]) -> None:
        """Make the configuration in memory what a restart reads: ``1 - beta`` is rounded on its way to ``beta``."""
        distributions = self._plan.space.search_distributions(params)
        for name, value in self._plan.space.encode(params).items():
            internal = distributions[name].to_internal_repr(value)
            trial.storage.set_trial_param(trial._trial_id, name, internal, distributions[name])

    def _lasting(self, trial: optuna.Trial) -> dict[str, Any]:
        """Return the system attributes of a trial in memory without which a restart would not go on as this run."""
        attributes = self._in_memory(trial).system_attrs
        return {name: entry for name, entry in attributes.items() if not _PASSING.fullmatch(name)}

    def _in_memory(self, trial: optuna.Trial) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[trial.number]

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Return whether the pruner stops a trial after an epoch."""
        trial = self._asked[number]
        trial.report(value, epoch)
        if epoch >= self._plan.epochs or number in self._spared:
            return False
        return self._pruner.prune(self.study, self._in_memory(trial))

    def ended(self, trial: FrozenTrial) -> dict[str, Any]:
        """Tell Optuna of a trial's end; return rungs of the pruner and constraints, so that a restart has them."""
        asked, begun = self._asked.pop(trial.number), self._begun.pop(trial.number)
        told = self._tell(asked, trial)
        # an attempt that is made again has climbed no rung
        return begun if trial.user_attrs.get("failure") == INTERRUPTED else self._lasting(asked) | told

    def _tell(self, trial: optuna.Trial, stored: FrozenTrial) -> dict[str, Any]:
        """Tell Optuna of a trial's end; return what of that a restart could not find out."""
        state, value, diverged = stored.state, stored.value, stored.user_attrs["diverged"]
        told = {}
        if diverged and self._sampler.needs_complete:
            state, value = _as_told(self._worst)
            told = {_TOLD: value}
        elif diverged:
            trial.set_constraint(_INFEASIBLE, 1.0)
        elif state == TrialState.COMPLETE:
            self._learn_worst(value)
        if state == TrialState.COMPLETE:
            self.study.tell(trial, value)
        else:
            self.study.tell(trial, state=state)
        return told

    def _learn_worst(self, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            direction = self._plan.direction
            known = (value,) if self._worst is None else (self._worst, value)
            self._worst = max(known, key=lambda one: cost_of(one, direction))


def _as_told(worst: float | None) -> tuple[TrialState, float | None]:
    """Return what a sampler that learns from complete trials is told of a diverged one.

    That is the worst value that was known when it ended; nothing as long as there was none.
    """
    return (TrialState.FAIL, None) if worst is None else (TrialState.COMPLETE, worst)


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
