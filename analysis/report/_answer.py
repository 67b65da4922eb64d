"""The first screen of the page: which optimizer, with which hyperparameters, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.comparison import Comparison
from analysis.comparison.answer import keyword_arguments, searches_and_runs
from analysis.figures._looks import look_of
from analysis.figures.comparison import View
from analysis.metric_scale import Scale
from analysis.study import Study
from analysis.text import about, cell, command, estimate

DIGITS = 4  # of a hyperparameter that is shown; what is copied has all
_TOLD_IN_THE_ANSWER = "optimizers compared over repeated searches"  # a rule that most campaigns break
_DEFAULT = "sqlite:///sofim.db"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the first table: texts as they are read, ``copied`` as it is copied; ``id`` of its chapter."""

    rank: str
    optimizer: str
    id: str
    chip: Markup
    value: str
    tied: str
    shown: str
    copied: str
    cost: str
    rests: str


def lines(compared: Comparison, workload: str, names: Mapping[str, str]) -> list[Line]:
    """Return the rows of one workload.

    Args:
        compared: The campaign.
        workload: Of it.
        names: Of the chapters, by study.
    """
    contest = next(one for one in compared.contests if one.workload == workload)
    studies = {study.name: study for study in contest.studies}
    params = compared.tables["leaderboard"].set_index("study")["params"]
    table = compared.tables["answer"]
    scale = View(contest, compared).scale
    return [
        _line(row, studies[row["study"]], params[row["study"]], names, scale)
        for row in table[table["workload"] == workload].to_dict("records")
    ]


def _value(row: Mapping[Any, Any], scale: Scale) -> str:
    """Return the number that decides with its interval; on a logarithmic scale each with digits of its own."""
    value, low, high = row["value"], row["low"], row["high"]
    if math.isnan(value):
        return "–"
    if scale == "log" and not math.isnan(low):
        return f"{value:.3g} [{low:.3g}, {high:.3g}]"
    return estimate(value, low, high)


def _line(
    row: Mapping[Any, Any], study: Study, params: Mapping[str, object], names: Mapping[str, str], scale: Scale
) -> Line:
    return Line(
        rank="–" if pd.isna(row["rank"]) else str(row["rank"]),
        optimizer=study.optimizer,
        id=names[study.name],
        chip=look_of(study).chip,
        value=_value(row, scale),
        tied="–" if pd.isna(row["tied"]) else "yes" if row["tied"] else "no",
        shown=keyword_arguments(study, params, DIGITS),
        copied=row["hyperparameters"],
        cost=_cost(row),
        rests=searches_and_runs(row),
    )


def _cost(row: Mapping[Any, Any]) -> str:
    """Return what a run costs, as far as it is known."""
    told = [f"{row['epochs']:g} epochs"] if row["epochs"] == row["epochs"] else []
    if row["gradient_evaluations"] == row["gradient_evaluations"]:
        told.append(f"{cell(float(round(row['gradient_evaluations'])))} evaluations")
    told += [about(row["seconds"])] if row["seconds"] == row["seconds"] else []
    return " · ".join(told) or "–"


def export_command(campaign: str, source: str) -> str:
    """Return what to type for the recommended hyperparameters, as code or a file."""
    return command("export", campaign, *([] if source == _DEFAULT else ["--storage", source]))


def rules_once(table: pd.DataFrame) -> pd.DataFrame:
    """Return the fairness table with each rule once, what is said alike of all workloads once.

    Args:
        table: Columns ``rule``, ``requirement``, ``workload``, ``kept``, ``evidence``; a row a rule and workload.

    Returns:
        Columns ``rule``, ``requirement``, ``kept`` (where workloads differ, each answer with its workloads),
        ``evidence``.
    """
    rows = []
    for (rule, requirement), own in table.groupby(["rule", "requirement"], sort=False):
        parts = {row["workload"]: str(row["evidence"]).split("; ") for row in own.to_dict("records")}
        first = next(iter(parts.values()))
        shared = [part for part in first if all(part in others for others in parts.values())]
        told = {workload: [part for part in listed if part not in shared] for workload, listed in parts.items()}
        own_parts = [f"on {workload}: {', '.join(listed)}" for workload, listed in told.items() if listed]
        rows.append((rule, requirement, _kept(own), "; ".join([*own_parts, *shared])))
    return pd.DataFrame(rows, columns=["rule", "requirement", "kept", "evidence"])


def _kept(own: pd.DataFrame) -> str:
    """Return whether a rule was kept; what is worst comes first."""
    if len(set(own["kept"])) == 1:
        return str(own["kept"].iloc[0])
    order = [word for word in ("no", "unknown", "yes") if (own["kept"] == word).any()]
    return "; ".join(f"{word} on {', '.join(own.loc[own['kept'] == word, 'workload'])}" for word in order)


def broken_rules(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each rule that was not kept, workloads of which the same is said together."""
    broken = table[(table["kept"] == "no") & (table["requirement"] != _TOLD_IN_THE_ANSWER)]
    return [
        f"Rule {rule} ({requirement}) was not kept on {', '.join(own['workload'])}: {problems}."
        for (rule, requirement, problems), own in broken.groupby(["rule", "requirement", "problems"], sort=False)
    ]


def without_rules(sentences: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the sentences of the verdict but for those on broken rules, which `broken_rules` tells."""
    known: Collection[str] = {f"Rule {rule} was not kept" for rule in table.loc[table["kept"] == "no", "rule"]}
    return [sentence for sentence in sentences if not sentence.startswith(tuple(known))]
