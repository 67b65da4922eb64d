"""The studies of one workload, and the confirmation runs of their winners that a comparison rests on.

A run that diverged or failed counts: where runs are ordered it is worse than all others, and where means are taken it
has the worst value that any complete run of the workload had after its first epoch or in the end. That is near what no
training gives, and finite also for a loss, which has no worst value of its own. Runs that still run, or that are asked
again because a driver was lost, do not count yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparison.intervals import Floats
from analysis.errors import AnalysisError
from analysis.load import Study, check_protocols
from analysis.winners import winner

COUNTED = ("complete", "pruned", "diverged", "failed")
_GIVEN_UP = 10
_RUNS = ("study", "number", "seed", "outcome", "validation", "test", "seconds", "gradient_evaluations", "device")


@dataclass(frozen=True)
class Contest:
    """One workload: who competes, and what the runs of the winners gave.

    Attributes:
        workload: its name.
        metric: the name of the number that decides.
        direction: ``"maximize"`` or ``"minimize"``.
        data: what the compared values were measured on: ``"test"``, else ``"validation"`` or, for a metric of the
            optimization itself, ``"train"``.
        studies: one an optimizer, in the campaign's order.
        trials: of the studies, in the order of their numbers; columns of :func:`analysis.load.trials`.
        runs: the confirmation runs that count. Columns: ``study``, ``number``, ``seed``, ``outcome``, ``validation``
            and ``test`` (the metric; runs that broke have the worst value, see above; NaN where it was not measured),
            ``seconds``, ``gradient_evaluations``, ``device``, ``exclusive`` (True, False, or missing: not known).
        curves: their epochs; columns of :func:`analysis.load.curves`.
    """

    workload: str
    metric: str
    direction: str
    data: str
    studies: tuple[Study, ...]
    trials: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame

    @property
    def sign(self) -> float:
        """1 where greater is better, else -1."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def label(self) -> str:
        """What is compared, in words: ``test accuracy``."""
        return f"{'training' if self.data == 'train' else self.data} {self.metric}"

    def of(self, study: Study) -> pd.DataFrame:
        """The rows of `runs` of one study."""
        return self.runs[self.runs["study"] == study.name]

    def values(self, study: Study, data: str | None = None) -> Floats:
        """The compared values of one study's runs (n,), or those on ``data``; NaN ones are left out."""
        values = self._column("test" if (data or self.data) == "test" else "validation", study)
        return np.asarray(values[~np.isnan(values)])

    def goodness(self, study: Study) -> Floats:
        """The same for ordering runs: greater is better, and a run that broke is ``-inf``."""
        values = self.sign * self._column("test" if self.data == "test" else "validation", study)
        values = np.where(self._column("outcome", study) == "complete", values, -np.inf)
        return np.asarray(values[~np.isnan(values)])

    def _column(self, name: str, study: Study) -> NDArray[Any]:
        # not by `of`: simulations ask thousands of times, and frames are slow to cut
        return np.asarray(np.asarray(self.runs[name])[np.asarray(self.runs["study"]) == study.name])

    def confirmed(self) -> list[Study]:
        """The studies that have confirmation runs."""
        have = set(self.runs["study"])
        return [study for study in self.studies if study.name in have]

    def hopeless(self, study: Study) -> bool:
        """Whether the trials of a study ended and none was complete, so that there is no winner to confirm.

        A study stops early after ten trials that failed in a row.
        """
        outcomes = self.trials.loc[self.trials["study"] == study.name, "outcome"]
        ended = int(outcomes.isin(COUNTED).sum())
        enough = max(1, min(int(study.campaign.get("trials", 1)), _GIVEN_UP))
        return ended >= enough and not outcomes.isin(["complete", "running"]).any()


def contests(
    studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame, curves: pd.DataFrame
) -> list[Contest]:
    """One contest a workload, in the order of the studies; the order of the frames' rows does not matter.

    Args:
        studies: of one campaign.
        trials: see :func:`analysis.load.trials`.
        confirmations: see :func:`analysis.load.confirmations`; ``confirms``, ``rank``, ``exclusive``, ``seed``,
            ``device`` and ``test_metric`` may be missing. Only the runs of today's winner count, as ``confirms`` tells
            (without it those of ``rank`` 1).
        curves: the epochs of the confirmation runs, see :func:`analysis.load.curves`.

    Raises:
        AnalysisError: the studies are of several protocols, or two are of the same workload and optimizer.
    """
    _check(studies)
    trials = trials.sort_values(["study", "number"], kind="stable", ignore_index=True)
    runs = _counted(studies, trials, confirmations)
    keys = pd.MultiIndex.from_frame(curves[["study", "number"]])
    curves = curves[keys.isin(pd.MultiIndex.from_frame(runs[["study", "number"]]))]
    curves = curves.sort_values(["study", "number", "epoch"], kind="stable", ignore_index=True)
    found = []
    for workload in dict.fromkeys(study.workload for study in studies):
        own = [study for study in studies if study.workload == workload]
        names = [study.name for study in own]
        found.append(
            _contest(
                own,
                trials[trials["study"].isin(names)],
                runs[runs["study"].isin(names)],
                curves[curves["study"].isin(names)],
            )
        )
    return found


def _check(studies: Sequence[Study]) -> None:
    check_protocols(studies)
    pairs = [(study.workload, study.optimizer) for study in studies]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice:
        raise AnalysisError(f"there are two studies of {twice[1]} on {twice[0]}; compare the studies of one campaign")


def _counted(studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame) -> pd.DataFrame:
    """The runs of today's winners that count, with all columns that a run may have."""
    runs = confirmations[confirmations["outcome"].isin(COUNTED)]
    if "confirms" in runs:
        best = {study.name: found for study in studies if (found := winner(study, trials)) is not None}
        expected = runs["study"].map({name: int(trial["number"]) for name, trial in best.items()})
        runs = runs[runs["confirms"].isna() | expected.isna() | (runs["confirms"] == expected)]
    elif "rank" in runs:
        runs = runs[runs["rank"].isna() | (runs["rank"] == 1)]
    runs = runs.sort_values(["study", "number"], kind="stable", ignore_index=True)
    frame = runs.rename(columns={"value": "validation", "test_metric": "test"})
    for missing in {"test", "seed", "device"} - set(frame.columns):
        frame[missing] = np.nan
    frame["test"] = frame["test"].astype("float64")
    exclusive = runs["exclusive"] if "exclusive" in runs else [None] * len(runs)
    frame = frame[list(_RUNS)].copy()
    frame["exclusive"] = pd.Series(list(exclusive), dtype="boolean")
    return frame


def _contest(studies: list[Study], trials: pd.DataFrame, runs: pd.DataFrame, curves: pd.DataFrame) -> Contest:
    first = studies[0]
    sign = 1.0 if first.direction == "maximize" else -1.0
    complete = runs["outcome"] == "complete"
    split = str(first.attributes.get("metric_split", "validation"))
    tested = bool(complete.any()) and bool(np.isfinite(runs.loc[complete, "test"]).all())
    runs = runs.copy()
    worst = _worst(sign, _early(runs[complete], curves), runs.loc[complete, "validation"].to_numpy(np.float64))
    runs.loc[~complete, "validation"] = worst
    if tested:
        runs.loc[~complete, "test"] = _worst(sign, np.array([worst]), runs.loc[complete, "test"].to_numpy(np.float64))
    return Contest(
        first.workload,
        first.metric,
        first.direction,
        split if split == "train" else "test" if tested else "validation",
        tuple(studies),
        trials,
        runs,
        curves,
    )


def _early(complete: pd.DataFrame, curves: pd.DataFrame) -> Floats:
    """The metric of the complete runs after their first epoch."""
    first = curves.drop_duplicates(["study", "number"])
    own = first.merge(complete[["study", "number"]], on=["study", "number"])
    return own["value"].to_numpy(np.float64)


def _worst(sign: float, *values: Floats) -> float:
    all_values = np.concatenate(values)
    finite = all_values[np.isfinite(all_values)]
    return sign * float((sign * finite).min()) if len(finite) else math.nan
