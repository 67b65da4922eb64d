"""What a study knows of any configuration: its surrogate, and regrets on a scale that workloads share.

Goodness is the metric on the scale on which it is compared (see :mod:`analysis.metric_scale`), its sign turned where
less is better: of a gap −log(gap), so that a gap of 1e-4 is far from one of 1e-10.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparison.workload_runs import first_epochs
from analysis.intervals import Floats
from analysis.metric_scale import Scale, floor_of, on_scale, scale_of
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.eligibility import obstacle, usable, within
from analysis.sensitivity.importance import MINIMUM_R2, Refit, error_among_good, predictions, refits, score
from analysis.sensitivity.outcomes import Outcomes, in_metric, outcomes
from analysis.sensitivity.robustness import STEP, cube
from analysis.study import Study
from analysis.winners import ranked

Configuration = Mapping[str, object]
"""Stored values by parameter, as trials have them."""

SEED = 0
"""Of the surrogates that recommend, be it to ``sofim export``, ``evaluate`` or ``report``: they recommend the same."""
_NEIGHBOURS = 32
_CANDIDATES = 64  # of the complete trials, those that are predicted to be the best


@dataclass(frozen=True, slots=True)
class SurrogateStudy:
    """A study and the surrogate of its metric.

    Attributes:
        study: The study.
        parameters: D, those that vary.
        used: The trials that have a value.
        points: Their positions (n, d), NaN where inactive.
        fitted: Refits of the surrogate; empty where none could be fitted.
        reason: Why the surrogate must not be trusted, or ``None``.
        start: Goodness that training starts from: the median of complete trials after their first epoch.
        winner: The configuration of the best complete trial, or ``None`` without one.
        offsets: (m, d) by which neighbours lie around a configuration, at most a tenth of the range to either side.
        scale: On which the metric is compared.
        floor: What a value of 0 counts as on a logarithmic scale.
        first_losses: Training losses after the first epoch of the trials that did not diverge, (k,).
    """

    study: Study
    parameters: Sequence[ParameterInfo]
    used: Outcomes
    points: Floats
    fitted: Sequence[Refit]
    reason: str | None
    start: float
    winner: Configuration | None
    offsets: Floats
    scale: Scale = "linear"
    floor: float = 1.0
    first_losses: Floats = field(default_factory=lambda: np.empty(0))

    def goodness(self, values: Floats) -> Floats:
        """Return values of the metric as goodness, same shape."""
        above = values if self.scale == "linear" else np.where(values <= 0, self.floor, values)
        return self.used.sign * on_scale(above, self.scale, np.finfo(np.float64).tiny)

    def metric(self, goodness: Floats | float) -> Floats:
        """Return goodness as values of the metric, same shape."""
        return in_metric(np.asarray(goodness), self.used.sign, self.scale)

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which values the metric lies, see `analysis.study.Study.bounds`."""
        return self.study.bounds(self.metric(self.used.goodness))

    @property
    def ceiling(self) -> float:
        """Goodness of the best complete trial; of the best trial without one."""
        own = self.used.goodness[self.complete] if len(self.complete) else self.used.goodness
        return float(own.max())

    @property
    def trusted(self) -> bool:
        """Whether the surrogate may be asked."""
        return self.reason is None

    @property
    def complete(self) -> NDArray[np.intp]:
        """Indices of the used trials that are complete, in their order."""
        return np.flatnonzero((self.used.trials["outcome"].to_numpy() == "complete") & ~self.used.failed)

    @property
    def error(self) -> float:
        """Of the surrogate near the best, in units of goodness."""
        return error_among_good(self.fitted, self.used.goodness)

    def around(self, points: Floats, *, limited: bool = True) -> Floats:
        """Predicted goodness averaged over the neighbourhood of ``points`` (n, d): shape (refits, n).

        Numbers move, categories stay; inactive parameters stay inactive.

        Args:
            points: Positions.
            limited: Whether a prediction beyond the best complete trial counts as that trial, and one below the worst
                value as that. A rescaled forest predicts beyond what it was fitted to, and an accuracy beyond 1.
        """
        moved = np.clip(points[:, None, :] + self.offsets[None, :, :], 0.0, 1.0)
        n, m, d = moved.shape
        predicted = predictions(self.fitted, moved.reshape(n * m, d)).reshape(len(self.fitted), n, m)
        if limited:
            predicted = np.clip(predicted, min(float(self.used.goodness.min()), self.ceiling), self.ceiling)
        return np.asarray(predicted.mean(axis=2))

    def predicted(self, configuration: Configuration) -> Floats:
        """Return the metric around a configuration as the refits predict it, shape (refits,).

        Empty where the surrogate may not be asked, or its prediction is better than the best trial: what nobody
        reached is no prediction.
        """
        if not self.trusted:
            return np.empty(0)
        point = self.at([configuration])
        if float(self.around(point, limited=False).mean()) > self.ceiling:
            return np.empty(0)
        return self.metric(self.around(point)[:, 0])

    def at(self, configurations: Sequence[Configuration]) -> Floats:
        """Return positions of configurations (n, d), which another study may have found.

        A value outside the range is moved to the range's end, the nearest of which something is known; a choice that is
        none is inactive.
        """
        points = scales.encode(self.parameters, list(configurations))
        return np.where(np.isinf(points), scales.INACTIVE, np.clip(points, 0.0, 1.0))

    def candidates(self) -> list[Configuration]:
        """Return the complete trials that are predicted to be the best, best prediction first."""
        complete = self.complete
        order = np.argsort(-predictions(self.fitted, self.points[complete]).mean(axis=0), kind="stable")
        chosen = complete[order[:_CANDIDATES]]
        return [dict(self.used.trials["params"].iloc[place]) for place in chosen]

    def knows(self, configuration: Configuration) -> bool:
        """Return whether a configuration has all that the study searched, and what it fixed."""
        searched = all(parameter.name in configuration for parameter in self.parameters)
        fixed = self.study.fixed
        return searched and all(configuration.get(name, value) == value for name, value in fixed.items())

    def regrets(
        self, configurations: Sequence[Configuration], best: float | None = None, start: float | None = None
    ) -> Floats:
        """Return how much worse than the best each configuration is predicted to be, 0 to 1 (n,); NaN: not known.

        1 is what training starts from, or worse.

        Args:
            configurations: Stored values.
            best: Goodness of which nothing is regretted; by default that of the best neighbourhood among the complete
                trials.
            start: Goodness that training starts from; by default this study's own.
        """
        reached = self.best if best is None else best
        scale = self.reach(reached, self.start if start is None else start)
        found = self.around(self.at(configurations)).mean(axis=0)
        regret = np.clip((reached - found) / scale, 0.0, 1.0) if scale > 0 else np.zeros(len(configurations))
        return np.where([self.knows(configuration) for configuration in configurations], regret, np.nan)

    @property
    def won(self) -> float:
        """Goodness of the best complete trial; minus infinity without one."""
        return -math.inf if self.used.best is None else float(self.used.goodness[self.used.best])

    def regret_of_winner(self, best: float, start: float) -> float:
        """Return how much worse than ``best`` the best complete trial was, as `regrets` has it; NaN without one."""
        if math.isinf(self.won):
            return math.nan
        scale = self.reach(best, start)
        return min(max((best - self.won) / scale, 0.0), 1.0) if scale > 0 else 0.0

    @property
    def best(self) -> float:
        """Predicted goodness of the best neighbourhood among the complete trials."""
        return float(self.around(self.at(self.candidates())).mean(axis=0).max())

    def reach(self, best: float, start: float) -> float:
        """Return goodness that training gains in all, by which regrets are divided; 0 where it gains nothing."""
        worst = start if start < best else float(self.used.goodness.min())
        return max(0.0, best - worst)


def common_start(surrogates: Sequence[SurrogateStudy]) -> float:
    """Return goodness that training starts from, one for all optimizers of a workload: the median of theirs.

    ``inf`` where none is known.
    """
    starts = [surrogate.start for surrogate in surrogates if math.isfinite(surrogate.start)]
    return float(np.median(starts)) if starts else math.inf


def surrogate_study(
    study: Study, trials: pd.DataFrame, curves: pd.DataFrame, rng: np.random.Generator, *, num_refits: int = 20
) -> SurrogateStudy:
    """Fit the surrogate of one study.

    Args:
        study: The study.
        trials: As :func:`analysis.load.trials` gives them. Of others' rows those on the same workload tell the scale
            of the metric.
        curves: As :func:`analysis.load.curves`.
        rng: Everything random comes from it.
        num_refits: Bootstrap draws.
    """
    own = trials[trials["study"] == study.name]
    history = curves[curves["study"] == study.name]
    searched, _ = within(list(study.parameters.values()), own, study.direction)
    fellows = trials[trials["workload"] == study.workload] if "workload" in trials else own
    values = fellows.loc[fellows["outcome"] == "complete", "value"].to_numpy(np.float64)
    scale, floor = scale_of(study.scale, values, study.direction), floor_of(values)
    history = history.assign(value=on_scale(history["value"], scale, floor))
    compared = searched.assign(value=on_scale(searched["value"], scale, floor))
    used = outcomes(compared, history, direction=study.direction)
    parameters, points, _ = usable(list(study.parameters.values()), used)
    reason = obstacle(compared, used, len(parameters))
    fitted: Sequence[Refit] = []
    if reason is None:
        fitted = refits(points, used.goodness, rng, num_refits=num_refits)
        r2 = score(fitted, used.goodness)
        if not r2 >= MINIMUM_R2:
            reason = f"the surrogate explains too little (out-of-bag R² {r2:.2f}, at least {MINIMUM_R2} is needed)"
    offsets = (2 * cube(_NEIGHBOURS, max(1, len(parameters)), rng) - 1) * STEP
    offsets = offsets[:, : len(parameters)]
    for column, parameter in enumerate(parameters):
        if parameter.kind == "categorical":
            offsets[:, column] = 0.0
    best = ranked(study, own)
    return SurrogateStudy(
        study=study,
        parameters=parameters,
        used=used,
        points=points,
        fitted=fitted,
        reason=reason,
        start=_start(own, history, used.sign),
        winner=dict(best.iloc[0]["params"]) if len(best) else None,
        offsets=offsets,
        scale=scale,
        floor=floor,
        first_losses=_first_losses(own, history),
    )


def _start(trials: pd.DataFrame, history: pd.DataFrame, sign: float) -> float:
    """Return goodness after the first epoch, the median of complete trials; ``inf`` where there are no curves."""
    early = first_epochs(history, trials[trials["outcome"] == "complete"])["value"].to_numpy(np.float64)
    return sign * float(np.median(early)) if len(early) else math.inf


def _first_losses(trials: pd.DataFrame, history: pd.DataFrame) -> Floats:
    """Return training losses after the first epoch of the trials that did not diverge."""
    if "train_loss" not in history:
        return np.empty(0)
    counted = trials[trials["outcome"].isin(["complete", "pruned"])]
    losses = first_epochs(history, counted)["train_loss"].to_numpy(np.float64)
    return np.asarray(losses[np.isfinite(losses)])
