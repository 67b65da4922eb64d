"""From what a person asks for to a search that can begin: all names looked up, all data checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import ANY, SEARCH_SPACES, ConditionalSpace
from search_spaces.errors import UserError
from studies.campaign._checks import MOST, WHOLE_NUMBER, check_workloads
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.campaign.resolve import resolve_campaign as draw_up_campaign
from studies.commands.budget import Budget
from studies.commands.tuning._initial import initial_configurations
from studies.workloads._targets import target_origins

if TYPE_CHECKING:
    from sofim import OptimizerSpec
    from studies.campaign.plan import StudyPlan
    from studies.workloads import Metric, TrainingFunction, Workload

PORTFOLIO = "portfolio"
"""Stands for the optimizers of the portfolio that ships: what did best in turn on the package's own workloads."""

DEFAULT = f"{PORTFOLIO},sofim,sgd,adamw"
"""What a search chooses from unless somebody says otherwise: SOFIM and what everybody would ask about with the best."""

CONFIGURATION = "configuration"
"""What the hyperparameters of a training function are called in the place of an optimizer."""

_MOST_SEEDS = 10_000
_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Search:
    """A search that can begin.

    Attributes:
        resolved: Of a campaign of one workload, whose optimizers one study chooses from.
        workload: Its key.
        budget: When it ends.
        seeds: Of the winner's confirmation.
        initial: Stored configurations to begin with.
        notes: What the person should know, a line each.
    """

    resolved: ResolvedCampaign
    workload: str
    budget: Budget
    seeds: int
    initial: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def schedule(self) -> str | None:
        """Of the learning rate; ``None`` where a training function may have its own."""
        from studies.workloads import TrainingFunction

        asked = self.resolved.campaign.schedule
        own = asked == "constant" and isinstance(self.resolved.workloads[self.workload], TrainingFunction)
        return None if own else asked

    @property
    def what(self) -> str:
        """What is searched, in words."""
        return ", ".join(self._of_function) or f"one of {', '.join(self.resolved.plan.spaces)}"

    @property
    def narrower(self) -> str:
        """What helps where everything diverges, in words."""
        if self._of_function:
            return f"narrow the ranges of {', '.join(self._of_function)} (search_space)"
        return "choose other --optimizers, or narrow their ranges in a campaign's [search_space.OPTIMIZER]"

    @property
    def _of_function(self) -> Sequence[str]:
        """The hyperparameters of a training function; none where optimizers are searched."""
        space = self.resolved.plan.spaces.get(CONFIGURATION)
        return tuple(space.parameters) if space is not None and space.of_function else ()

    def stored(self) -> dict[str, Any]:
        """Return the whole configuration, as JSON can hold it. Without ``trials`` where it is the time that ends it."""
        whole = self.resolved.plan.stored()
        if self.budget.trials is None:
            del whole["trials"]
        more = {
            "budget": self.budget.stored(),
            "seeds": self.seeds,
            "starts": [dict(values) for values in self.initial],
        }
        return {**whole, **more}

    def plan(self) -> StudyPlan:
        """Return the study: its optimizer is any."""
        from studies.campaign.plan import StudyPlan

        campaign, metric = self.resolved.campaign, self.resolved.workloads[self.workload].metric
        return StudyPlan(
            name=f"{campaign.name}/{self.workload}/{ANY}",
            workload=self.workload,
            optimizer=ANY,
            metric=metric.name,
            direction=metric.direction,
            metric_split=metric.split,
            metric_scale=metric.scale,
            metric_bounds=metric.bounds,
            target=self.resolved.workloads[self.workload].target,
            kind=self.resolved.workloads[self.workload].kind,
            data=self.resolved.files().get(self.workload),
            target_origin=target_origins().get(self.resolved.workloads[self.workload].name, ""),
            epochs=self.resolved.epochs(self.workload),
            trials=self.budget.trials,
            sampler=campaign.sampler,
            pruner=campaign.pruner,
            seed=campaign.seed,
            space=ConditionalSpace(
                {optimizer: self.resolved.space(optimizer, self.workload) for optimizer in campaign.optimizers}
            ),
            initial=self.initial,
            tested=self.workload not in self.resolved.untested,
        )


def resolve_campaign(
    workload: str | Workload | TrainingFunction | Callable[..., Any],
    budget: Budget,
    optimizers: str | Sequence[str | OptimizerSpec],
    *,
    name: str | None,
    seed: int,
    epochs: int | None,
    seeds: int,
    data_directory: Path | None,
    schedule: str = "constant",
    search_space: Mapping[str, object] | None = None,
) -> Search:
    """Look up all that is named, and load the data, test data included if the workload has some.

    Raises:
        UserError: Something that was asked for makes no sense, or the user's code or data do not work.
    """
    from studies.optimizers import listed
    from studies.workloads import named

    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= _MOST_SEEDS:
        raise UserError(f"seeds = {seeds!r}: must be a whole number from 1 to {_MOST_SEEDS}")
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or not 1 <= epochs <= MOST):
        raise UserError(f"epochs = {epochs!r}: must be {WHOLE_NUMBER}")
    key = workload if isinstance(workload, str) else named(workload)
    check_workloads([key], listed=False)
    if search_space is None:
        keys, tables = listed(_parts(optimizers))
    else:
        _check_space(search_space, key, optimizers)
        keys, tables = (CONFIGURATION,), {}
    plan = CampaignPlan.of(
        {
            "name": default_name(key) if name is None else name,
            "workloads": (key,),
            "optimizers": keys,
            "optimizer": tables,
            **({} if search_space is None else {"search_space": {CONFIGURATION: dict(search_space)}}),
            "trials": budget.trials or MOST,
            "seed": seed,
            "epochs": epochs,
            "schedule": schedule,
        },
        whole=True,  # it begins with configurations whose values of all parameters were measured
    )
    resolved = draw_up_campaign(plan, data_directory, test=None)
    initial, notes = initial_configurations(ConditionalSpace(plan.spaces), key)
    return Search(resolved, key, budget, seeds, tuple(initial), (*notes, *resolved.notes))


def with_metric(
    workload: str | Workload | TrainingFunction | Callable[..., Any],
    metric: str | Metric | None,
    direction: str | None,
    epochs: int | None,
) -> str | Workload | TrainingFunction | Callable[..., Any]:
    """Return the workload; of a person's function the training function that it is, with that metric and budget.

    Raises:
        UserError: Something is missing, or is said of what says it itself.
    """
    from studies.workloads import TrainingFunction, Workload
    from studies.workloads._function import declared, is_generator_function

    is_named = isinstance(workload, str | Workload | TrainingFunction)
    if not is_named and callable(workload) and (metric is not None or is_generator_function(workload)):
        return declared(workload, metric, direction, epochs)
    for name, given in (("metric", metric), ("direction", direction)):
        if given is not None:
            whose = "TrainingFunction" if isinstance(workload, TrainingFunction) else "workload"
            raise UserError(f"{name} = {given!r}: is for a plain function; a {whose} has its {name}: leave it out")
    return workload


def _check_space(search_space: object, workload: str, optimizers: object) -> None:
    """Refuse hyperparameters of nobody, or beside optimizers."""
    if optimizers != DEFAULT:
        raise UserError("search_space: stands in the place of optimizers; leave one of them out")
    if not isinstance(search_space, Mapping) or not search_space:
        raise UserError(f"search_space = {search_space!r}: must be a table {{name: {{low, high, default, …}}}}")
    nested = [
        name
        for name, table in search_space.items()
        if isinstance(table, Mapping) and table and all(isinstance(one, Mapping) for one in table.values())
    ]
    if nested:
        raise UserError(
            f"search_space: {', '.join(map(str, nested))}: a table of tables; tune takes one space, {{name: {{low, "
            "high, …}}; a campaign compares several (sofim launch, [search_space.NAME])"
        )
    if ":" not in workload:
        raise UserError(f"search_space: {workload} is no training function: tune it with optimizers")


def default_name(workload: str) -> str:
    """Return what a search on ``workload`` is called in the storage unless somebody names it.

    >>> default_name("mine:xor")
    'tune-mine-xor'
    """
    return f"tune-{re.sub(r'[^A-Za-z0-9._-]+', '-', workload)}"[:_NAME_LENGTH].rstrip("-.")


def _parts(optimizers: str | Sequence[str | OptimizerSpec]) -> list[str | OptimizerSpec]:
    """Return what a person asked for one by one; of what a word stands for, what is not named besides."""
    if isinstance(optimizers, str):
        optimizers = [part.strip() for part in optimizers.split(",") if part.strip()]
    asked = list(optimizers) if isinstance(optimizers, Iterable) else [optimizers]
    found: list[str | OptimizerSpec] = []
    for part in asked:
        meant = _meant(part) if isinstance(part, str) else None
        found += [part] if meant is None else [one for one in meant if one not in (*asked, *found)]
    return found


def _meant(word: str) -> Iterable[str] | None:
    """Return the optimizers that a word stands for; ``None``: it is none of these words."""
    from sofim.recommended import shipped

    if word == PORTFOLIO:
        return dict.fromkeys(member["optimizer"] for member in shipped()["portfolio"])
    return SEARCH_SPACES if word == "all" else None
