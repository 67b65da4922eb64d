"""How much each optimizer's learning rate, ρ, momentum and batch size matter, workload by workload, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.atlas.coordinates import tolerance, why_unresolved
from analysis.defaults.surrogates import SurrogateStudy
from analysis.sensitivity.importance import MINIMUM_R2, error_limit, importance, score_of_space
from analysis.sensitivity.robustness import robustness
from analysis.text import listing, percent
from search_spaces.errors import number_of

COLUMNS = (
    "role", "optimizer", "workload", "kind", "parameter", "conclusive", "total_order", "total_order_low",
    "total_order_high", "stands_out", "loss_percent", "unit", "width", "width_low", "width_high", "trials", "why_not",
)  # fmt: skip
VERSUS = ("role", "optimizer", "baseline", "workloads", "wider", "narrower", "untold", "wider_on", "narrower_on")
ROLES = {
    "η": ("lr", "effective_lr"),
    "ρ": ("rho", "knee"),
    "β": ("beta", "momentum", "beta1"),
    "batch size": ("batch_size",),
}
"""What parameters are called that mean the same in different optimizers: learning rate, damping, momentum, batch."""


def sensitivities(surrogates: Sequence[SurrogateStudy]) -> pd.DataFrame:
    """Return importances and near-optimal widths of the parameters that optimizers share.

    Returns:
        A row a role, optimizer and workload that has the parameter: ``total_order`` (share of the explained variance
        with all interactions, 90 %), ``stands_out`` (from a parameter without effect; as `conclusive`, whether the
        surrogate explains enough), ``width`` (how far it may move alone from the best trial before a loss of
        ``loss_percent``, in ``unit``; with 90 %), NaN where the surrogate does not tell, and then ``why_not``.
    """
    rows = []
    for surrogate in surrogates:
        names = [parameter.name for parameter in surrogate.parameters]
        goodness = surrogate.used.goodness
        shares = importance(surrogate.fitted, goodness, surrogate.used.imputed) if surrogate.trusted else None
        conclusive = surrogate.trusted and score_of_space(surrogate.fitted, goodness) >= MINIMUM_R2
        limit = tolerance(surrogate.fitted, surrogate.used) if surrogate.trusted else math.nan
        why = surrogate.reason or why_unresolved(surrogate.fitted, surrogate.used)
        near = None
        if not math.isnan(limit) and surrogate.used.best is not None:
            best = surrogate.points[surrogate.used.best]
            unit, error = surrogate.used.loss_unit[0], error_limit(surrogate.fitted, goodness)
            table = robustness(surrogate.fitted, surrogate.parameters, best, unit, error, surrogate.used.metric)
            near = table[table["loss_percent"] == limit].set_index("parameter")
        for role, known in ROLES.items():
            for name in (name for name in names if name in known):
                place = names.index(name)
                total = [math.nan] * 3 if shares is None else [float(one) for one in shares.total[:, place]]
                out = bool(conclusive and shares is not None and shares.stands_out[place])
                told = near is not None and name in near.index
                width = (
                    near.loc[name, ["unit", "width", "width_low", "width_high"]] if near is not None and told else None
                )
                study = surrogate.study
                rows.append(
                    (role, study.optimizer, study.workload, study.kind, name, conclusive, *total, out, limit,
                     *(("", *[math.nan] * 3) if width is None else width), len(surrogate.used.trials),
                     why)
                )  # fmt: skip
    order = {role: place for place, role in enumerate(ROLES)}
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values("role", key=lambda roles: roles.map(order), kind="stable", ignore_index=True)


def versus(table: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    """Return on how many workloads one optimizer's near-optimal widths are wider and narrower than each other's.

    Widths differ where their 90 % intervals do not overlap.

    Args:
        table: Of `sensitivities`.
        optimizer: Whose view it is.

    Returns:
        A row a role and baseline that has it: ``workloads`` (that both searched it on), ``wider``, ``narrower``,
        ``untold``, and the names of the first two.
    """
    rows = []
    for role, own in table.groupby("role", sort=False):
        mine = own[own["optimizer"] == optimizer].set_index("workload")
        for baseline in dict.fromkeys(own.loc[own["optimizer"] != optimizer, "optimizer"]):
            theirs = own[own["optimizer"] == baseline].set_index("workload")
            both = [workload for workload in mine.index if workload in theirs.index]
            alike = [w for w in both if mine.loc[w, "unit"] == theirs.loc[w, "unit"]]
            wider = tuple(w for w in alike if mine.loc[w, "width_low"] > theirs.loc[w, "width_high"])
            narrower = tuple(w for w in alike if mine.loc[w, "width_high"] < theirs.loc[w, "width_low"])
            if both:
                rest = len(both) - len(wider) - len(narrower)
                rows.append((role, optimizer, baseline, len(both), len(wider), len(narrower), rest, wider, narrower))
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
    for role, rows in mine.groupby("role", sort=False):
        known = rows[rows["conclusive"].astype(bool)]
        if not len(known):
            said.append(f"How much {role} matters to {optimizer} cannot be told: no surrogate explains enough.")
            continue
        out = known[known["stands_out"]]
        parts = [
            f"{row['workload']} {percent(row['total_order'], row['total_order_low'], row['total_order_high'])}"
            for row in out.to_dict("records")
        ]
        lost = number_of(len(rows) - len(known), "other")
        more = f"; of {lost} nothing can be told" if len(known) < len(rows) else ""
        where = f" ({', '.join(parts)} of the explained variance, with interactions)" if parts else ""
        stands = f"{role} of {optimizer} stands out from a parameter without effect on {len(out)}"
        said.append(f"{stands} of {number_of(len(known), 'workload')}{where}{more}.")
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
    if untold:
        said.append(
            f"Whether {listing(untold)} of {optimizer} may be set more or less widely than the others' cannot be told."
        )
    return said
