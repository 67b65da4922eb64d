"""How good defaults are on workloads that did not choose them, and whether one beats what people type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.pairwise import BETTER, NOT_SHOWN, WORSE, holm, verdict
from analysis.comparison.verdict import told
from analysis.defaults import Evaluated, OptimizerDefaults, SurrogateStudy, common_start
from analysis.defaults.measured import Measured
from analysis.defaults.recommend import TRIED, expected
from analysis.intervals import Floats, difference
from analysis.metric_scale import factor
from analysis.schema import AS_TYPED
from analysis.text import estimate, listing
from search_spaces.errors import number_of

REGRETS = ("optimizer", "tried", "regret", "regret_low", "regret_high", "workloads", "of", "measured_by")
TYPED = (
    "optimizer", "baseline", "workload", "default_from", "runs", "baseline_runs", "gain", "gain_low", "gain_high",
    "scale", "verdict", "better_in_the_mean", "level",
)  # fmt: skip
_TRIED = ("one", "two", "three")
_AIM = 2 / 3  # of the workloads on which a default that is worth having beats what is typed


def left_out_regrets(every: Sequence[OptimizerDefaults]) -> pd.DataFrame:
    """Return the regret of defaults, and of portfolios, on workloads that had no say in them.

    Args:
        every: What is recommended, see `analysis.defaults.recommend`.

    Returns:
        A row an optimizer and number of configurations that are ``tried`` in turn (1 is the default; no more than the
        other workloads recommend): mean ``regret`` (0: as good as the best tuned; 1: what training starts from) with
        95 % over workloads (Student's t), the ``workloads`` it is known on ``of`` all, and what it is measured by:
        runs, or surrogates.
    """
    rows = []
    for one in every:
        for tried in range(1, max(1, min(TRIED, len(one.workloads) - 1)) + 1):
            known = [left.portfolios[tried - 1] for left in one.left_out.values()]
            count = sum(not math.isnan(regret) for regret in known)
            how = f"runs on {number_of(one.seeds, 'fresh seed')}" if one.seeds else "surrogates in part"
            mean = expected(known) if known else (math.nan,) * 3
            rows.append((one.optimizer, tried, *mean, count, len(one.workloads), how))
    return pd.DataFrame(rows, columns=list(REGRETS))


def against_typed(
    defaults: OptimizerDefaults | None, surrogates: Sequence[SurrogateStudy], known: Evaluated
) -> pd.DataFrame:
    """Return one optimizer's default, as all other workloads recommend it, beside what people type.

    Args:
        defaults: Of the optimizer.
        surrogates: Of all studies.
        known: All runs on fresh seeds. ``sofim evaluate`` runs what people type too.

    Returns:
        A row a baseline and workload on which both were run: ``gain`` (in units of the metric, or how many times on a
        logarithmic scale) with Welch's interval, Holm-corrected over all rows; ``verdict`` read off it. A run that
        broke counts as what training starts from; where that is not known, there is no row.
    """
    if defaults is None:
        return pd.DataFrame(columns=list(TYPED))
    typed = [given for given in known.frame["evaluates"] if isinstance(given, Mapping) and AS_TYPED in given]
    pairs = []
    for baseline in sorted({str(given[AS_TYPED]) for given in typed}):
        given = next(one for one in typed if one[AS_TYPED] == baseline)
        for workload, left in defaults.left_out.items():
            own = [one for one in surrogates if one.study.workload == workload]
            start = common_start(own)
            mine = next(one for one in own if one.study.optimizer == defaults.optimizer)
            theirs = (values for one in own if len(values := _values(known.of(one, given, start), start)))
            ours, other = _values(known.of(mine, left.source.params, start), start), next(theirs, np.empty(0))
            if len(ours) and len(other) and np.isfinite([*ours, *other]).all():
                pairs.append((baseline, workload, left.source.workload, ours, other, mine))
    differences = [difference(ours, other) for *_, ours, other, _ in pairs]
    levels, _ = holm([one.p for one in differences])
    rows = []
    for (baseline, workload, source, ours, other, mine), found, level in zip(pairs, differences, levels, strict=True):
        low, high = found.interval(level)
        numbers = (found.estimate, low, high)
        gain = tuple(map(factor, numbers)) if mine.scale == "log" else numbers
        said = verdict(low, high, "maximize")
        rows.append(
            (defaults.optimizer, baseline, workload, source, len(ours), len(other), *gain, mine.scale, said,
             found.estimate > 0, level)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(TYPED))


def _values(runs: Measured, start: float) -> Floats:
    """Return goodness of runs (n,), NaN where one broke and it is not known what training starts from."""
    broken = runs.diverged + runs.failed
    worst = start if math.isfinite(start) else math.nan
    return np.array([*runs.goodness.values(), *[worst] * broken])


def sentences(regrets: pd.DataFrame, typed: pd.DataFrame, optimizer: str, workloads: int) -> list[str]:
    """Return what a default is worth where it was not chosen.

    Args:
        regrets: Of `left_out_regrets`.
        typed: Of `against_typed`.
        optimizer: Whose view it is.
        workloads: How many there are.
    """
    said, others, untold = [], [], []
    for name in dict.fromkeys(map(str, regrets["optimizer"])):
        own = regrets[regrets["optimizer"] == name]
        if own["regret"].isna().all():
            untold.append(name)
            continue
        rows = own.sort_values("tried").to_dict("records")
        alike = len({row["workloads"] for row in rows}) == 1
        told_of = [_regret(row) + ("" if alike else f" on {row['workloads']}") for row in rows]
        if name != optimizer:
            others.append(f"{name} {' / '.join(told_of)}")
            continue
        where = f" on {rows[0]['workloads']}" if alike else ""
        more = f"; of {listing(_TRIED[1 : len(rows)])} tried in turn {listing(told_of[1:])}" if len(rows) > 1 else ""
        said.append(
            f"Left out, the mean regret of the default of {name} is {told_of[0]}{where} of "
            f"{number_of(rows[0]['of'], 'workload')}{more} (0: as good as tuned, 1: untrained; by "
            f"{rows[0]['measured_by']})."
        )
    if others:
        header = " / ".join(_TRIED[: int(regrets["tried"].max())])
        said.append(f"Regret of {header} of the others, likewise left out: {'; '.join(others)}.")
    if untold:
        said.append(f"What a default of {listing(untold)} costs on a workload that did not choose it cannot be told.")
    if not len(typed):
        said.append(
            f"Whether the default of {optimizer} beats what people type cannot be told, for no workload has runs "
            "of both: sofim evaluate runs it."
        )
    said += [_typed(rows, str(name), optimizer, workloads) for name, rows in typed.groupby("baseline", sort=False)]
    return said


def _regret(row: Mapping[Any, Any]) -> str:
    """Return a mean regret in words; its workloads are none where it is not known."""
    return estimate(row["regret"], row["regret_low"], row["regret_high"])


def _typed(rows: pd.DataFrame, baseline: str, optimizer: str, workloads: int) -> str:
    by = {word: rows[rows["verdict"] == word].to_dict("records") for word in (BETTER, WORSE, NOT_SHOWN)}
    parts = [f"{word} on {len(by[word])} ({', '.join(map(_gain, by[word]))})" for word in (BETTER, WORSE) if by[word]]
    parts += [f"no difference shown on {len(by[NOT_SHOWN])}"] if by[NOT_SHOWN] else []
    parts += [f"not known on {workloads - len(rows)}"] if len(rows) < workloads else []
    won, needed = len(by[BETTER]), math.ceil(_AIM * workloads)
    aim = "two thirds of them are reached" if won >= needed else f"{needed - won} short of two thirds of them"
    in_the_mean = int(rows["better_in_the_mean"].sum())
    return (
        f"Left out, the default of {optimizer} is, against {baseline} as typed, {', '.join(parts)}, of "
        f"{number_of(workloads, 'workload')}: {aim}; in the mean it is better on {in_the_mean}."
    )


def _gain(row: Mapping[Any, Any]) -> str:
    return f"{row['workload']}: {told(row)}"
