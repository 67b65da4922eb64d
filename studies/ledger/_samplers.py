"""Which sampler and which pruner a campaign's words stand for.

Adaptive samplers (``tpe``, ``gp``, ``cmaes``) are Optuna's. ``random`` and ``qmc`` are ours, because Optuna's draw
from one stream in the order in which trials happen to be asked, and its quasi-random sampler draws independently until
a first trial has *finished*: with several workers neither gives trial *i* the same configuration twice. Ours are
functions of (seed, i) alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 256  # points of the quasi-random sequence drawn at once; any number gives the same points


@cache
def _sobol_chunk(seed: int, dimensions: int, chunk: int) -> NDArray[np.float64]:
    from scipy.stats import qmc  # a second and a half, which no other sampler needs

    engine = qmc.Sobol(d=dimensions, scramble=True, rng=np.random.default_rng(seed))
    if chunk:
        engine.fast_forward(chunk * _CHUNK)
    return np.asarray(engine.random(_CHUNK), dtype=np.float64)


def sobol_point(seed: int, index: int, dimensions: int) -> NDArray[np.float64]:
    """Point ``index`` of the scrambled Sobol sequence (Owen 1998), shape ``(dimensions,)``, in [0, 1)."""
    point: NDArray[np.float64] = _sobol_chunk(seed, dimensions, index // _CHUNK)[index % _CHUNK]
    return point


def random_point(seed: int, index: int, dimensions: int) -> NDArray[np.float64]:
    """Point ``index`` of a stream of independent uniform points, shape ``(dimensions,)``, in [0, 1)."""
    return np.random.default_rng([seed, index]).random(dimensions)


def place(point: float, distribution: BaseDistribution) -> Any:
    """The value of ``distribution`` at quantile ``point`` in [0, 1).

    Raises:
        TypeError: for a distribution that Optuna does not have today.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(point * len(distribution.choices)), len(distribution.choices) - 1)]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"no quantiles for {type(distribution).__name__}")
    low, high = float(distribution.low), float(distribution.high)
    if isinstance(distribution, IntDistribution):  # every integer owns a unit of the axis, ends included
        step = 1 if distribution.log else distribution.step
        low, high = low - 0.5 * step, high + 0.5 * step
    if distribution.log:
        value = math.exp(math.log(low) + point * (math.log(high) - math.log(low)))
    else:
        value = low + point * (high - low)
    if isinstance(distribution, IntDistribution):
        step = 1 if distribution.log else distribution.step
        rounded = distribution.low + step * round((value - distribution.low) / step)
        return min(max(rounded, distribution.low), distribution.high)
    if distribution.step is not None:
        value = distribution.low + distribution.step * round((value - distribution.low) / distribution.step)
    return min(max(value, distribution.low), distribution.high)


class IndexedPlan:
    """Configurations by their index alone: trial *i* gets point *i*, whatever the concurrency or a restart in between.

    Args:
        point: ``(seed, index, dimensions) -> (dimensions,)`` in [0, 1): :func:`random_point` or :func:`sobol_point`.
        seed: of the study.
    """

    def __init__(self, point: Callable[[int, int, int], NDArray[np.float64]], seed: int) -> None:
        self._point = point
        self._seed = seed

    def configuration(self, index: int, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """Configuration ``index``: one value for each distribution, in the order of their names."""
        names = sorted(distributions)
        if not names:
            return {}
        point = self._point(self._seed, index, len(names))
        return {name: place(float(u), distributions[name]) for name, u in zip(names, point, strict=True)}


def make_plan(sampler: str, seed: int) -> IndexedPlan | None:
    """The plan of a sampler that does not learn, or ``None`` for one that does."""
    points = {"random": random_point, "qmc": sobol_point}
    return IndexedPlan(points[sampler], seed) if sampler in points else None


def make_sampler(sampler: str, seed: int, *, conditional: bool = False) -> optuna.samplers.BaseSampler:
    """Optuna's sampler for a campaign's ``sampler``, seeded; for ``random`` and ``qmc`` it is never asked.

    A ``conditional`` space has one joint density for each group of parameters that come together, so that every
    optimizer is searched as in a study of its own. No difference to independent densities could be shown on 16 made-up
    problems (``benchmarks/conditional_sampler.py``: regret after 105 trials 0.026 ± 0.008 and 0.028 ± 0.006, of random
    search 0.060 ± 0.013); without groups a joint density is the independent one there, to the last digit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if sampler == "tpe" and conditional:
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        if sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        if sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        if sampler == "cmaes":
            # categories, which it cannot, come from random sampling: known, and no reason for a warning a trial
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(seed=seed)


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """A value of ``distribution``, drawn by the sampler of the trial's study.

    Raises:
        TypeError: for a distribution that Optuna does not have today.
    """
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    raise TypeError(f"no way to draw from {type(distribution).__name__}")


def make_pruner(pruner: str, epochs: int) -> optuna.pruners.BasePruner:
    """Optuna's pruner for a campaign's ``pruner``; a trial's resource is its epochs, from 1 to ``epochs``."""
    if pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    if pruner == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return optuna.pruners.NopPruner()
