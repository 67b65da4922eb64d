"""Recommended configurations: per workload, across workloads, and in which order to try them.

Regret on a workload is (best − predicted) / (best − start), from 0, as good as the best tuned neighbourhood there, to
1, what training starts from or worse. The best is an optimizer's own, or that of all of them in the portfolio of all;
the start is one for all optimizers of a workload. Across workloads the configurations that the workloads recommend are
the candidates; where one was not run, the surrogate of that workload's study says what it would have reached, unless
runs on fresh seeds do (:mod:`analysis.defaults.evaluated`). How good such a choice is on a workload that nobody has
seen is told by leaving each workload out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from analysis.defaults.evaluated import Evaluated
from analysis.defaults.portfolio import filled, greedy
from analysis.defaults.robust import robust, with_digits
from analysis.defaults.surrogates import Configuration, SurrogateStudy, common_start
from analysis.intervals import Floats, mean
from analysis.schema import COUNTED
from analysis.sensitivity.dependence import band
from analysis.study import Study
from analysis.winners import winner
from search_spaces.errors import number_of

Estimate = tuple[float, float, float]
"""A number with its interval: estimate, low, high; NaN where not known."""

FEW_WORKLOADS = 5
PORTFOLIO = 4
NOWHERE: Estimate = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A configuration and what speaks for it.

    Attributes:
        optimizer: Its key.
        workload: Where it comes from.
        params: Stored values, fixed ones included.
        kind: ``"robust"`` (best neighbourhood, rounded) or ``"winner"`` (the best trial, as it was).
        metric: Name of the metric; ``direction`` says which way is better.
        direction: ``"maximize"`` or ``"minimize"``.
        predicted: Of the metric on validation data, averaged over its neighbourhood, with the 90 % interval over
            refits of the surrogate.
        confirmed: Of the winner on fresh seeds: the metric on validation data, mean and 95 % interval over the seeds
            on which it did not break; ``notes`` say how many did.
        seeds: How many.
        trials: Of the study that ended.
        notes: Why the evidence is weak, where it is.
    """

    optimizer: str
    workload: str
    params: Mapping[str, object]
    kind: str
    metric: str
    direction: str
    predicted: Estimate
    confirmed: Estimate
    seeds: int
    trials: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration to try on a workload that nobody has seen.

    Attributes:
        source: The recommendation that it is.
        regret: Mean over the workloads it was chosen on, as predicted; too good to expect elsewhere.
    """

    source: Recommendation
    regret: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the other workloads recommend for one that is left out.

    Attributes:
        source: The default that they recommend.
        regret: Of it on the workload left out, by that one's surrogate; NaN where that is not to be trusted.
    """

    source: Recommendation
    regret: float


@dataclass(frozen=True, slots=True)
class OptimizerDefaults:
    """What is recommended of one optimizer.

    Attributes:
        optimizer: Its key.
        workloads: By workload.
        default: The single configuration with the least mean regret.
        portfolio: The configurations to try in turn; ``default`` is the first.
        left_out: By workload, where there are two or more.
        expected: Mean of the regrets that are known, with a 95 % interval over workloads (Student's t).
        notes: Why the evidence is weak, where it is.
    """

    optimizer: str
    workloads: Mapping[str, Recommendation]
    default: Choice
    portfolio: tuple[Choice, ...]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    expected: Estimate = NOWHERE
    notes: tuple[str, ...] = ()


def recommend(
    surrogates: Sequence[SurrogateStudy],
    trials: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    exact: bool = False,
    measured: Evaluated | None = None,
) -> list[OptimizerDefaults]:
    """Return what the studies recommend, optimizer by optimizer, in their order, but those without a complete trial.

    Args:
        surrogates: Of the studies, see :func:`analysis.defaults.surrogates.surrogate_study`.
        trials: As :func:`analysis.load.trials` gives them.
        runs: Their confirmation runs, as :func:`analysis.load.confirmations` gives them.
        exact: The best trial as it was, instead of the best neighbourhood.
        measured: What configurations reached on other workloads; without it, surrogates tell.
    """
    found = []
    starts = _starts(surrogates)
    for optimizer in dict.fromkeys(surrogate.study.optimizer for surrogate in surrogates):
        own = [
            surrogate
            for surrogate in surrogates
            if surrogate.study.optimizer == optimizer and surrogate.winner is not None
        ]
        if own:
            chosen = {surrogate.study.workload: _of_study(surrogate, trials, runs, exact) for surrogate in own}
            found.append(_of_optimizer(optimizer, own, chosen, starts, measured))
    return found


def _of_study(surrogate: SurrogateStudy, trials: pd.DataFrame, runs: pd.DataFrame, exact: bool) -> Recommendation:
    study = surrogate.study
    assert surrogate.winner is not None
    own = trials[trials["study"] == study.name]
    best = winner(study, own)
    notes = []
    if surrogate.reason is not None and not exact:
        notes.append(f"the best trial, not a robust configuration: {surrogate.reason}")
    searched = (
        surrogate.winner if exact else robust(surrogate) if surrogate.trusted else _short(study, surrogate.winner)
    )
    every = runs[(runs["study"] == study.name) & runs["outcome"].isin(COUNTED)]
    if best is not None and "confirms" in every:
        every = every[every["confirms"] == best["number"]]
    confirmed = every[every["outcome"] == "complete"]
    if len(confirmed) < len(every):
        notes.append(
            f"{len(every) - len(confirmed)} of {len(every)} confirmation runs of the winner diverged or failed"
        )
    elif len(confirmed) < 2:
        notes.append("the winner was not confirmed on fresh seeds")
    predicted = NOWHERE
    if surrogate.trusted:
        values = surrogate.used.sign * surrogate.around(surrogate.at([searched]))[:, 0]
        middle, low, high = band(values)
        predicted = float(middle), float(low), float(high)
    return Recommendation(
        optimizer=study.optimizer,
        workload=study.workload,
        params=_whole(study, searched),
        kind="robust" if surrogate.trusted and not exact else "winner",
        metric=study.metric,
        direction=study.direction,
        predicted=predicted,
        confirmed=mean(confirmed["value"].to_numpy(np.float64)),
        seeds=len(every),
        trials=int(own["outcome"].isin(COUNTED).sum()),
        notes=tuple(notes),
    )


def _short(study: Study, configuration: Configuration) -> dict[str, object]:
    """Return with the digits that one has where nothing says how many count."""
    return with_digits(configuration, list(study.parameters.values()), 3)


def _whole(study: Study, searched: Configuration) -> dict[str, object]:
    """Return with the parameters that were not searched, in the order of the search space."""
    space = study.attributes.get("search_space") or {}
    fixed = dict(space.get("fixed") or {})
    order = list(space.get("parameters") or {}) or list(searched)
    values = {**fixed, **searched}
    return {name: values[name] for name in [*order, *(n for n in values if n not in order)] if name in values}


def _of_optimizer(
    optimizer: str,
    surrogates: Sequence[SurrogateStudy],
    chosen: Mapping[str, Recommendation],
    starts: Mapping[str, float],
    measured: Evaluated | None,
) -> OptimizerDefaults:
    candidates = list(chosen.values())
    table = regrets(surrogates, candidates, starts, measured)
    order = greedy(table, PORTFOLIO)
    notes = []
    names = [surrogate.study.workload for surrogate in surrogates]
    unknown = [name for name, column in zip(names, np.isnan(table).T, strict=True) if column.any()]
    if len(surrogates) == 1:
        notes.append("one workload: this says nothing beyond it")
    elif len(surrogates) < FEW_WORKLOADS:
        notes.append(f"only {number_of(len(surrogates), 'workload')}")
    if unknown:
        notes.append(f"what others reach on {', '.join(unknown)} is not known: counted as 1, no help")
    own = filled(table).mean(axis=1)
    left_out = _left_out(names, candidates, table)
    return OptimizerDefaults(
        optimizer=optimizer,
        workloads=chosen,
        default=Choice(candidates[order[0]], float(own[order[0]])),
        portfolio=tuple(Choice(candidates[place], float(own[place])) for place in order),
        left_out=left_out,
        expected=_expected([one.regret for one in left_out.values()]),
        notes=tuple(notes),
    )


def _expected(left_out: Sequence[float]) -> Estimate:
    """Return the mean regret with an interval over workloads, both within 0 and 1."""
    known = np.array([regret for regret in left_out if not math.isnan(regret)])
    middle, *ends = mean(known)
    low, high = np.clip(ends, 0.0, 1.0)
    return middle, float(low), float(high)


def _starts(surrogates: Sequence[SurrogateStudy]) -> dict[str, float]:
    """Return what training starts from, by workload: one scale for all optimizers."""
    workloads = dict.fromkeys(surrogate.study.workload for surrogate in surrogates)
    return {
        name: common_start([surrogate for surrogate in surrogates if surrogate.study.workload == name])
        for name in workloads
    }


def regrets(
    surrogates: Sequence[SurrogateStudy],
    candidates: Sequence[Recommendation],
    starts: Mapping[str, float],
    measured: Evaluated | None = None,
) -> Floats:
    """Return regrets (candidates, workloads): NaN where nothing was run and no surrogate is to be trusted.

    Without runs, and without a surrogate, a study's own winner has 0.
    """
    table = np.full((len(candidates), len(surrogates)), math.nan)
    configurations = [candidate.params for candidate in candidates]
    for column, surrogate in enumerate(surrogates):
        start = starts[surrogate.study.workload]
        if measured is not None:
            table[:, column] = measured.regrets(surrogate, configurations, start=start)
        elif surrogate.trusted:
            table[:, column] = surrogate.regrets(configurations, start=start)
        else:
            own = [
                c.workload == surrogate.study.workload and c.optimizer == surrogate.study.optimizer for c in candidates
            ]
            table[own, column] = 0.0
    return table


def _left_out(names: Sequence[str], candidates: Sequence[Recommendation], table: Floats) -> dict[str, LeftOut]:
    """Return by workload: the default that the others recommend; candidate i comes from workload i."""
    found = {}
    for column, name in enumerate(names):
        others = [place for place in range(len(names)) if place != column]
        if others:
            pick = others[greedy(table[np.ix_(others, others)], 1)[0]]
            found[name] = LeftOut(candidates[pick], float(table[pick, column]))
    return found


def portfolio_of_all(
    surrogates: Sequence[SurrogateStudy],
    every: Sequence[OptimizerDefaults],
    size: int,
    measured: Evaluated | None = None,
) -> tuple[Choice, ...]:
    """Return what to try in turn, whatever the optimizer; regrets are against the best optimizer of a workload."""
    workloads = list(dict.fromkeys(surrogate.study.workload for surrogate in surrogates))
    candidates = [one for defaults in every for one in defaults.workloads.values()]
    configurations = {own.optimizer: [one.params for one in own.workloads.values()] for own in every}
    starts = _starts(surrogates)
    table = np.full((len(candidates), len(workloads)), math.nan)
    for column, workload in enumerate(workloads):
        known = [
            surrogate
            for surrogate in surrogates
            if surrogate.study.workload == workload and surrogate.study.optimizer in configurations
        ]
        own = [surrogate for surrogate in known if measured is not None or surrogate.trusted]
        if not own:
            continue
        best = max(surrogate.best for surrogate in own) if measured is None else measured.best(own, configurations)
        for surrogate in own:
            optimizer = surrogate.study.optimizer
            rows = [i for i, one in enumerate(candidates) if one.optimizer == optimizer]
            told = surrogate.regrets if measured is None else partial(measured.regrets, surrogate)
            table[rows, column] = told(configurations[optimizer], best, starts[workload])
    order = greedy(table, size)
    means = filled(table).mean(axis=1)
    return tuple(Choice(candidates[place], float(means[place])) for place in order)
