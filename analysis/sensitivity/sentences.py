"""Findings in words: numbers with their intervals, no more digits than they deserve."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.dependence import Coordinates
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.importance import MINIMUM_R2, Importance
from analysis.text import percent, short

REGIONS = {"all": "over the whole space", "good": "among good configurations (the best quarter)"}


def importance(names: Sequence[str], shares: Importance, r2: float, conclusive: bool, region: str) -> list[str]:
    """Return what explains the variance in one region, and what does not stand out from noise."""
    where = REGIONS[region]
    if not conclusive:
        reason = f"the surrogate explains too little (out-of-bag R² {r2:.2f}, at least {MINIMUM_R2} is needed)"
        return [f"No conclusion can be drawn on importance {where}: {reason}."]
    above = [j for j in np.argsort(-shares.total[0], kind="stable") if shares.total[1, j] > shares.noise_total]
    rest = [name for j, name in enumerate(names) if j not in above]
    said = []
    if above:
        parts = [
            f"{names[j]} {percent(*shares.first[:, j])} (with interactions {percent(*shares.total[:, j])})"
            for j in above
        ]
        said.append(f"Share of the explained variance {where}: {', '.join(parts)}; out-of-bag R² {r2:.2f}.")
    if rest:
        verb = "does" if len(rest) == 1 else "do"
        said.append(f"{', '.join(rest)} {verb} not stand out from a parameter without effect {where}.")
    return said


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


def robust(
    table: pd.DataFrame,
    near_best: tuple[float, float, float] | None,
    meaning: str,
    parameters: Mapping[str, ParameterInfo],
) -> list[str]:
    """Return how wide the good region is, at 5 % or else at the next loss that the surrogate resolves."""
    percentage, rows = widths(table)
    stretches = _stretches(rows, parameters)
    said = [f"Moved alone from the best configuration, within {percentage:g} % ({meaning}): {stretches}."]
    if near_best is not None:
        said.append(f"{percent(*near_best)} of the searched space is predicted within 5 % of the best configuration.")
    return said


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


def unresolved(error: float, percentage: float, unit: float, meaning: str) -> str:
    """Return why no width is told."""
    return (
        f"What lies within {percentage:g} % of the best cannot be told: that is a loss of "
        f"{short(percentage / 100 * unit)} ({meaning}), and near the best the surrogate errs by {short(error)}."
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


def tunable(table: pd.DataFrame) -> str:
    """Return what tuning gains over the default."""
    together = table.iloc[0]
    gain, low, high = (short(float(together[name])) for name in ("gain", "gain_low", "gain_high"))
    if not together["gain_low"] > 0:
        return f"No gain of tuning over the default could be shown ({gain} [{low}, {high}])."
    alone = table.iloc[1:].sort_values("gain", ascending=False, kind="stable").iloc[0]
    most = f"{alone['parameter']} gains most ({short(float(alone['gain']))})"
    return f"Tuning gains {gain} [{low}, {high}] over the default; tuned alone, {most}."


def headline(findings: Findings) -> list[str]:
    """Return the few sentences on top of a report: one for each parameter that matters, and what does not."""
    if not findings.conclusive or not len(findings.importance):
        return [*findings.sentences[:1], *(text for text in findings.remarks if text != findings.sentences[0])]
    everything = findings.importance[findings.importance["region"] == "all"]
    quality = findings.tables["quality"]
    noise = float(quality[quality["region"] == "all"]["noise_total_order"].iloc[0])
    near: dict[object, Mapping[Hashable, Any]] = {}
    percentage = 0.0
    if len(findings.robustness) and findings.robustness["resolved"].astype(bool).any():
        percentage, rows = widths(findings.robustness)
        near = {row["parameter"]: row for row in rows.to_dict("records")}
    said, rest = [], []
    for row in everything.sort_values("total_order", ascending=False, kind="stable").to_dict("records"):
        if not row["total_order_low"] > noise:
            rest.append(str(row["parameter"]))
            continue
        first, total = (
            percent(row[order], row[f"{order}_low"], row[f"{order}_high"]) for order in ("first_order", "total_order")
        )
        width = near.get(row["parameter"])
        said.append(
            f"{row['parameter']} explains {first} of the explained variance, {total} with interactions"
            f"{'' if width is None else _anywhere(width, percentage, findings.parameters[row['parameter']])}."
        )
    if rest:
        verb = "does" if len(rest) == 1 else "do"
        said.append(f"{', '.join(rest)} {verb} not stand out from a parameter without effect.")
    said.extend(text for text in findings.sentences if text.startswith(("Tuning gains", "No gain of tuning")))
    return [*said, *findings.remarks]


def _anywhere(row: Mapping[Hashable, Any], percentage: float, parameter: ParameterInfo) -> str:
    if row["unit"] == "share of choices":
        return f"; {100 * row['share_of_range']:.0f} % of its choices are within {percentage:g} % of the best"
    return f"; within {percentage:g} % of the best anywhere {_between(row, parameter)}"
