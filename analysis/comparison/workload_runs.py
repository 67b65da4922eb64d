"""The studies of one workload, and the confirmation runs of their winners that a comparison rests on.

An optimizer's search may have been made several times (replicates). Each search has a winner of its own, which is
confirmed; the runs of all of them are here, with the search that each belongs to.

A run that broke (it diverged or failed, or gave no test value where others gave one) counts: where runs are ordered it
is worse than all others, and where means are taken it has the value that training starts from, the median of complete
runs of the workload after their first epoch, or the worst that any had in the end, whichever is worse. That is finite
also for a loss, which has no worst value of its own; it is no outlier, as one run's first epoch may be; and it may be
close to good values where one epoch trains well, so that a mean alone never makes an optimizer with broken runs better,
see :mod:`analysis.comparison.pairwise`. Runs that still run, or that are asked again because a driver was lost, do not
count yet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.intervals import Floats
from analysis.metric_scale import Scale, floor_of, on_scale, scale_of
from analysis.schema import COUNTED
from analysis.study import Study, check_protocols
from analysis.winners import finished, places
from search_spaces.errors import UserError

_SLACK = 0.1  # cores; what the driver and the system take beside a run
_RUNS = (
    "study", "search", "number", "seed", "outcome", "validation", "test", "seconds", "gradient_evaluations", "device",
    "confirms", "other_cores", "cores",
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
        studies: One an optimizer, in the campaign's order: that of its first search.
        trials: Of all searches, in the order of their numbers; columns of :func:`analysis.load.trials`, ``study`` being
            that of the search.
        runs: The confirmation runs that count, of the present winner of each search. Columns: ``study`` (the
            optimizer's, as in ``studies``), ``search`` (1 for the first), ``number`` (counts the optimizer's runs,
            those of a later search after those of an earlier), ``seed``, ``outcome``, ``validation`` and ``test`` (the
            metric; runs that broke have the worst value, see above; NaN where it was not measured), ``seconds``,
            ``gradient_evaluations``, ``device``, ``exclusive`` (True, False, or missing: not known), ``confirms``
            (missing: not known), ``other_cores`` (that other programs kept busy meanwhile) of ``cores`` (NaN: not
            known), ``broken``.
        curves: Their epochs; columns of :func:`analysis.load.curves`, with ``study`` and ``number`` as in ``runs``.
        former: By name of a search: the numbers of trials that were its winner once and were confirmed then, each with
            the number of those runs. They count for nothing.
        lost: By name of a search: the number of runs that were asked again.
        searches: By name of an optimizer's study, all of its searches, the first included, copies left out; without an
            entry it is the only one.
        below: Runs of configurations that a search ranks behind its winner (``sofim confirm --top``): columns of
            ``runs``, and ``place`` (2 for the second best).
        scale: On which values are compared, see :mod:`analysis.metric_scale`.
        floor: What smaller values count as on a logarithmic scale.
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
    searches: Mapping[str, tuple[Study, ...]] = field(default_factory=dict)
    below: pd.DataFrame = field(default_factory=pd.DataFrame)
    scale: Scale = "linear"
    floor: float = 1.0

    @property
    def counts_evaluations(self) -> bool:
        """Whether gradient evaluations are known: a training function of a person's own does not count them."""
        complete = self.trials.loc[self.trials["outcome"] == "complete", "gradient_evaluations"]
        return complete.empty or bool(complete.notna().any())

    @property
    def sign(self) -> float:
        """1 where greater is better, else -1."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def label(self) -> str:
        """What is compared, in words: ``test accuracy``."""
        return f"{'training' if self.data == 'train' else self.data} {self.metric}"

    @property
    def tuned_label(self) -> str:
        """What the best trial of a search reached, in words; of several searches of an optimizer it is the first's."""
        several = any(int(study.campaign.get("replicates", 1)) > 1 for study in self.studies)
        first = "first " if several else ""
        return f"{self.studies[0].tuned_metric}, best of the {first}search"

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

    def searches_of(self, study: Study) -> tuple[Study, ...]:
        """Return all searches of an optimizer, given its study."""
        return self.searches.get(study.name, (study,))

    def by_search(self, study: Study, data: str | None = None) -> dict[int, Floats]:
        """Return by search the compared values (n,) of one optimizer's runs, or those on ``data``, on the scale.

        Runs of a search on one seed are the same run made twice: they count once, as their mean.
        """
        column = "test" if (data or self.data) == "test" else "validation"
        values = on_scale(self._column(column, study), self.scale, self.floor)
        search = self._column("search", study) if "search" in self.runs else np.ones(len(values), int)
        seeds = self._column("seed", study)
        known = ~np.isnan(values)
        found: dict[int, Floats] = {}
        for which in np.unique(search[known]):
            own = known & (search == which)
            found[int(which)] = once_a_seed(values[own], seeds[own])
        return found

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

    def first_searches(self) -> WorkloadRuns:
        """Return the same with the runs and curves of each optimizer's first search alone."""
        if "search" not in self.runs or not len(self.runs):
            return self
        firsts = {name: every[0].replicate for name, every in self.searches.items()}
        runs = self.runs[self.runs["search"] == self.runs["study"].map(firsts).fillna(1)]
        keys = pd.MultiIndex.from_frame(self.curves[["study", "number"]])
        curves = self.curves[keys.isin(pd.MultiIndex.from_frame(runs[["study", "number"]]))]
        return replace(self, runs=runs.reset_index(drop=True), curves=curves.reset_index(drop=True))

    def hopeless(self, study: Study) -> bool:
        """Return whether all searches of an optimizer ended without a complete trial: there is no winner to confirm."""
        return all(self.fruitless(search) for search in self.searches_of(study))

    def fruitless(self, study: Study) -> bool:
        """Return whether the trials of one search ended and none was complete.

        A search ends with its last trial, or before that after ten that failed in a row.
        """
        outcomes = self.trials.loc[self.trials["study"] == study.name, "outcome"]
        return not outcomes.isin(["complete", "running"]).any() and finished(study, self.trials)


def once_a_seed(values: Floats, seeds: NDArray[Any]) -> Floats:
    """Return values (n,) in their order, those on a seed that is there before taken into the mean of it."""
    groups: dict[object, list[float]] = {}
    for place, (value, seed) in enumerate(zip(values.tolist(), seeds.tolist(), strict=True)):
        groups.setdefault(("", place) if pd.isna(seed) else seed, []).append(value)
    return np.array([sum(group) / len(group) for group in groups.values()])


def contests(
    studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame, curves: pd.DataFrame
) -> list[WorkloadRuns]:
    """Return one contest a workload, in the order of the studies; the order of the frames' rows does not matter.

    Args:
        studies: Of one campaign, replicates included where there are any.
        trials: See :func:`analysis.load.trials`.
        confirmations: See :func:`analysis.load.confirmations`; ``confirms``, ``rank``, ``exclusive``, ``seed``,
            ``device`` and ``test_metric`` may be missing. Of each search the runs of today's winner count, as
            ``confirms`` tells (without it those of ``rank`` 1).
        curves: The epochs of the confirmation runs, see :func:`analysis.load.curves`.

    Raises:
        UserError: The studies are of several protocols, or two are the same search of an optimizer on a workload.
    """
    _check(studies)
    trials = trials.sort_values(["study", "number"], kind="stable", ignore_index=True)
    searches = _searches(studies, trials)
    runs, former = _counted([search for every in searches.values() for search in every], trials, confirmations)
    lost = confirmations[confirmations["outcome"] == "lost"]["study"].value_counts()
    runs, curves = _numbered(searches, runs, curves)
    keys = pd.MultiIndex.from_frame(curves[["study", "number"]])
    of_winners = runs[runs["place"] == 1]
    curves = curves[keys.isin(pd.MultiIndex.from_frame(of_winners[["study", "number"]]))]
    curves = curves.sort_values(["study", "number", "epoch"], kind="stable", ignore_index=True)
    found = []
    for workload in dict.fromkeys(study.workload for study in studies):
        own = {name: every for name, every in searches.items() if every[0].workload == workload}
        names = [search.name for every in own.values() for search in every]
        found.append(
            _contest(
                own,
                trials[trials["study"].isin(names)],
                runs[runs["study"].isin(list(own))],
                curves[curves["study"].isin(list(own))],
                {name: former[name] for name in names if name in former},
                {name: int(lost[name]) for name in names if name in lost},
            )
        )
    return found


def _check(studies: Sequence[Study]) -> None:
    check_protocols(studies)
    every = [(study.workload, study.optimizer, study.replicate) for study in studies]
    twice = next((one for one in every if every.count(one) > 1), None)
    if twice:
        raise UserError(f"there are two studies of {twice[1]} on {twice[0]}; compare the studies of one campaign")


def _searches(studies: Sequence[Study], trials: pd.DataFrame) -> dict[str, tuple[Study, ...]]:
    """Return by name of an optimizer's study on a workload, in the order of the studies, its searches in theirs.

    A search that is a copy of one before, trial by trial, is no further search.
    """
    groups: dict[tuple[str, str], list[Study]] = {}
    for study in studies:
        groups.setdefault((study.workload, study.optimizer), []).append(study)
    found = {}
    for group in groups.values():
        ordered = sorted(group, key=lambda study: study.replicate)
        seen: list[list[tuple[str, ...]]] = []
        different = []
        for study in ordered:
            rows = _as_ended(trials[trials["study"] == study.name]) if len(ordered) > 1 else []
            if len(rows) < 2 or rows not in seen:
                different.append(study)
            seen.append(rows)
        found[ordered[0].name] = tuple(different)
    return found


def _as_ended(trials: pd.DataFrame) -> list[tuple[str, ...]]:
    columns = [trials[name] for name in ("number", "outcome", "value", "params")]
    return [tuple(map(repr, row)) for row in zip(*columns, strict=True)]


def _counted(
    studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, dict[int, int]]]:
    """Return the runs that count, with all columns of a run and ``place``, and the numbers of those of former winners.

    ``place`` is that of the run's configuration among the complete trials of its search: 1 for today's winner.
    """
    ended = confirmations[confirmations["outcome"].isin(COUNTED)]
    ended = ended[ended["study"].isin([study.name for study in studies])]
    of_trials = {(study.name, number): at for study in studies for number, at in places(study, trials).items()}
    searched = {study for study, _ in of_trials}
    told = _integers(ended, "rank")
    where = np.full(len(ended), 1)
    for row, (study, trial, rank) in enumerate(zip(ended["study"], _integers(ended, "confirms"), told, strict=True)):
        if trial is None or study not in searched:
            where[row] = 1 if rank is None or "confirms" in ended else rank
        else:
            where[row] = of_trials.get((study, trial), 0)
    former: dict[str, dict[int, int]] = {}
    chosen = np.array([rank in (None, 1) for rank in told], bool)
    if "confirms" in ended:
        for name, numbers in ended[(where != 1) & chosen].groupby("study")["confirms"]:
            former[str(name)] = dict(Counter(int(number) for number in numbers))
    runs = ended.assign(place=where)[where > 0].sort_values(["study", "number"], kind="stable", ignore_index=True)
    frame = runs.rename(columns={"value": "validation", "test_metric": "test"})
    for missing in {"test", "seed", "device", "confirms", "other_cores", "cores"} - set(frame.columns):
        frame[missing] = np.nan
    floats = ["test", "other_cores", "cores"]
    frame[floats] = frame[floats].astype("float64")
    exclusive = runs["exclusive"] if "exclusive" in runs else [None] * len(runs)
    frame["search"] = frame["study"].map({study.name: study.replicate for study in studies}).astype("int64")
    frame = frame[[*_RUNS, "place"]].copy()
    frame["exclusive"] = pd.Series(list(exclusive), dtype="boolean")
    return frame, former


def _integers(frame: pd.DataFrame, column: str) -> list[int | None]:
    if column not in frame:
        return [None] * len(frame)
    return [None if pd.isna(entry) else int(entry) for entry in frame[column]]


def _numbered(
    searches: Mapping[str, tuple[Study, ...]], runs: pd.DataFrame, curves: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return runs and curves under the name of the optimizer's study, with numbers that no two runs of it share."""
    names: dict[str, str] = {}
    before: dict[str, int] = {}
    last = runs.groupby("study")["number"].max()
    for name, every in searches.items():
        total = 0
        for search in every:
            names[search.name], before[search.name] = name, total
            total += int(last.get(search.name, -1)) + 1
    made = []
    for frame in (runs, curves[curves["study"].isin(list(names))]):
        number = frame["number"] + frame["study"].map(before).astype("int64")
        made.append(frame.assign(number=number, study=frame["study"].map(names)))
    return made[0], made[1]


def _contest(
    searches: Mapping[str, tuple[Study, ...]],
    trials: pd.DataFrame,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    former: Mapping[str, Mapping[int, int]],
    lost: Mapping[str, int],
) -> WorkloadRuns:
    first = next(iter(searches.values()))[0]
    sign = 1.0 if first.direction == "maximize" else -1.0
    split = str(first.attributes.get("metric_split", "validation"))
    runs = runs.copy()
    complete, wins = runs["outcome"] == "complete", runs["place"] == 1
    has_test = complete & np.isfinite(runs["test"])
    tested = split != "train" and bool((has_test & wins).any())
    runs["broken"] = ~(has_test if tested else complete)
    early = first_epochs(curves, runs[complete & wins])["value"].to_numpy(np.float64)
    begun = np.median(early, keepdims=True) if len(early) else early
    worst = _worst(sign, begun, runs.loc[complete & wins, "validation"].to_numpy(np.float64))
    runs.loc[~complete, "validation"] = worst
    if tested:
        ended = runs.loc[has_test & wins, "test"].to_numpy(np.float64)
        runs.loc[~has_test, "test"] = _worst(sign, np.array([worst]), ended)
    values = trials.loc[trials["outcome"] == "complete", "value"].to_numpy(np.float64)
    return WorkloadRuns(
        first.workload,
        first.metric,
        first.direction,
        split if split == "train" else "test" if tested else "validation",
        tuple(every[0] for every in searches.values()),
        trials,
        runs[wins].drop(columns="place").reset_index(drop=True),
        curves,
        former,
        lost,
        searches,
        runs[~wins].reset_index(drop=True),
        scale_of(first.scale, values, first.direction),
        floor_of(runs[["validation", "test"]].to_numpy(np.float64)),
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


def start(contest: WorkloadRuns) -> float:
    """Return the middle of all complete runs after their first epoch, greater is better; infinite without curves."""
    complete = contest.runs[contest.runs["outcome"] == "complete"]
    early = on_scale(first_epochs(contest.curves, complete)["value"], contest.scale, contest.floor)
    return contest.sign * float(np.median(early)) if len(early) else math.inf


def _worst(sign: float, *values: Floats) -> float:
    all_values = np.concatenate(values)
    finite = all_values[np.isfinite(all_values)]
    return sign * float((sign * finite).min()) if len(finite) else math.nan
