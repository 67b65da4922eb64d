"""Regrets of recommended configurations that were run on the workloads, instead of a surrogate's word."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.defaults.measured import Measured, measured
from analysis.defaults.portfolio import WORST
from analysis.defaults.surrogates import Configuration, SurrogateStudy
from analysis.intervals import Floats
from analysis.schema import COUNTED
from analysis.study import Study
from search_spaces import configuration_key

_COLUMNS = ["study", "outcome", "value", "evaluates", "seed"]


class Evaluated:
    """What configurations reached on fresh seeds of workloads.

    Args:
        runs: As :func:`analysis.load.evaluations` gives them; those that did not end count for nothing. Of several
            runs of a configuration on one seed of a workload the first counts.
    """

    def __init__(self, runs: pd.DataFrame) -> None:
        self.frame = runs
        ended = runs[runs["outcome"].isin(COUNTED)]
        keys = np.array([configuration_key(given or {}) for given in ended["evaluates"]], object)
        if "seed" in ended:
            again = ended.assign(key=keys).duplicated(["study", "key", "seed"]) & ended["seed"].notna()
            ended, keys = ended[~again], keys[~again.to_numpy()]
        self._runs = {(str(study), str(key)): own for (study, key), own in ended.groupby([ended["study"], keys])}

    def with_winners(self, studies: Sequence[Study], trials: pd.DataFrame, confirmations: pd.DataFrame) -> Evaluated:
        """Return these and the confirmation runs, which are runs of winners on the workload that chose them.

        Args:
            studies: Whose trials were confirmed.
            trials: As :func:`analysis.load.trials` gives them.
            confirmations: As :func:`analysis.load.confirmations`; runs of a trial that is not known are left out.
        """
        if "confirms" not in confirmations or confirmations.empty:
            return self
        of = {study.name: study for study in studies}
        given = {
            (study, number): whole(of[study], params)
            for study, number, params in zip(trials["study"], trials["number"], trials["params"], strict=True)
            if study in of
        }
        places = zip(confirmations["study"], confirmations["confirms"], strict=True)
        evaluates = [None if pd.isna(number) else given.get((study, int(number))) for study, number in places]
        known = confirmations.assign(evaluates=pd.Series(evaluates, index=confirmations.index, dtype=object))
        known = known[[one is not None for one in evaluates]]
        frames = [frame.reindex(columns=_COLUMNS) for frame in (known, self.frame) if len(frame)]
        return Evaluated(pd.concat(frames, ignore_index=True) if frames else self.frame)

    def fewest(self, surrogates: Sequence[SurrogateStudy], configurations: Sequence[Configuration]) -> int:
        """Return the fewest runs that one of these configurations has on a workload where it was run; 0 without any."""
        keys = [(surrogate.study.name, configuration_key(one)) for surrogate in surrogates for one in configurations]
        return min((len(self._runs[key]) for key in keys if key in self._runs), default=0)

    def has(self, surrogate: SurrogateStudy, key: str) -> bool:
        """Return whether a configuration, as its key tells it, was run on the workload of a study."""
        return (surrogate.study.name, key) in self._runs

    def of(self, surrogate: SurrogateStudy, configuration: Configuration, start: float | None = None) -> Measured:
        """Return what a configuration reached on the workload of a study.

        Args:
            surrogate: Of the study.
            configuration: Stored values, fixed ones included.
            start: Goodness that training starts from; by default the study's own.
        """
        runs = self._runs.get((surrogate.study.name, configuration_key(configuration)))
        if runs is None:
            return Measured()
        return measured(surrogate, runs, surrogate.start if start is None else start)

    def best(self, surrogates: Sequence[SurrogateStudy]) -> float:
        """Return the best mean goodness on a workload that any configuration reached whose runs all came through.

        Args:
            surrogates: Of the studies on one workload.

        Returns:
            NaN where none did.
        """
        by_study = {surrogate.study.name: surrogate for surrogate in surrogates}
        means = [
            self._mean(by_study[study], runs) for (study, _), runs in sorted(self._runs.items()) if study in by_study
        ]
        return max((mean for mean, broken in means if not broken and math.isfinite(mean)), default=math.nan)

    def regrets(
        self,
        surrogate: SurrogateStudy,
        configurations: Sequence[Configuration],
        best: float | None = None,
        start: float | None = None,
    ) -> Floats:
        """Return how much worse than the best each configuration was, 0 to 1: shape (n,); NaN: it was not run.

        Of the mean over its runs, with 1 (what training starts from, or worse) for each run that broke.

        Args:
            surrogate: Of the study.
            configurations: Stored values, fixed ones included.
            best: Goodness of which nothing is regretted; by default the best of what was run there of the optimizer.
            start: Goodness that training starts from; by default the study's own.
        """
        reached = self.best([surrogate]) if best is None else best
        scale = surrogate.reach(reached, surrogate.start if start is None else start) if math.isfinite(reached) else 0.0
        return np.array([self._regret(surrogate, one, reached, scale) for one in configurations])

    def _regret(self, surrogate: SurrogateStudy, configuration: Configuration, best: float, scale: float) -> float:
        runs = self._runs.get((surrogate.study.name, configuration_key(configuration)))
        if runs is None:
            return math.nan
        mean, broken = self._mean(surrogate, runs)
        if math.isnan(mean) or math.isnan(best):
            return WORST
        came_through = min(max((best - mean) / scale, 0.0), WORST) if scale > 0 else 0.0
        return (1 - broken) * came_through + broken * WORST

    def _mean(self, surrogate: SurrogateStudy, runs: pd.DataFrame) -> tuple[float, float]:
        """Return the mean goodness of the runs that came through, NaN without any, and the share that broke."""
        values = runs.loc[runs["outcome"] == "complete", "value"].to_numpy(np.float64)
        goodness = float(surrogate.goodness(values).mean()) if len(values) else math.nan
        return goodness, 1 - len(values) / len(runs)


def whole(study: Study, searched: Configuration) -> dict[str, object]:
    """Return a configuration with the parameters that were not searched, in the order of the search space."""
    space = study.attributes.get("search_space") or {}
    order = list(space.get("parameters") or {}) or list(searched)
    values = {**study.fixed, **searched}
    return {name: values[name] for name in [*order, *(n for n in values if n not in order)] if name in values}
