"""Recommended configurations: per workload, across workloads, and in which order to try them.

Regret on a workload is (best − predicted) / (best − start), from 0, as good as the best tuned neighbourhood there, to
1, what training starts from or worse. The best is an optimizer's own, or that of all of them in the portfolio of all;
the start is one for all optimizers of a workload. Across workloads the configurations that the workloads recommend are
the candidates. On a workload where more than half of them were run on fresh seeds, those runs tell the regrets
(:mod:`analysis.defaults.evaluated`), and of the others nothing is known. Elsewhere the surrogate of the study says what
they would have reached, and a share of runs that broke or collapsed counts as that much of 1. How good such a choice is
on a workload that nobody has seen is told by leaving each workload out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.defaults.choose import Recommendation, choose
from analysis.defaults.evaluated import Evaluated
from analysis.defaults.measured import NOWHERE, Estimate, Measured
from analysis.defaults.portfolio import WORST, filled, greedy
from analysis.defaults.surrogates import Configuration, SurrogateStudy, common_start
from analysis.intervals import Floats, mean
from analysis.text import listing
from search_spaces.errors import number_of

FEW_WORKLOADS = 5
PORTFOLIO = 4
TRIED = 3  # configurations of a portfolio whose regret is told on a workload that is left out
_NO_RUNS = pd.DataFrame({"study": [], "outcome": [], "value": [], "evaluates": []})


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration to try on a workload that nobody has seen.

    Attributes:
        source: The recommendation that it is.
        regret: Mean over the workloads it was chosen on; too good to expect elsewhere.
        measured: By workload, runs of it on fresh seeds there; those where it was not run are left out.
    """

    source: Recommendation
    regret: float
    measured: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def losses(self) -> list[str]:
        """Where runs of it broke or collapsed, in words."""
        return [f"on {workload} {runs.losses}" for workload, runs in self.measured.items() if runs.lost]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the other workloads recommend for one that is left out.

    Attributes:
        source: The default that they recommend.
        regret: Of it on the workload left out; NaN where it was not run and no surrogate is to be trusted.
        portfolios: Likewise of the best of the first one, two and three of the portfolio that they recommend.
    """

    source: Recommendation
    regret: float
    portfolios: tuple[float, ...] = ()


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
        seeds: Runs that a configuration has at least where it was run, of which regrets are; 0: surrogates tell some.
        notes: Why the evidence is weak, where it is.
    """

    optimizer: str
    workloads: Mapping[str, Recommendation]
    default: Choice
    portfolio: tuple[Choice, ...]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    expected: Estimate = NOWHERE
    seeds: int = 0
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
        measured: What configurations reached on fresh seeds of other workloads, and of their own.
    """
    found = []
    starts = _starts(surrogates)
    known = ran(surrogates, trials, runs, measured)
    for optimizer in dict.fromkeys(surrogate.study.optimizer for surrogate in surrogates):
        own = [
            surrogate
            for surrogate in surrogates
            if surrogate.study.optimizer == optimizer and surrogate.winner is not None
        ]
        if own:
            chosen = {
                surrogate.study.workload: choose(
                    surrogate, trials, known, starts[surrogate.study.workload], exact=exact
                )
                for surrogate in own
            }
            found.append(_of_optimizer(optimizer, own, chosen, starts, known))
    return found


def ran(
    surrogates: Sequence[SurrogateStudy], trials: pd.DataFrame, runs: pd.DataFrame, measured: Evaluated | None
) -> Evaluated:
    """Return all runs of configurations on fresh seeds: evaluation runs, and the confirmation runs of winners."""
    evaluated = Evaluated(_NO_RUNS) if measured is None else measured
    return evaluated.with_winners([surrogate.study for surrogate in surrogates], trials, runs)


def _of_optimizer(
    optimizer: str,
    surrogates: Sequence[SurrogateStudy],
    chosen: Mapping[str, Recommendation],
    starts: Mapping[str, float],
    known: Evaluated,
) -> OptimizerDefaults:
    candidates = list(chosen.values())
    table, by_runs = regrets(surrogates, candidates, starts, known)
    order = greedy(table, PORTFOLIO)
    notes = []
    names = [surrogate.study.workload for surrogate in surrogates]
    unknown = [name for name, column in zip(names, np.isnan(table).T, strict=True) if column.any()]
    if len(surrogates) == 1:
        notes.append("one workload: this says nothing beyond it")
    elif len(surrogates) < FEW_WORKLOADS:
        notes.append(f"only {number_of(len(surrogates), 'workload')}")
    if unknown:
        notes.append(
            f"what some of these configurations reach on {listing(unknown)} is not known: there they count as no "
            "better than what training starts from"
        )
    own = filled(table).mean(axis=1)
    left_out = _left_out(names, candidates, table)
    choices = [_choice(candidates[place], float(own[place]), surrogates, starts, known) for place in order]
    return OptimizerDefaults(
        optimizer=optimizer,
        workloads=chosen,
        default=choices[0],
        portfolio=tuple(choices),
        left_out=left_out,
        expected=expected([one.regret for one in left_out.values()]),
        seeds=known.fewest(surrogates, [one.params for one in candidates]) if by_runs else 0,
        notes=(*notes, *choices[0].losses),
    )


def _choice(
    source: Recommendation,
    regret: float,
    surrogates: Sequence[SurrogateStudy],
    starts: Mapping[str, float],
    known: Evaluated,
) -> Choice:
    own = [surrogate for surrogate in surrogates if surrogate.study.optimizer == source.optimizer]
    runs = {one.study.workload: known.of(one, source.params, starts[one.study.workload]) for one in own}
    return Choice(source, regret, {workload: each for workload, each in runs.items() if each.runs})


def expected(left_out: Sequence[float]) -> Estimate:
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
    known: Evaluated,
) -> tuple[Floats, bool]:
    """Return regrets (candidates, workloads), and whether all are of runs; NaN where one is not known.

    Args:
        surrogates: One a workload, of one optimizer.
        candidates: What they recommend.
        starts: Goodness that training starts from, by workload.
        known: Runs on fresh seeds. Where they do not tell the regrets, surrogates do; a study's own winner without a
            surrogate that is to be trusted has 0, and the share of runs that broke or collapsed counts as 1.
    """
    table = np.full((len(candidates), len(surrogates)), math.nan)
    by_runs = True
    configurations = [candidate.params for candidate in candidates]
    for column, surrogate in enumerate(surrogates):
        start = starts[surrogate.study.workload]
        ran = known.regrets(surrogate, configurations, start=start)
        if enough(ran):
            table[:, column] = ran
            continue
        by_runs = False
        if surrogate.trusted:
            table[:, column] = surrogate.regrets(configurations, start=start)
        else:
            own = [
                c.workload == surrogate.study.workload and c.optimizer == surrogate.study.optimizer for c in candidates
            ]
            table[own, column] = 0.0
        table[:, column] = _with_broken(table[:, column], surrogate, configurations, start, known)
    return table, by_runs


def enough(regrets_of_runs: Floats) -> bool:
    """Return whether regrets (n,) on a workload are taken from runs: of more than half of what is compared there."""
    return bool(np.isfinite(regrets_of_runs).mean() > 0.5)


def _with_broken(
    told: Floats, surrogate: SurrogateStudy, configurations: Sequence[Configuration], start: float, known: Evaluated
) -> Floats:
    broken = np.array([known.of(surrogate, one, start).broken_share for one in configurations])
    return (1 - broken) * told + broken * WORST


def _left_out(names: Sequence[str], candidates: Sequence[Recommendation], table: Floats) -> dict[str, LeftOut]:
    """Return by workload: the default that the others recommend; candidate i comes from workload i."""
    found = {}
    for column, name in enumerate(names):
        others = [place for place in range(len(names)) if place != column]
        if others:
            picks = [others[place] for place in greedy(table[np.ix_(others, others)], TRIED)]
            best = np.fmin.accumulate(table[picks, column])
            told = tuple(float(one) for one in np.pad(best, (0, TRIED - len(best)), mode="edge"))
            found[name] = LeftOut(candidates[picks[0]], told[0], told)
    return found


def portfolio_of_all(
    surrogates: Sequence[SurrogateStudy],
    every: Sequence[OptimizerDefaults],
    size: int,
    measured: Evaluated | None = None,
) -> tuple[Choice, ...]:
    """Return what to try in turn, whatever the optimizer; regrets are against the best optimizer of a workload.

    Args:
        surrogates: As of `recommend`.
        every: What it gave.
        size: At most so many members.
        measured: All runs on fresh seeds, see `ran`.
    """
    workloads = list(dict.fromkeys(surrogate.study.workload for surrogate in surrogates))
    candidates = [one for defaults in every for one in defaults.workloads.values()]
    configurations = {own.optimizer: [one.params for one in own.workloads.values()] for own in every}
    starts = _starts(surrogates)
    known = Evaluated(_NO_RUNS) if measured is None else measured
    table = np.full((len(candidates), len(workloads)), math.nan)
    for column, workload in enumerate(workloads):
        start = starts[workload]
        judges = [one for one in surrogates if one.study.workload == workload and one.study.optimizer in configurations]
        rows = {
            judge.study.optimizer: [i for i, one in enumerate(candidates) if one.optimizer == judge.study.optimizer]
            for judge in judges
        }
        best = known.best(judges)
        for judge in judges:
            given = configurations[judge.study.optimizer]
            table[rows[judge.study.optimizer], column] = known.regrets(judge, given, best, start)
        if enough(table[[row for listed in rows.values() for row in listed], column]):
            continue
        table[:, column] = math.nan
        reached = max(judge.best if judge.trusted else judge.won for judge in judges)
        for judge in judges:
            own, given = rows[judge.study.optimizer], configurations[judge.study.optimizer]
            if judge.trusted:
                told = judge.regrets(given, reached, start)
            else:  # of its own winner alone something is known
                told = np.full(len(own), math.nan)
                told[[candidates[i].workload == workload for i in own]] = judge.regret_of_winner(reached, start)
            table[own, column] = _with_broken(told, judge, given, start, known)
    order = greedy(table, size)
    means = filled(table).mean(axis=1)
    return tuple(_choice(candidates[place], float(means[place]), surrogates, starts, known) for place in order)
