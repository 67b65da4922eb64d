"""The finished searches of a campaign, as an audit looks at them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metric_scale import floor_of, on_scale, scale_of
from analysis.parameters import ParameterInfo
from analysis.schema import COUNTED
from analysis.sensitivity import scales
from analysis.study import Study
from analysis.winners import finished, ranked

_FEWEST_SEEDS = 3  # of the winner, which tell how much seeds alone change


@dataclass(frozen=True, slots=True)
class Search:
    """One finished search.

    Attributes:
        study: Its study.
        trials: Of it that count.
        complete: The complete ones, best first.
        curves: Of them all, the metric an epoch: rows are trial numbers, columns epochs; NaN where not reached.
        measured: The metric of the trials, in its own unit, by their numbers.
        spread: Standard deviation of the metric over the seeds on which the winner was confirmed; NaN below three.
    """

    study: Study
    trials: pd.DataFrame
    complete: pd.DataFrame
    curves: pd.DataFrame
    measured: Mapping[int, float]
    spread: float

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return 1.0 if self.study.direction == "maximize" else -1.0

    @property
    def varying(self) -> list[ParameterInfo]:
        """The parameters that had more than one value to take."""
        return [one for one in self.study.parameters.values() if scales.varies(one)]


def search_of(study: Study, trials: pd.DataFrame, curves: pd.DataFrame, runs: pd.DataFrame) -> Search | None:
    """Return a search that is finished and has a complete trial, else ``None``; values on the scale of the metric."""
    own = trials[trials["study"] == study.name].sort_values("number", kind="stable")
    if not finished(study, own) or not len(ranked(study, own)):
        return None
    fellows = trials[trials["workload"] == study.workload] if "workload" in trials else own
    values = fellows.loc[fellows["outcome"] == "complete", "value"].to_numpy(np.float64)
    scale, floor = scale_of(study.scale, values, study.direction), floor_of(values)
    raw = dict(zip(own["number"], own["value"], strict=True))
    own = own.assign(value=on_scale(own["value"], scale, floor))
    epochs = curves[curves["study"] == study.name]
    table = epochs.assign(value=on_scale(epochs["value"], scale, floor))
    table = table.pivot_table(index="number", columns="epoch", values="value")
    complete = ranked(study, own)
    confirmed = runs[(runs["study"] == study.name) & (runs["outcome"] == "complete")]
    if "confirms" in confirmed:
        confirmed = confirmed[confirmed["confirms"] == complete.iloc[0]["number"]]
    over_seeds = on_scale(confirmed["value"], scale, floor)
    spread = float(over_seeds.std(ddof=1)) if len(over_seeds) >= _FEWEST_SEEDS else math.nan
    return Search(study, own[own["outcome"].isin(COUNTED)], complete, table, raw, spread)
