"""The answer to the question of a campaign: which optimizer, with which hyperparameters, and how sure that is.

A row an optimizer and workload, all of it read off the other tables: the value that decides and its interval from the
leaderboard, who is tied from the comparisons, the cost from the confirmation runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.comparison.aggregate import behind_best, leaders
from analysis.comparison.pairwise import BETTER, NOT_SHOWN, between
from analysis.comparison.searches import ENOUGH, TRIALS
from analysis.comparison.time_to_target import comparable
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.study import Study
from analysis.text import listing
from search_spaces import BATCH_SIZE, stored_space
from search_spaces.errors import UserError, number_of

COLUMNS = (
    "workload", "rank", "optimizer", "study", "decides", "direction", "value", "low", "high", "tied", "basis",
    "hyperparameters", "epochs", "gradient_evaluations", "seconds", "trials", "searches", "runs", "broken",
)  # fmt: skip
OPTIMIZERS, CONFIGURATIONS = "optimizers", "configurations"
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def answer(
    contests: Sequence[WorkloadRuns],
    tables: Mapping[str, pd.DataFrame],
    replicates: Mapping[str, Sequence[pd.DataFrame]] | None = None,
) -> pd.DataFrame:
    """Return who is best on each workload, who is tied with it, and what it takes.

    Args:
        contests: Of a campaign.
        tables: Of the comparison; ``leaderboard`` and ``comparisons`` are read.
        replicates: By study, the trials of it and of its replicates: one frame a search. Where the leaderboard counts
            searches itself, they are not needed.

    Returns:
        One row a study, in the order of the leaderboard. Columns: ``workload``, ``rank`` (1 is best, ties share theirs;
        missing for a study without confirmation runs beside others that have some), ``optimizer``, ``study``,
        ``decides`` (the number that decides, in words; on a workload of which nothing is confirmed, the best of the
        search), ``direction``, ``value`` with ``low``, ``high`` (95 %, as far as the metric reaches; NaN where there is
        none), ``tied`` (whether it is not told worse than the first; missing where nothing is confirmed), ``basis``
        (``optimizers``, or ``configurations`` where the comparisons are about what one search has found: what ``tied``
        is about), ``hyperparameters`` (of the winner that `analysis.comparison.leaderboard.shown_search` is of, fixed
        ones included, as keyword arguments in Python), ``epochs``, ``gradient_evaluations``, ``seconds`` (of a complete
        confirmation run, means; seconds only where those of the workload compare), ``trials`` (of all searches, that
        ended), ``searches`` (that were confirmed), ``runs``, ``broken`` (of the runs: those that diverged, failed or
        gave no test value).
    """
    rows = [row for contest in contests for row in _rows(contest, tables, replicates or {})]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"rank": "Int64", "tied": "boolean"})


def decides(contest: WorkloadRuns) -> str:
    """Return the number that ranks the optimizers of a workload, in words."""
    return contest.label if contest.confirmed() else contest.tuned_label


def seconds_compare(contest: WorkloadRuns) -> bool:
    """Return whether seconds of all confirmation runs of a workload compare."""
    return bool(contest.confirmed()) and comparable(contest, contest.confirmed())


def _rows(
    contest: WorkloadRuns, tables: Mapping[str, pd.DataFrame], replicates: Mapping[str, Sequence[pd.DataFrame]]
) -> list[dict[str, Any]]:
    board = tables["leaderboard"]
    board = board[board["workload"] == contest.workload]
    confirmed = bool(contest.confirmed())
    column = ("test" if contest.data == "test" else "validation") if confirmed else "tuned"
    if not confirmed:
        board = board.sort_values(column, ascending=contest.direction == "minimize", kind="stable")
    searches = {study.name: max(1, len(replicates.get(study.name, ()))) for study in contest.studies}
    pairs = tables["comparisons"][tables["comparisons"]["workload"] == contest.workload]
    basis = _basis(pairs)
    if confirmed:
        board = _who_beats_most_first(board, contest, pairs)
    by_name = {study.name: study for study in contest.studies}
    timed = seconds_compare(contest)
    first = board.iloc[0] if len(board) else None
    rows = []
    for row in board.to_dict("records"):
        study = by_name[row["study"]]
        runs = contest.of(study)
        better = board[column] > row[column] if contest.direction == "maximize" else board[column] < row[column]
        bounds = study.bounds([row[column]])
        rows.append(
            {
                "workload": contest.workload,
                "rank": (row["rank"] if row["runs"] else None) if confirmed else _finite(row[column], 1 + better.sum()),
                "optimizer": study.optimizer,
                "study": study.name,
                "decides": decides(contest),
                "direction": contest.direction,
                "value": row[column],
                "low": max(row.get(f"{column}_low", math.nan), bounds[0]),
                "high": min(row.get(f"{column}_high", math.nan), bounds[1]),
                "tied": None if first is None else _tied(contest, pairs, first, row),
                "basis": basis if confirmed else "",
                "hyperparameters": keyword_arguments(study, row["params"]),
                **_costs(contest, study, timed=timed),
                "trials": row["trials"],
                "searches": (len(contest.by_search(study)) if "searches" in row else 0) or searches[study.name],
                "runs": row["runs"],
                "broken": int(runs["broken"].sum()),
            }
        )
    return rows


def _who_beats_most_first(board: pd.DataFrame, contest: WorkloadRuns, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with, of those that share the first rank, the one first that is told better than most others."""
    ranked_first = board[(board["rank"] == 1) & (board["runs"] > 0)]
    if len(ranked_first) < 2:
        return board
    beaten = [
        sum(_said(pairs, contest.workload, one, other) == BETTER for other in board["optimizer"])
        for one in ranked_first["optimizer"]
    ]
    first = ranked_first.index[int(np.argmax(beaten))]
    return board.loc[[first, *(at for at in board.index if at != first)]]


def _finite(value: float, rank: int) -> int | None:
    return None if math.isnan(value) else int(rank)


def _basis(pairs: pd.DataFrame) -> str:
    """Return what the comparisons of a workload are about: optimizers, or what one search has found of each."""
    if "configurations" not in pairs or not len(pairs) or (pairs["configurations"] != "").any():
        return CONFIGURATIONS
    return OPTIMIZERS


def _tied(contest: WorkloadRuns, pairs: pd.DataFrame, first: pd.Series, row: Mapping[Any, Any]) -> bool | None:
    """Return whether a row of the leaderboard is not told worse than the first; ``None`` without runs."""
    if not row["runs"] or not first["runs"]:
        return None
    if row["study"] == first["study"]:
        return True
    return _said(pairs, contest.workload, first["optimizer"], row["optimizer"]) != BETTER


def _said(pairs: pd.DataFrame, workload: str, one: str, two: str) -> str:
    """Return the verdict on a pair, seen from ``one``: on the optimizers, or on what one search has found of them."""
    found = between(pairs, workload, one, two)
    if found is None:
        return NOT_SHOWN
    return str(found.get("configurations", "") or found["verdict"])


def _costs(contest: WorkloadRuns, study: Study, *, timed: bool) -> dict[str, float]:
    runs = contest.of(study)
    complete = runs[runs["outcome"] == "complete"]
    own = contest.curves[(contest.curves["study"] == study.name) & contest.curves["number"].isin(complete["number"])]
    return {
        "epochs": _mean(own.groupby("number")["epoch"].max()),
        "gradient_evaluations": _mean(complete["gradient_evaluations"]),
        "seconds": _mean(complete["seconds"]) if timed else math.nan,
    }


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else math.nan


def keyword_arguments(study: Study, params: Mapping[str, object], digits: int | None = None) -> str:
    """Return a configuration as what one types into Python: the optimizer's arguments, and the batch size.

    Args:
        study: Whose configuration.
        params: As it is stored; fixed values are added. Empty: so is the text.
        digits: Significant digits at least; all there are when ``None``.
    """
    if not params:
        return ""
    arguments = _arguments(study, params)
    size = {BATCH_SIZE: arguments.pop(BATCH_SIZE)} if BATCH_SIZE in arguments else {}
    return ", ".join(f"{name}={_written(value, digits)}" for name, value in {**arguments, **size}.items())


def _arguments(study: Study, params: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments that a configuration stands for; as it is stored where the space cannot be read."""
    space = study.attributes.get("search_space")
    if isinstance(space, Mapping) and space.get("file") is None:  # what a user's file does is not run by a report
        try:
            return dict(stored_space(space).arguments(cast("Mapping[str, Any]", params)))
        except (KeyError, TypeError, AttributeError, ValueError, UserError):
            pass  # of another version
    return {**params, **study.fixed}


def _written(value: object, digits: int | None) -> str:
    """Return a value as Python reads it; rounded ones keep what tells them from 0 and from 1.

    >>> _written(0.123456, 3), _written(0.99982, 3), _written((0.9, 0.99999), 3), _written("strong_wolfe", 3)
    ('0.123', '0.99982', '(0.9, 0.99999)', "'strong_wolfe'")
    """
    if isinstance(value, tuple | list):
        inside = ", ".join(_written(entry, digits) for entry in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, np.generic):
        value = value.item()
    if digits is None or not isinstance(value, float) or not math.isfinite(value):
        return repr(value)
    room = 0.02 * min(abs(value), abs(1 - value)) if 0.5 < value < 1 else math.inf
    texts = (f"{value:.{number}g}" for number in range(digits, 18))
    return next((text for text in texts if abs(float(text) - value) <= room), repr(value))


def in_a_sentence(table: pd.DataFrame, pairs: pd.DataFrame, ranks: pd.DataFrame) -> str:
    """Return the answer on all workloads in a sentence, and what it is about.

    Args:
        table: Of `answer`.
        pairs: Of `analysis.comparison.pairwise.comparisons`.
        ranks: Of `analysis.comparison.aggregate.ranks`.
    """
    told: dict[str, list[str]] = {}  # workloads by what is said of them
    for workload, rows in table.groupby("workload", sort=False):
        told.setdefault(_of_workload(str(workload), rows, pairs), []).append(str(workload))
    if not told:
        return ""
    text = "; ".join(f"on {listing(workloads)} {said}" for said, workloads in told.items())
    overall = _of_ranks(ranks) if (table["basis"] == OPTIMIZERS).all() else ""
    return f"{overall}{text[0].upper()}{text[1:]}.{_of_searches(table, pairs)}"


def _of_ranks(ranks: pd.DataFrame) -> str:
    """Return whom the best of all workloads together leaves behind beyond noise; nothing where it leaves nobody."""
    if not len(ranks) or not ranks.iloc[0]["possible"]:
        return ""
    best, behind = leaders(ranks), behind_best(ranks)
    verb = "ranks" if len(best) == 1 else "rank"
    over = f"Over {ranks.iloc[0]['workloads']} workloads {listing(best)} {verb} first"
    return f"{over}, ahead of {listing(behind)} by more than the critical difference. " if behind else ""


def _of_workload(workload: str, rows: pd.DataFrame, pairs: pd.DataFrame) -> str:
    confirmed = rows[rows["runs"] > 0]
    names = confirmed["optimizer"].tolist()
    if not names:
        return "no winner was confirmed on fresh seeds, so that nothing can be said of differences"
    if len(names) == 1:
        return f"{names[0]} alone was confirmed, so that there is nothing to compare it with"
    if (confirmed["broken"] == confirmed["runs"]).all():
        return "every confirmation run broke, so that nothing can be compared"
    ties = confirmed["tied"].fillna(value=False).astype(bool)
    tied, behind = confirmed.loc[ties, "optimizer"].tolist(), confirmed.loc[~ties, "optimizer"].tolist()
    enough = confirmed["basis"].iloc[0] == OPTIMIZERS
    whose = "" if enough else "the configuration of "
    best = tied[0] if enough else f"{tied[0]}'s"
    of_all = f"{'' if enough else 'the configurations of '}{_count(len(tied))} optimizers"
    theirs = "" if enough else "that of " if len(behind) == 1 else "those of "
    if not behind:
        if all(_said(pairs, workload, a, b) == NOT_SHOWN for a in tied for b in tied if a != b):
            return f"{of_all} cannot be told apart"
        return f"none of {of_all} is told worse than the best, {best}"
    all_others = len(tied) == 1 and len(behind) > 1
    unconfirmed = " that were confirmed" if len(confirmed) < len(rows) else ""
    others = f"the {_count(len(behind))} others{unconfirmed}" if all_others else listing(behind)
    better = f"{whose}{tied[0]} is better than {theirs}{others}"
    return better if len(tied) == 1 else f"{better}, and cannot be told from {listing(tied[1:])}"


def _of_searches(table: pd.DataFrame, pairs: pd.DataFrame) -> str:
    confirmed = table[
        (table["runs"] > 0) & (table.groupby("workload")["runs"].transform(lambda runs: (runs > 0).sum()) > 1)
    ]
    if not len(confirmed):
        return ""
    fewest, most = int(confirmed["searches"].min()), int(confirmed["searches"].max())
    confirmed_searches = (
        "One search of each was confirmed"
        if most <= 1
        else f"{fewest if fewest == most else f'{fewest} to {most}'} searches of each were confirmed"
    )
    single = confirmed.loc[confirmed["basis"] == CONFIGURATIONS, "workload"]
    if not len(single):
        how = ", and what another search would find is told from its trials" if (pairs["unit"] == TRIALS).any() else ""
        return f" {confirmed_searches}{how}: this is about the optimizers."
    where = "" if single.nunique() == confirmed["workload"].nunique() else f" on {listing(list(dict.fromkeys(single)))}"
    return (
        f" {confirmed_searches}: this is about these configurations{where}, and another search may find others; "
        f"to tell of optimizers takes {ENOUGH} searches of each."
    )


def _count(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)


def searches_and_runs(row: Mapping[Any, Any]) -> str:
    """Return what a row of `answer` rests on, in words."""
    told = [number_of(int(row["trials"]), "trial"), number_of(int(row["searches"]), "search", "searches")]
    told.append(number_of(int(row["runs"]), "run") if row["runs"] else "not confirmed")
    told += [f"{int(row['broken'])} broke"] if row["broken"] else []
    return ", ".join(told)
