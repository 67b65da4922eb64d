"""Which optimizer won, and with which hyperparameters: after tuning, and as confirmed on fresh seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.comparison.searches import ENOUGH, Level, level, repeated
from analysis.comparison.time_to_target import AXES
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import FEW
from analysis.schema import COUNTED
from analysis.study import Study
from analysis.winners import winner

_COLUMNS = (
    "workload", "rank", "optimizer", "metric", "direction", "best", "search", "searches", "number", "params", "seconds",
)  # fmt: skip
_OUTCOMES = (*COUNTED, "running")


def leaderboard(studies: list[Study], trials: pd.DataFrame) -> pd.DataFrame:
    """Return the optimizers of a campaign, best first within each workload.

    An optimizer's value is that of the best COMPLETE trial of all its searches, on validation data, after a search:
    good for choosing a configuration, too good to be expected on fresh data.

    Args:
        studies: Of one campaign, one for each search.
        trials: Their trials, as :func:`analysis.load.trials` gives them.

    Returns:
        One row an optimizer of a workload. Columns: ``workload``, ``rank`` (1 is best; optimizers without a complete
        trial come last), ``optimizer``, ``metric``, ``direction``, ``best`` (value of the metric, NaN before the
        first), ``search`` (that found it, from 1; of equal ones the first), ``searches`` (how many there are),
        ``number`` (of the best trial, -1 before the first), ``params`` (its configuration), ``seconds`` (training time
        of all trials of all searches), and the numbers of these trials by outcome: ``complete``, ``pruned``,
        ``diverged``, ``failed``, ``running``.
    """
    groups: dict[tuple[str, str], list[Study]] = {}
    for study in studies:
        groups.setdefault((study.workload, study.optimizer), []).append(study)
    rows = []
    for group in groups.values():
        own = trials[trials["study"].isin([study.name for study in group])]
        study, best = min(((study, winner(study, own)) for study in group), key=_place)
        rows.append(
            {
                "workload": study.workload,
                "rank": 0,
                "optimizer": study.optimizer,
                "metric": study.metric,
                "direction": study.direction,
                "best": math.nan if best is None else float(best["value"]),
                "search": study.replicate,
                "searches": len(group),
                "number": -1 if best is None else int(best["number"]),
                "params": {} if best is None else best["params"],
                "seconds": float(own["seconds"].sum()),
                **{outcome: int((own["outcome"] == outcome).sum()) for outcome in _OUTCOMES},
            }
        )
    ranked = [_rank([row for row in rows if row["workload"] == w]) for w in dict.fromkeys(r["workload"] for r in rows)]
    return pd.DataFrame([row for group in ranked for row in group], columns=[*_COLUMNS, *_OUTCOMES])


def _place(found: tuple[Study, pd.Series | None]) -> tuple[bool, float, int]:
    """Return by what searches of an optimizer are ordered: that with the best winner first."""
    study, best = found
    value = math.nan if best is None else float(best["value"])
    return *_merit(value, 1.0 if study.direction == "maximize" else -1.0), study.replicate


def _rank(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def key(row: dict[str, Any]) -> tuple[bool, float]:
        best = row["best"]
        if math.isnan(best):
            return True, 0.0
        return False, -best if row["direction"] == "maximize" else best

    ordered = sorted(rows, key=key)
    for place, row in enumerate(ordered):
        ties = place > 0 and key(row) == key(ordered[place - 1])
        row["rank"] = ordered[place - 1]["rank"] if ties else place + 1
    return ordered


CONFIRMED = (
    "workload", "rank", "optimizer", "study", "metric", "direction", "runs", "validation", "validation_low",
    "validation_high", "test", "test_low", "test_high", "data", "split", "searches", "statistic", "over", "tuned",
    "search", "number", "params", "target", "target_source", "reached", "epochs_to_target",
    "gradient_evaluations_to_target", "seconds_to_target", "trials", *_OUTCOMES,
    "runs_complete", "runs_diverged", "runs_failed", "few",
)  # fmt: skip


def confirmed(contests: Sequence[WorkloadRuns], targets: pd.DataFrame) -> pd.DataFrame:
    """Return the winners of a campaign's studies as their confirmation runs have them, best first within each workload.

    Args:
        contests: Of the campaign, see :func:`analysis.comparison.workload_runs.contests`.
        targets: Times to target, see :func:`analysis.comparison.time_to_target.time_to_target`.

    Returns:
        One row an optimizer of a workload. Columns: ``workload``, ``rank`` (by what decides, the value on ``data``; -1
        without confirmation runs, these come last), ``optimizer``, ``study``, ``metric``, ``direction``, ``runs`` (that
        count, of all searches), ``validation``, ``test`` (what the winners reach, runs that broke included, see
        :mod:`analysis.comparison.workload_runs`; the test metric at the epoch that validation chose; ``validation`` is
        on training data where ``split`` says so), each with ``…_low``, ``…_high`` (95 %, not corrected for the number
        of optimizers; NaN where runs are too few, or too far apart), ``statistic`` (what they are: mean or geometric
        mean of what ``over`` says; see :func:`analysis.comparison.searches.level`), ``data`` (what is ranked by),
        ``split`` (what the search chose by: validation or training), ``searches`` (that count), ``over`` (what the
        interval is over), ``search`` (whose winner is shown, see `shown_search`), ``number`` (of that winner, -1 where
        there is none), ``params`` (its configuration), ``tuned`` (its value in tuning: the best of many, too good to be
        expected again), ``target``, ``target_source``, ``reached`` (runs), the medians ``epochs_to_target``,
        ``gradient_evaluations_to_target``, ``seconds_to_target`` (``inf``: fewer than half of the runs reached it),
        ``trials`` (of all searches, that ended), and of these ``complete``, ``pruned``, ``diverged``, ``failed``,
        besides ``running``; of the runs ``runs_complete``, ``runs_diverged``, ``runs_failed`` (pruned ones included),
        and ``few`` (whether there are so few runs that intervals rest on little).
    """
    rows: list[dict[str, Any]] = []
    for contest in contests:
        own = [_confirmed_row(contest, study, targets) for study in contest.studies]
        column = "test" if contest.data == "test" else "validation"
        merits = [(row["runs"] == 0, *_merit(row[column], contest.sign)) for row in own]
        for row, merit in zip(own, merits, strict=True):
            row["rank"] = 1 + sum(other < merit for other in merits) if row["runs"] else -1
        rows.extend(row for _, row in sorted(zip(merits, own, strict=True), key=lambda pair: pair[0]))
    return pd.DataFrame(rows, columns=list(CONFIRMED))


def _merit(value: float, sign: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, -sign * value)


def chosen_on(board: pd.DataFrame) -> str:
    """Return on what data the hyperparameters of a workload's rows were chosen from several searches; else nothing."""
    own = board[board["runs"] > 0]
    return str(own["split"].iloc[0]) if len(own) and (own["searches"] >= ENOUGH).all() else ""


def shown_search(contest: WorkloadRuns, study: Study) -> Study:
    """Return the search of an optimizer whose winner a table shows.

    Where searches are compared it is that whose winner did best on fresh seeds, by what is chosen by: test data have no
    say, since what they say of a winner that they chose would be too good. Where configurations are compared it is the
    search of that one (`analysis.comparison.searches.configuration`).
    """
    found = contest.searches_of(study)
    means = {number: contest.sign * runs.mean() for number, runs in contest.by_search(study, "validation").items()}
    if not repeated(contest):
        first = min(contest.by_search(study), default=found[0].replicate)
        return next((search for search in found if search.replicate == first), found[0])
    return max(found, key=lambda search: means.get(search.replicate, -math.inf))


def _confirmed_row(contest: WorkloadRuns, study: Study, targets: pd.DataFrame) -> dict[str, Any]:
    trials = contest.trials[contest.trials["study"].isin([search.name for search in contest.searches_of(study)])]
    runs, search = contest.of(study), shown_search(contest, study)
    best = winner(search, contest.trials)
    validation, test = (level(contest, study, data) for data in ("validation", "test"))
    decides = test if contest.data == "test" else validation
    times = targets[targets["study"] == study.name].set_index("axis")
    ends = ("", "_low", "_high")
    return {
        "workload": contest.workload,
        "rank": -1,
        "optimizer": study.optimizer,
        "study": study.name,
        "metric": contest.metric,
        "direction": contest.direction,
        "runs": len(runs),
        **dict(zip((f"validation{end}" for end in ends), _numbers(validation), strict=True)),
        **dict(zip((f"test{end}" for end in ends), _numbers(test), strict=True)),
        "data": contest.data,
        "tuned": math.nan if best is None else float(best["value"]),
        "search": search.replicate,
        "number": -1 if best is None else int(best["number"]),
        "params": {} if best is None else best["params"],
        "split": "training" if contest.data == "train" else "validation",
        "searches": decides.searches,
        "statistic": decides.statistic,
        "over": decides.over,
        "target": math.nan if times.empty else float(times["target"].iloc[0]),
        "target_source": "none" if times.empty else str(times["target_source"].iloc[0]),
        "reached": 0 if times.empty else int(times["reached"].iloc[0]),
        **{f"{axis}_to_target": float(times["median"].get(axis, math.nan)) for axis in AXES},
        "trials": int(trials["outcome"].isin(COUNTED).sum()),
        **{outcome: int((trials["outcome"] == outcome).sum()) for outcome in _OUTCOMES},
        "runs_complete": int((runs["outcome"] == "complete").sum()),
        "runs_diverged": int((runs["outcome"] == "diverged").sum()),
        "runs_failed": int(runs["outcome"].isin(["failed", "pruned"]).sum()),
        "few": 0 < len(runs) < FEW,
    }


def _numbers(of: Level) -> tuple[float, float, float]:
    return of.value, of.low, of.high
