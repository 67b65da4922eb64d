"""Seconds to the target of every workload and optimizer, and how quiet the machine was while they were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.answer import seconds_compare
from analysis.comparison.searches import ENOUGH, repeated
from analysis.comparison.time_to_target import untimed
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.text import listing, number, times
from search_spaces.errors import number_of

COLUMNS = (
    "workload", "optimizer", "target", "reached", "runs", "median", "low", "high", "against", "ratio", "ratio_low",
    "ratio_high", "verdict", "comparable", "other_cores", "cores",
)  # fmt: skip
FASTER, SLOWER, UNDECIDED = "faster", "slower", "undecided"


def seconds_to_target(
    contests: Sequence[WorkloadRuns], taken: pd.DataFrame, ratios: pd.DataFrame, optimizer: str
) -> pd.DataFrame:
    """Return seconds to target over all workloads, each beside those of one optimizer.

    Args:
        contests: Of a campaign.
        taken: Times, of `analysis.comparison.time_to_target.time_to_target`.
        ratios: Of all pairs, from there.
        optimizer: Whose seconds the others' are divided by.

    Returns:
        A row a workload with a target and confirmed optimizer: ``median`` (with its interval; infinite where fewer than
        half of the searches, or of the runs of one search, reached it), ``ratio`` (of ``against``'s restricted mean
        time to its own, above 1 where this one is faster, Holm-corrected over all pairs of all workloads; NaN for
        itself), ``verdict`` (faster, slower than ``against``, or undecided; empty where seconds do not compare or the
        ratio has no interval), ``comparable``, ``other_cores`` (the most that other programs kept busy during a run;
        NaN: not known of each) of ``cores``.
    """
    rows = []
    seconds = taken[taken["axis"] == "seconds"]
    between = ratios[ratios["axis"] == "seconds"]
    for contest in contests:
        fair = seconds_compare(contest)
        busy, cores = _busiest(contest.runs)
        for row in seconds[seconds["workload"] == contest.workload].to_dict("records"):
            ratio = _ratio(between[between["workload"] == contest.workload], optimizer, str(row["optimizer"]))
            said = FASTER if ratio[1] > 1 else SLOWER if ratio[2] < 1 else UNDECIDED
            kept = [
                row[name] for name in ("workload", "optimizer", "target", "reached", "runs", "median", "low", "high")
            ]
            known = fair and row["optimizer"] != optimizer and not any(map(math.isnan, ratio))
            verdict = said if known else ""
            rows.append((*kept, optimizer, *ratio, verdict, fair, busy, cores))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _busiest(runs: pd.DataFrame) -> tuple[float, float]:
    """Return the most cores that other programs kept busy during a run, and of how many; NaN: not known of each."""
    if not len(runs) or runs["other_cores"].isna().any():
        return math.nan, math.nan
    at = runs["other_cores"].to_numpy(np.float64).argmax()
    return float(runs["other_cores"].iloc[at]), float(runs["cores"].iloc[at])


def _ratio(pairs: pd.DataFrame, one: str, other: str) -> tuple[float, float, float]:
    """Return the ratio of restricted means of ``one`` to ``other``, with its interval."""
    columns = ["restricted_ratio", "restricted_low", "restricted_high"]
    straight = pairs[(pairs["a"] == one) & (pairs["b"] == other)]
    if len(straight):
        value, low, high = (float(number) for number in straight[columns].iloc[0])
        return value, low, high
    turned = pairs[(pairs["a"] == other) & (pairs["b"] == one)]
    if not len(turned):
        return math.nan, math.nan, math.nan
    value, low, high = (1 / number if number else math.inf for number in map(float, turned[columns].iloc[0]))
    return value, high, low


def sentences(table: pd.DataFrame, contests: Sequence[WorkloadRuns], optimizer: str) -> list[str]:
    """Return who is faster to the targets, on which workloads that can be told, and how quiet the machine was.

    Args:
        table: Of `seconds_to_target`.
        contests: Of the campaign.
        optimizer: Whose view it is.
    """
    compared = table[table["comparable"].astype(bool)]
    searched = compared["workload"].isin([contest.workload for contest in contests if repeated(contest)])
    said = [*_faster(compared[searched], optimizer), *_faster(compared[~searched], optimizer, once=True)]
    for units, those in (("searches", searched), ("runs", ~searched)):
        missed = compared[those & (compared["median"] == math.inf)].groupby("optimizer", sort=False)["workload"]
        if never := [f"{name} on {listing(list(workloads))}" for name, workloads in missed]:
            said.append(f"Fewer than half of the {units} reach the target: {'; '.join(never)}.")
    if len(compared):
        names, known = list(dict.fromkeys(compared["workload"])), compared[compared["other_cores"].notna()]
        said.append(f"Every run on {listing(names)} was alone on its device.")
        if len(known):
            for cores, those_on in known.groupby("cores", sort=False):
                most = number(round(float(those_on["other_cores"].max()), 2))
                where = listing(list(dict.fromkeys(those_on["workload"])))
                said.append(f"Other programs kept at most {most} of {cores:g} cores busy during those on {where}.")
        if hidden := [name for name in names if name not in set(known["workload"])]:
            said.append(f"How busy other programs were during those on {listing(hidden)} is not stored.")
    lost = [f"{workload} ({why})" for workload, why in untimed(contests)]
    if lost:
        said.append(f"Seconds cannot be told on {listing(lost)}.")
    aimless = [c.workload for c in contests if c.confirmed() and c.workload not in set(table["workload"])]
    if aimless:
        said.append(f"Without a target, so that times cannot be told: {listing(aimless)}.")
    return said or ["Cannot be told: no winner was confirmed, and trials of a search share the machine."]


def _faster(compared: pd.DataFrame, optimizer: str, *, once: bool = False) -> list[str]:
    """Return whom the optimizer is faster and slower than; ``once``: too few searches tell of configurations alone."""
    parts, even, untold = [], [], []
    for rival in dict.fromkeys(compared.loc[compared["optimizer"] != optimizer, "optimizer"]):
        rows_of = compared[compared["optimizer"] == rival]
        unknown = rows_of.loc[rows_of["verdict"] == "", "workload"]
        untold += [f"{rival} ({listing(list(unknown))})"] if len(unknown) else []
        own = rows_of[rows_of["verdict"] != ""].to_dict("records")
        if not own:
            continue
        # the table is of the rival's speed: where it is slower, the optimizer is faster
        decided = [
            f"{word} than {'that of ' if once else ''}{rival} on {len(rows)} of {number_of(len(own), 'workload')} "
            f"({', '.join(_times(row, word) for row in rows)})"
            for word, theirs in ((FASTER, SLOWER), (SLOWER, FASTER))
            if (rows := [row for row in own if row["verdict"] == theirs])
        ]
        parts += [" and ".join(decided)] if decided else []
        even += [] if decided else [f"{rival} ({number_of(len(own), 'workload')})"]
    parts += [f"not told apart from {'those of ' if once else ''}{listing(even)}"] if even else []
    said = []
    if parts:
        subject = f"the configuration found for {optimizer}" if once else optimizer
        end = f"; of the optimizers that tells nothing, for which it takes {ENOUGH} searches of each" if once else ""
        said.append(f"In seconds to the target, {subject} is {'; '.join(parts)}{end}.")
    if untold:
        said.append(
            f"Whether {optimizer} is faster than {listing(untold)} cannot be told: no interval of the ratio is known."
        )
    return said


def _times(row: Mapping[Any, Any], word: str) -> str:
    """Return on which workload, and how many times faster, or slower, one optimizer is than that of the row."""
    value, low, high = (float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    if word == FASTER:
        value, low, high = 1 / value, 1 / high, 1 / low if low else math.inf
    return f"{row['workload']} {times(value, low, high)} times"
