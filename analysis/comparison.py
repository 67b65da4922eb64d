"""Which optimizer won, and with which hyperparameters."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.load import Study

_COLUMNS = ("workload", "rank", "optimizer", "metric", "direction", "best", "number", "params", "seconds")
_OUTCOMES = ("complete", "pruned", "diverged", "failed", "running")


def leaderboard(studies: list[Study], trials: pd.DataFrame) -> pd.DataFrame:
    """The studies of a campaign, best first within each workload.

    A study's value is its best COMPLETE trial's, on validation data, after a search: good for choosing a configuration,
    too good to be expected on fresh data.

    Args:
        studies: of one campaign.
        trials: their trials, as :func:`analysis.load.trials` gives them.

    Returns:
        One row a study. Columns: ``workload``, ``rank`` (1 is best; studies without a complete trial come last),
        ``optimizer``, ``metric``, ``direction``, ``best`` (value of the metric, NaN before the first), ``number``
        (of the best trial, -1 before the first),
        ``params`` (its configuration), ``seconds`` (training time of all trials), and the numbers of trials by outcome:
        ``complete``, ``pruned``, ``diverged``, ``failed``, ``running``.
    """
    rows = []
    for study in studies:
        own = trials[trials["study"] == study.name]
        complete = own[own["outcome"] == "complete"].sort_values(
            ["value", "number"], ascending=[study.direction == "minimize", True]
        )
        best = complete.iloc[0] if len(complete) else None
        rows.append(
            {
                "workload": study.workload,
                "rank": 0,
                "optimizer": study.optimizer,
                "metric": study.metric,
                "direction": study.direction,
                "best": math.nan if best is None else float(best["value"]),
                "number": -1 if best is None else int(best["number"]),
                "params": {} if best is None else best["params"],
                "seconds": float(own["seconds"].sum()),
                **{outcome: int((own["outcome"] == outcome).sum()) for outcome in _OUTCOMES},
            }
        )
    ranked = [_rank([row for row in rows if row["workload"] == w]) for w in dict.fromkeys(r["workload"] for r in rows)]
    return pd.DataFrame([row for group in ranked for row in group], columns=[*_COLUMNS, *_OUTCOMES])


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
