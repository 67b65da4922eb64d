"""The studies of one workload, and the confirmation runs of their winners that a comparison rests on.

A run that broke (it diverged or failed, or gave no test value where others gave one) counts: where runs are ordered it
is worse than all others, and where means are taken it has the worst value that any complete run of the workload had
after its first epoch or in the end. That is finite also for a loss, which has no worst value of its own, and may be
close to good values where one epoch trains well; so a mean alone never makes an optimizer with broken runs better, see
:mod:`analysis.comparison.pairwise`. Runs that still run, or that are asked again because a driver was lost, do not
count yet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.intervals import Floats
from analysis.schema import COUNTED, MAX_FAILURES_IN_A_ROW
from analysis.study import Study, check_protocols
from analysis.winners import winner
from search_spaces.errors import UserError

_SLACK = 0.1  # cores; what the driver and the system take beside a run
_RUNS = (
    "study", "number", "seed", "outcome", "validation", "test", "seconds", "gradient_evaluations", "device", "confirms",
    "other_cores", "cores",
)  # fmt: skip


@dataclass(frozen=True)
class WorkloadRuns:
    """One workload: who competes, and what the runs of the winners gave.

    Attributes:
        workload: Its name.
        metric: The name of the number that decides.
        direction: ``"maximize"`` or ``"minimize"``.
        data: What the compared values were measured on: ``"test"``, else ``"validation"`` or, for a metric of the
            optimization itself, ``"train"``.
        studies: One an optimizer, in the campaign's order.
        trials: Of the studies, in the order of their numbers; columns of :func:`analysis.load.trials`.
        runs: The confirmation runs that count. Columns: ``study``, ``number``, ``seed``, ``outcome``, ``validation``
            and ``test`` (the metric; runs that broke have the worst value, see above; NaN where it was not measured),
            ``seconds``, ``gradient_evaluations``, ``device``, ``exclusive`` (True, False, or missing: not known),
            ``confirms`` (missing: not known), ``other_cores`` (that other programs kept busy meanwhile) of ``cores``
            (NaN: not known), ``broken``.
        curves: Their epochs; columns of :func:`analysis.load.curves`.
        former: By study: the numbers of trials that were its winner once and were confirmed then, each with the number
            of those runs. They count for nothing.
        lost: By study: the number of runs that were asked again.
    """

    workload: str
    metric: str
    direction: str
    data: str
    studies: tuple[Study, ...]
    trials: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame
    former: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def sign(self) -> float:
        """1 where greater is better, else -1."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def label(self) -> str:
        """What is compared, in words: ``test accuracy``."""
        return f"{'training' if self.data == 'train' else self.data} {self.metric}"

    def crowded(self) -> pd.Series:
        """Return which runs shared their core: others kept all but less than one busy; False where it is not known."""
        found: pd.Series = self.runs["other_cores"] > self.runs["cores"] - 1 + _SLACK
        return found

    def of(self, study: Study) -> pd.DataFrame:
        """Return the rows of `runs` of one study."""
        return self.runs[self.runs["study"] == study.name]

    def values(self, study: Study, data: str | None = None) -> Floats:
        """Return the compared values of one study's runs (n,), or those on ``data``; NaN ones are left out."""
        values = self._column("test" if (data or self.data) == "test" else "validation", study)
        return np.asarray(values[~np.isnan(values)])

    def goodness(self, study: Study) -> Floats:
        """Return the same for ordering runs: greater is better, and a run that broke is ``-inf``."""
        values = self.sign * self._column("test" if self.data == "test" else "validation", study)
        values = np.where(self._column("broken", study).astype(bool), -np.inf, values)
        return np.asarray(values[~np.isnan(values)])

    def _column(self, name: str, study: Study) -> NDArray[Any]:
        # not by `of`: simulations ask thousands of times, and frames are slow to cut
        return np.asarray(np.asarray(self.runs[name])[np.asarray(self.runs["study"]) == study.name])

    def confirmed(self) -> list[Study]:
        """Return the studies that have confirmation runs."""
        have = set(self.runs["study"])
        return [study for study in self.studies if study.name in have]

    def hopeless(self, study: Study) -> bool:
        """Return whether the trials of a study ended and none was complete, so that there is no winner to confirm.

        A study ends with its last trial, or before that after ten that failed in a row.
        """
        outcomes = self.trials.loc[self.trials["study"] == study.name, "outcome"]
        ended = outcomes[outcomes.isin(COUNTED)]
        if not len(ended) or outcomes.isin(["complete", "running"]).any():
            return False
        last = ended.tail(MAX_FAILURES_IN_A_ROW)
        given_up = len(last) == MAX_FAILURES_IN_A_ROW and bool((last == "failed").all())
        return given_up or len(ended) >= int(study.campaign.get("trials", 1))


def contests(
    studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame, curves: pd.DataFrame
) -> list[WorkloadRuns]:
    """Return one contest a workload, in the order of the studies; the order of the frames' rows does not matter.

    Args:
        studies: Of one campaign.
        trials: See :func:`analysis.load.trials`.
        confirmations: See :func:`analysis.load.confirmations`; ``confirms``, ``rank``, ``exclusive``, ``seed``,
            ``device`` and ``test_metric`` may be missing. Only the runs of today's winner count, as ``confirms`` tells
            (without it those of ``rank`` 1).
        curves: The epochs of the confirmation runs, see :func:`analysis.load.curves`.

    Raises:
        UserError: The studies are of several protocols, or two are of the same workload and optimizer.
    """
    _check(studies)
    trials = trials.sort_values(["study", "number"], kind="stable", ignore_index=True)
    runs, former = _counted(studies, trials, confirmations)
    lost = confirmations[confirmations["outcome"] == "lost"]["study"].value_counts()
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
                {name: former[name] for name in names if name in former},
                {name: int(lost[name]) for name in names if name in lost},
            )
        )
    return found


def _check(studies: Sequence[Study]) -> None:
    check_protocols(studies)
    pairs = [(study.workload, study.optimizer) for study in studies]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice:
        raise UserError(f"there are two studies of {twice[1]} on {twice[0]}; compare the studies of one campaign")


def _counted(
    studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, dict[int, int]]]:
    """Return the runs of today's winners that count, with all columns of a run, and those of former winners."""
    runs = confirmations[confirmations["outcome"].isin(COUNTED)]
    former: dict[str, dict[int, int]] = {}
    if "confirms" in runs:
        best = {study.name: found for study in studies if (found := winner(study, trials)) is not None}
        expected = runs["study"].map({name: int(trial["number"]) for name, trial in best.items()})
        todays = runs["confirms"].isna() | expected.isna() | (runs["confirms"] == expected)
        first = runs["rank"].isna() | (runs["rank"] == 1) if "rank" in runs else pd.Series(True, index=runs.index)
        for name, numbers in runs[~todays & first].groupby("study")["confirms"]:
            former[str(name)] = dict(Counter(int(number) for number in numbers))
        runs = runs[todays]
    elif "rank" in runs:
        runs = runs[runs["rank"].isna() | (runs["rank"] == 1)]
    runs = runs.sort_values(["study", "number"], kind="stable", ignore_index=True)
    frame = runs.rename(columns={"value": "validation", "test_metric": "test"})
    for missing in {"test", "seed", "device", "confirms", "other_cores", "cores"} - set(frame.columns):
        frame[missing] = np.nan
    floats = ["test", "other_cores", "cores"]
    frame[floats] = frame[floats].astype("float64")
    exclusive = runs["exclusive"] if "exclusive" in runs else [None] * len(runs)
    frame = frame[list(_RUNS)].copy()
    frame["exclusive"] = pd.Series(list(exclusive), dtype="boolean")
    return frame, former


def _contest(
    studies: list[Study],
    trials: pd.DataFrame,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    former: Mapping[str, Mapping[int, int]],
    lost: Mapping[str, int],
) -> WorkloadRuns:
    first = studies[0]
    sign = 1.0 if first.direction == "maximize" else -1.0
    complete = runs["outcome"] == "complete"
    split = str(first.attributes.get("metric_split", "validation"))
    has_test = complete & np.isfinite(runs["test"])
    tested = split != "train" and bool(has_test.any())
    runs = runs.copy()
    runs["broken"] = ~(has_test if tested else complete)
    early = first_epochs(curves, runs[complete])["value"].to_numpy(np.float64)
    worst = _worst(sign, early, runs.loc[complete, "validation"].to_numpy(np.float64))
    runs.loc[~complete, "validation"] = worst
    if tested:
        runs.loc[~has_test, "test"] = _worst(sign, np.array([worst]), runs.loc[has_test, "test"].to_numpy(np.float64))
    return WorkloadRuns(
        first.workload,
        first.metric,
        first.direction,
        split if split == "train" else "test" if tested else "validation",
        tuple(studies),
        trials,
        runs,
        curves,
        former,
        lost,
    )


def first_epochs(curves: pd.DataFrame, of: pd.DataFrame) -> pd.DataFrame:
    """Return the first epoch of each trial or run: the rows of ``curves``, with a finite value, of the rows of ``of``.

    Args:
        curves: Columns ``study``, ``number``, ``epoch``, ``value``, in any order.
        of: Columns ``study``, ``number``.
    """
    finite = curves[np.isfinite(curves["value"].to_numpy(np.float64))]
    first = finite.sort_values("epoch", kind="stable").drop_duplicates(["study", "number"])
    found: pd.DataFrame = first.merge(of[["study", "number"]], on=["study", "number"])
    return found


def _worst(sign: float, *values: Floats) -> float:
    all_values = np.concatenate(values)
    finite = all_values[np.isfinite(all_values)]
    return sign * float((sign * finite).min()) if len(finite) else math.nan
