"""Findings in words: numbers with their intervals, no more digits than they deserve."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.metric_scale import Scale, factor
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.dependence import Coordinates
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.importance import MINIMUM_R2, Importance
from analysis.text import estimate, listing, number, percent, short
from search_spaces.errors import number_of

_ON_TUNING = ("Tuning gains", "No gain of tuning", "What tuning gains", "The best trial is the default")
REGIONS = {"all": "over the whole space", "good": "among good configurations (the best quarter)"}


SPREAD = 'random or quasi-random ones would cover the space (in a campaign: purpose = "sensitivity")'


def importance(names: Sequence[str], shares: Importance, r2: float, enough: bool, region: str, even: bool) -> list[str]:
    """Return what explains the variance in one region, and what does not stand out from noise.

    Args:
        names: Of the parameters.
        shares: Theirs.
        r2: Out of bag, over the space.
        enough: Whether that suffices.
        region: ``"all"`` or ``"good"``.
        even: Whether the trials cover the space as independent draws do.
    """
    where = REGIONS[region]
    gaps = "" if even else f"; the trials lie mostly where the sampler looked: {SPREAD}"
    if not enough:
        reason = f"the surrogate explains too little of it (out-of-bag R² {r2:.2f}, at least {MINIMUM_R2} is needed)"
        return [f"No conclusion can be drawn on importance {where}: {reason}{gaps}."]
    out = shares.stands_out
    above = [j for j in np.argsort(-shares.total[0], kind="stable") if out[j]]
    rest = [name for j, name in enumerate(names) if not out[j]]
    if not above:
        reason = f"no parameter stands out from one without effect (out-of-bag R² {r2:.2f})"
        return [f"No conclusion can be drawn on importance {where}: {reason}{gaps}."]
    parts = [
        f"{names[j]} {percent(*shares.first[:, j])} (with interactions {percent(*shares.total[:, j])})" for j in above
    ]
    said = [f"Share of the explained variance {where}: {', '.join(parts)}; out-of-bag R² {r2:.2f}."]
    if rest:
        said.append(_not_out(rest, even, f" {where}"))
    return said


def _not_out(names: Sequence[str], even: bool, where: str) -> str:
    verb = "does" if len(names) == 1 else "do"
    said = f"{', '.join(names)} {verb} not stand out from a parameter without effect"
    return f"{said}{where}." if even else f"{said} where the sampler looked; elsewhere it may: {SPREAD}."


def single(name: str, r2: float, conclusive: bool) -> str:
    """Return for a study of one parameter."""
    if not conclusive:
        return f"No conclusion can be drawn: {name}, the only parameter, explains too little (out-of-bag R² {r2:.2f})."
    return f"{name} is the only parameter, so there are no shares to tell apart (out-of-bag R² {r2:.2f})."


def choice(names: Sequence[str], one: Importance, two: Importance, r2: float, method: str, other: str) -> str:
    """Return how much it matters how stopped trials are valued."""
    if not r2 >= MINIMUM_R2:
        return f"Valued by {other} instead of {method}, the surrogate explains too little to compare (R² {r2:.2f})."
    shift = two.total[0] - one.total[0]
    most = int(np.abs(shift).argmax())
    return (
        f"Valued by {other} instead of {method}, no total-order share moves by more than {100 * abs(shift[most]):.0f} "
        f"points ({names[most]}, from {100 * one.total[0, most]:.0f} to {100 * two.total[0, most]:.0f} %)."
    )


def coordinates(found: Coordinates) -> str:
    """Return what SOFIM's two effective coordinates explain."""
    return (
        f"lr and rho together explain {percent(*found.of_all)} of the explained variance; of that joint effect, lr/rho "
        f"alone explains {percent(*found.ratio)}, √rho alone {percent(*found.knee)}, and a sum of effects of the two "
        f"{percent(*found.both)} (of lr and rho themselves: {percent(*found.original)})."
    )


def divergence(shares: tuple[float, float], causes: Sequence[str], mapped: bool) -> str:
    """Return how much diverges, or does not work for another cause."""
    space = f", predicted {100 * shares[1]:.0f} % of the space" if mapped else ", too few to say where"
    did = {
        "diverged": "diverged",
        "infeasible": "are infeasible",
        "infinite": "are infinitely bad",
        "penalty": "have a penalty",
    }
    return f"{100 * shares[0]:.0f} % of the trials {' or '.join(did[cause] for cause in causes)}{space}."


def robust(findings: Findings, table: pd.DataFrame, meaning: str) -> list[str]:
    """Return how wide the good region is, at 5 % or else at the next loss that the surrogate resolves."""
    percentage, rows = widths(table)
    stretches = _stretches(rows, findings.parameters)
    limit = _limit(findings, rows.to_dict("records")[0])
    said = [f"Moved alone from the best configuration, within {percentage:g} % ({meaning}: {limit}): {stretches}."]
    if findings.near_best is not None:
        share = percent(*findings.near_best)
        said.append(f"{share} of the searched space is predicted within 5 % of the best configuration.")
    return said


def _limit(findings: Findings, row: Mapping[Hashable, Any]) -> str:
    """Return the value of the metric at which the loss is reached."""
    least = findings.used is None or findings.used.sign > 0
    return f"{findings.metric} at {'least' if least else 'most'} {number(float(row['threshold']))}"


def widths(table: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    """Return the loss of which the widths are told, and its rows; ``table`` has some that are resolved."""
    told = table[table["resolved"].astype(bool) & (table["loss_percent"] >= 5.0)]
    percentage = float(told["loss_percent"].min())
    return percentage, told[told["loss_percent"] == percentage]


def ridge(table: pd.DataFrame, rho: ParameterInfo) -> str:
    """Return how far ρ may move when η moves with it."""
    percentage, rows = widths(table)
    row = rows.iloc[0]
    return (
        f"Moved together with lr, so that lr/rho stays, rho may lie {_between(row, rho)}, {row['width']:.1f} decades, "
        f"within {percentage:g} %."
    )


def unresolved(error: float, percentage: float, unit: float, meaning: str, scale: Scale) -> str:
    """Return why no width is told; ``error`` and ``unit`` are in goodness."""
    loss = percentage / 100 * unit
    if math.isinf(error):
        return f"What lies within {percentage:g} % of the best cannot be told: too few trials lie near the best."
    if scale == "log":
        told, errs = f"a factor of {short(factor(loss))}", f"a factor of {short(factor(error))}"
    else:
        told, errs = short(loss), short(error)
    return (
        f"What lies within {percentage:g} % of the best cannot be told: that is a loss of {told} ({meaning}), and near "
        f"the best the surrogate errs by {errs}."
    )


def _between(row: Any, parameter: ParameterInfo) -> str:
    low, high = (scales.written(parameter, row[end]) for end in ("low", "high"))
    return f"between {low} and {high}"


def _stretches(rows: pd.DataFrame, parameters: Mapping[str, ParameterInfo]) -> str:
    parts = []
    for row in rows.to_dict("records"):
        if row["unit"] == "share of choices":
            parts.append(f"{row['parameter']} for {100 * row['share_of_range']:.0f} % of its choices")
            continue
        wide = f", {row['width']:.1f} decades" if row["unit"] == "decades" else ""
        whole = " (its whole range)" if row["share_of_range"] >= 1 - 1e-9 else ""
        parts.append(f"{row['parameter']} {_between(row, parameters[row['parameter']])}{wide}{whole}")
    return "; ".join(parts)


def tunable(findings: Findings, path: pd.DataFrame, gain: tuple[float, float, float], scale: Scale) -> str:
    """Return what tuning gained over the default, where that was run.

    Args:
        findings: Of the study.
        path: Table of the path from the default to the best configuration.
        gain: Measured, with its interval; NaN where it was not.
        scale: Of the metric: on a logarithmic one the gain is a factor.
    """
    if len(path) < 2:
        if findings.nothing_better:
            return "The best trial is the default itself: the search found nothing better."
        return (
            "What tuning gains over the default cannot be told: of what is not left out here the default is the best, "
            "and of all trials it is not."
        )
    value, low, high = gain
    first, last = path.iloc[0], path.iloc[-1]
    if first["runs"] and first["diverged"] == first["runs"] and last["runs"] and not last["diverged"]:
        return "Tuning gains more than a number can tell: every run of the default broke, and none of the winner."
    if broke := _broke(first, last):
        over = "" if math.isnan(value) else f" Over the runs that came through it is {estimate(*gain)}."
        return f"What tuning gains over the default cannot be told: {broke}.{over}"
    if math.isnan(value):
        command = f"; to run it: {findings.ablation_command}" if findings.ablation_command else ""
        return f"What tuning gains over the default was not run{command}."
    told, nothing = estimate(*gain), 1.0 if scale == "log" else 0.0
    if not low > nothing:
        worse = " (the default is better)" if high < nothing else ""
        return f"No gain of tuning over the default could be shown ({told}, measured){worse}."
    if scale == "log":
        return f"Tuning gains a factor of {told} in {findings.metric} over the default, measured."
    return f"Tuning gains {told} in {findings.metric} over the default, measured."


def _broke(default: pd.Series, winner: pd.Series) -> str:
    """Return how many runs of the default and of the winner broke, where both were run and one did; else nothing."""
    if not default["runs"] or not winner["runs"] or not default["diverged"] + winner["diverged"]:
        return ""
    lost = [
        f"{row['diverged']} of {number_of(int(row['runs']), 'run')} of the {name}"
        for name, row in (("default", default), ("winner", winner))
    ]
    return f"{listing(lost)} broke"


def headline(findings: Findings) -> list[str]:
    """Return the few sentences on top of a report: one for each parameter that matters, and what does not."""
    if not findings.conclusive or not len(findings.importance):
        kept = [text for text in findings.sentences[1:] if text.startswith(("Moved alone", *_ON_TUNING))]
        return [*findings.sentences[:1], *kept, *(text for text in findings.remarks if text != findings.sentences[0])]
    everything = findings.importance[findings.importance["region"] == "all"]
    near: dict[object, Mapping[Hashable, Any]] = {}
    percentage = 0.0
    if len(findings.robustness) and findings.robustness["resolved"].astype(bool).any():
        percentage, rows = widths(findings.robustness)
        near = {row["parameter"]: row for row in rows.to_dict("records")}
    said, rest = [], []
    for row in everything.sort_values("total_order", ascending=False, kind="stable").to_dict("records"):
        if not row["stands_out"]:
            rest.append(str(row["parameter"]))
            continue
        first, total = (
            percent(row[order], row[f"{order}_low"], row[f"{order}_high"]) for order in ("first_order", "total_order")
        )
        width = near.get(row["parameter"])
        said.append(
            f"{row['parameter']} explains {first} of the explained variance, {total} with interactions"
            f"{'' if width is None else _anywhere(findings, width, percentage)}."
        )
    if rest:
        said.append(_not_out(rest, findings.even, ""))
    said.extend(text for text in findings.sentences if text.startswith(_ON_TUNING))
    return [*said, *findings.remarks]


def _anywhere(findings: Findings, row: Mapping[Hashable, Any], percentage: float) -> str:
    near = f"within {percentage:g} % of the best ({_limit(findings, row)})"
    if row["unit"] == "share of choices":
        return f"; {100 * row['share_of_range']:.0f} % of its choices are {near}"
    return f"; {near} anywhere {_between(row, findings.parameters[row['parameter']])}"
