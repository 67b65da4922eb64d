"""Regrets of recommended configurations that were run on the workloads, instead of a surrogate's word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.defaults.portfolio import WORST
from analysis.defaults.surrogates import Configuration, SurrogateStudy
from analysis.intervals import Floats
from analysis.schema import COUNTED
from search_spaces import configuration_key


class Evaluated:
    """What configurations reached on fresh seeds of workloads.

    Args:
        runs: As :func:`analysis.load.evaluations` gives them; those that did not end count for nothing.
    """

    def __init__(self, runs: pd.DataFrame) -> None:
        ended = runs[runs["outcome"].isin(COUNTED)]
        keys = [configuration_key(given or {}) for given in ended["evaluates"]]
        self._runs = {(str(study), key): own for (study, key), own in ended.groupby([ended["study"], keys])}

    def seeds(self, surrogates: Sequence[SurrogateStudy], configurations: Mapping[str, Sequence[Configuration]]) -> int:
        """Return the fewest runs that a configuration has on a workload; 0 where one was not run.

        Args:
            surrogates: Of all studies.
            configurations: What was run, by the optimizer.
        """
        keys = [
            (surrogate.study.name, configuration_key(one))
            for surrogate in surrogates
            for one in configurations[surrogate.study.optimizer]
        ]
        return min((len(self._runs[key]) if key in self._runs else 0 for key in keys), default=0)

    def best(
        self, surrogates: Sequence[SurrogateStudy], configurations: Mapping[str, Sequence[Configuration]]
    ) -> float:
        """Return the best mean goodness on a workload that any configuration reached whose runs all came through.

        Args:
            surrogates: Of the studies on one workload.
            configurations: What was run, by the optimizer.

        Returns:
            NaN where none did.
        """
        means = [
            self._mean(surrogate, one) for surrogate in surrogates for one in configurations[surrogate.study.optimizer]
        ]
        whole = [mean for mean, broken in means if not broken and math.isfinite(mean)]
        return max(whole, default=math.nan)

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
            best: Goodness of which nothing is regretted; by default the best of these.
            start: Goodness that training starts from; by default the study's own.
        """
        optimizer = surrogate.study.optimizer
        reached = self.best([surrogate], {optimizer: configurations}) if best is None else best
        scale = surrogate.reach(reached, surrogate.start if start is None else start) if math.isfinite(reached) else 0.0
        return np.array([self._regret(surrogate, one, reached, scale) for one in configurations])

    def _regret(self, surrogate: SurrogateStudy, configuration: Configuration, best: float, scale: float) -> float:
        mean, broken = self._mean(surrogate, configuration)
        if math.isnan(broken):
            return math.nan
        if math.isnan(mean) or math.isnan(best):
            return WORST
        came_through = min(max((best - mean) / scale, 0.0), WORST) if scale > 0 else 0.0
        return (1 - broken) * came_through + broken * WORST

    def _mean(self, surrogate: SurrogateStudy, configuration: Configuration) -> tuple[float, float]:
        """Return the mean goodness of the runs that came through, and the share that broke; NaN without any."""
        runs = self._runs.get((surrogate.study.name, configuration_key(configuration)))
        if runs is None:
            return math.nan, math.nan
        values = runs.loc[runs["outcome"] == "complete", "value"].to_numpy(np.float64)
        goodness = surrogate.used.sign * float(values.mean()) if len(values) else math.nan
        return goodness, 1 - len(values) / len(runs)
