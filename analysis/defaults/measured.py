"""Regrets of recommended configurations that were run on the workloads, instead of a surrogate's word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.comparison.contest import COUNTED
from analysis.comparison.intervals import Floats
from analysis.defaults.landscape import Configuration, Landscape
from analysis.defaults.portfolio import WORST
from search_spaces import configuration_key


class Measured:
    """What configurations reached on fresh seeds of workloads.

    Args:
        runs: as :func:`analysis.load.evaluations` gives them; those that did not end count for nothing.
    """

    def __init__(self, runs: pd.DataFrame) -> None:
        ended = runs[runs["outcome"].isin(COUNTED)]
        keys = [configuration_key(given or {}) for given in ended["evaluates"]]
        self._runs = {(str(study), key): own for (study, key), own in ended.groupby([ended["study"], keys])}

    def seeds(self, lands: Sequence[Landscape], configurations: Mapping[str, Sequence[Configuration]]) -> int:
        """The fewest runs that a configuration has on a workload; 0 where one was not run.

        Args:
            lands: of all studies.
            configurations: what was run, by the optimizer.
        """
        keys = [
            (land.study.name, configuration_key(one)) for land in lands for one in configurations[land.study.optimizer]
        ]
        return min((len(self._runs[key]) if key in self._runs else 0 for key in keys), default=0)

    def best(self, lands: Sequence[Landscape], configurations: Mapping[str, Sequence[Configuration]]) -> float:
        """The best mean goodness on a workload that any configuration reached whose runs all came through.

        Args:
            lands: of the studies on one workload.
            configurations: what was run, by the optimizer.

        Returns:
            NaN where none did.
        """
        means = [self._mean(land, one) for land in lands for one in configurations[land.study.optimizer]]
        whole = [mean for mean, broken in means if not broken and math.isfinite(mean)]
        return max(whole, default=math.nan)

    def regrets(
        self,
        land: Landscape,
        configurations: Sequence[Configuration],
        best: float | None = None,
        start: float | None = None,
    ) -> Floats:
        """How much worse than the best each configuration was, 0 to 1: shape (n,); NaN: it was not run.

        Of the mean over its runs, with 1 (what training starts from, or worse) for each run that broke.

        Args:
            land: of the study.
            configurations: stored values, fixed ones included.
            best: goodness of which nothing is regretted; by default the best of these.
            start: goodness that training starts from; by default the study's own.
        """
        optimizer = land.study.optimizer
        reached = self.best([land], {optimizer: configurations}) if best is None else best
        scale = land.reach(reached, land.start if start is None else start) if math.isfinite(reached) else 0.0
        return np.array([self._regret(land, one, reached, scale) for one in configurations])

    def _regret(self, land: Landscape, configuration: Configuration, best: float, scale: float) -> float:
        mean, broken = self._mean(land, configuration)
        if math.isnan(broken):
            return math.nan
        if math.isnan(mean) or math.isnan(best):
            return WORST
        came_through = min(max((best - mean) / scale, 0.0), WORST) if scale > 0 else 0.0
        return (1 - broken) * came_through + broken * WORST

    def _mean(self, land: Landscape, configuration: Configuration) -> tuple[float, float]:
        """Mean goodness of the runs that came through, and the share of those that broke; NaN without any run."""
        runs = self._runs.get((land.study.name, configuration_key(configuration)))
        if runs is None:
            return math.nan, math.nan
        values = runs.loc[runs["outcome"] == "complete", "value"].to_numpy(np.float64)
        goodness = land.used.sign * float(values.mean()) if len(values) else math.nan
        return goodness, 1 - len(values) / len(runs)
