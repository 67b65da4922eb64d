"""How much each optimizer's learning rate, ρ, momentum and batch size matter, workload by workload, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.atlas.coordinates import tolerance, why_unresolved
from analysis.defaults.surrogates import SurrogateStudy
from analysis.parameters import ParameterInfo
from analysis.sensitivity.importance import MINIMUM_R2, error_limit, importance, score_of_space
from analysis.sensitivity.robustness import robustness
from analysis.text import because, listing, percent, short
from search_spaces.errors import number_of

COLUMNS = (
    "role", "optimizer", "workload", "kind", "parameter", "conclusive", "total_order", "total_order_low",
    "total_order_high", "stands_out", "loss_percent", "unit", "width", "width_low", "width_high", "trials", "why_not",
    "why_inconclusive",
)  # fmt: skip
VERSUS = (
    "role", "optimizer", "baseline", "workloads", "compared", "wider", "narrower", "untold", "wider_on", "narrower_on",
)  # fmt: skip
ROLES = {
    "η": ("lr", "effective_lr"),
    "ρ": ("rho", "knee"),
    "β": ("beta", "momentum", "beta1"),
    "batch size": ("batch_size",),
}
"""What parameters are called that mean the same in different optimizers: learning rate, damping, momentum, batch.

Of an optimizer that has several of a role (momentum and beta1 of muon) the first of them is taken.
"""
_FEW = "it has a single value, or too few trials have it"
_LITTLE = "the surrogate explains too little"


def sensitivities(surrogates: Sequence[SurrogateStudy]) -> pd.DataFrame:
    """Return importances and near-optimal widths of the parameters that optimizers share.

    Returns:
        A row a role, optimizer and workload that searched the parameter: ``total_order`` (share of the explained
        variance with all interactions, 90 %), ``stands_out`` (from a parameter without effect; as `conclusive`, whether
        the surrogate explains enough; else ``why_inconclusive``), ``width`` (how far it may move alone from the best
        trial before a loss of ``loss_percent``, in ``unit``, which names the range that it is a share of; with 90 %),
        NaN where the surrogate does not tell, and then ``why_not``.
    """
    rows = []
    for surrogate in surrogates:
        names, study = [parameter.name for parameter in surrogate.parameters], surrogate.study
        goodness = surrogate.used.goodness
        shares = importance(surrogate.fitted, goodness, surrogate.used.imputed) if surrogate.trusted else None
        conclusive = surrogate.trusted and score_of_space(surrogate.fitted, goodness) >= MINIMUM_R2
        limit = tolerance(surrogate.fitted, surrogate.used) if surrogate.trusted else math.nan
        near = None
        if not math.isnan(limit) and surrogate.used.best is not None:
            best = surrogate.points[surrogate.used.best]
            unit, error = surrogate.used.loss_unit[0], error_limit(surrogate.fitted, goodness)
            table = robustness(surrogate.fitted, surrogate.parameters, best, unit, error, surrogate.used.metric)
            near = table[table["loss_percent"] == limit].set_index("parameter")
        for role, known in ROLES.items():
            name = next((one for one in known if one in study.parameters), None)
            if name is None:
                continue
            place = names.index(name) if name in names else None
            lost = surrogate.reason or ("" if place is not None else _FEW)
            total, out = [math.nan] * 3, False
            if shares is not None and place is not None:
                total = [float(one) for one in shares.total[:, place]]
                out = bool(conclusive and shares.stands_out[place])
            width: list[object] = ["", *[math.nan] * 3]
            if near is not None and name in near.index:
                row = near.loc[name]
                width = [_unit(str(row["unit"]), study.parameters[name]), *row[["width", "width_low", "width_high"]]]
            told = bool(conclusive and not lost)
            rows.append(
                (role, study.optimizer, study.workload, study.kind, name, told, *total, out, limit, *width,
                 len(surrogate.used.trials), lost or why_unresolved(surrogate.fitted, surrogate.used),
                 "" if told else lost or _LITTLE)
            )  # fmt: skip
    order = {role: place for place, role in enumerate(ROLES)}
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values("role", key=lambda roles: roles.map(order), kind="stable", ignore_index=True)


def _unit(unit: str, parameter: ParameterInfo) -> str:
    """Return a unit of widths that two parameters share only where their widths compare."""
    if unit == "share of range":
        return f"share of {short(parameter.low)} to {short(parameter.high)}"
    if parameter.kind == "categorical":
        return f"share of {', '.join(map(str, parameter.choices or ()))}"
    if parameter.one_minus:
        return f"{unit} of 1 − value"
    return f"{unit} of √ρ" if parameter.name == "knee" else unit


def versus(table: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    """Return on how many workloads one optimizer's near-optimal widths are wider and narrower than each other's.

    Widths compare where they are of one loss and in one unit, and differ where their 90 % intervals do not overlap;
    there is no correction for the number of comparisons.

    Args:
        table: Of `sensitivities`.
        optimizer: Whose view it is.

    Returns:
        A row a role and baseline that has it: ``workloads`` (that both searched it on), ``compared`` (of them, where
        widths compare), ``wider``, ``narrower``, ``untold`` (of the workloads), and the names of the first two.
    """
    rows, same = [], ["unit", "loss_percent"]
    for role, own in table.groupby("role", sort=False):
        mine = own[own["optimizer"] == optimizer].set_index("workload")
        for baseline in dict.fromkeys(own.loc[own["optimizer"] != optimizer, "optimizer"]):
            theirs = own[own["optimizer"] == baseline].set_index("workload")
            both = [workload for workload in mine.index if workload in theirs.index]
            both_told = [w for w in both if pd.notna(mine.loc[w, "width"]) and pd.notna(theirs.loc[w, "width"])]
            alike = [w for w in both_told if (mine.loc[w, same] == theirs.loc[w, same]).all()]
            wider = tuple(w for w in alike if mine.loc[w, "width_low"] > theirs.loc[w, "width_high"])
            narrower = tuple(w for w in alike if mine.loc[w, "width_high"] < theirs.loc[w, "width_low"])
            if both:
                rest = len(both) - len(wider) - len(narrower)
                counts = (len(both), len(alike), len(wider), len(narrower), rest)
                rows.append((role, optimizer, baseline, *counts, wider, narrower))
    return pd.DataFrame(rows, columns=list(VERSUS))


def sentences(table: pd.DataFrame, against: pd.DataFrame, optimizer: str) -> list[str]:
    """Return what matters to one optimizer, and beside the others how widely it may be set.

    Args:
        table: Of `sensitivities`.
        against: Of `versus`.
        optimizer: Whose view it is.
    """
    said = []
    mine = table[table["optimizer"] == optimizer]
    if not len(mine):
        return [f"Cannot be told: {optimizer} searched none of {listing(list(ROLES))}."]
    lost: dict[str, list[str]] = {}  # roles by where nothing can be told of them, and why
    for role, rows in mine.groupby("role", sort=False):
        conclusive = rows["conclusive"].astype(bool)
        known, out = rows[conclusive], rows[conclusive & rows["stands_out"]]
        parts = [
            f"{row['workload']} {percent(row['total_order'], row['total_order_low'], row['total_order_high'])}"
            for row in out.to_dict("records")
        ]
        where = f" ({', '.join(parts)} of the explained variance, with interactions)" if parts else ""
        if len(known):
            stands = f"{role} of {optimizer} stands out from a parameter without effect on {len(out)}"
            said.append(f"{stands} of {number_of(len(known), 'workload')}{where}.")
        if not conclusive.all():
            why = because(rows.loc[~conclusive, "workload"], rows.loc[~conclusive, "why_inconclusive"])
            lost.setdefault(why, []).append(str(role))
    for why, roles in lost.items():
        verb = "matters" if len(roles) == 1 else "matter"
        said.append(f"How much {listing(roles)} {verb} to {optimizer} cannot be told on {why}.")
    untold = []
    for role, rows in against.groupby("role", sort=False):
        decided = rows[rows["wider"] + rows["narrower"] > 0].to_dict("records")
        parts = [
            f"{word} than {row['baseline']}'s on {row[word]} of {number_of(row['workloads'], 'workload')} "
            f"({listing(list(row[f'{word}_on']))})"
            for row in decided
            for word in ("wider", "narrower")
            if row[word]
        ]
        if not parts:
            untold.append(str(role))
            continue
        said.append(f"Moved alone, {role} of {optimizer} has a near-optimal stretch {'; '.join(parts)}.")
    if len(against) and (against["wider"] + against["narrower"]).any():
        said.append(
            "Such stretches end where the search ended, and are told apart where their 90 % intervals do not meet, "
            f"each of {number_of(int(against['compared'].sum()), 'comparison')} by itself: some may be chance."
        )
    if untold:
        said.append(
            f"Whether {listing(untold)} of {optimizer} may be set more or less widely than the others' cannot be told."
        )
    return said
