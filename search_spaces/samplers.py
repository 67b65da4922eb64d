"""Samplers: who proposes configurations of a search space. A sampler is one row of one table.

Those that learn (``tpe``, ``gp``, ``cmaes``) are Optuna's. ``random`` and ``qmc`` are ours, because Optuna's draw from
one stream in the order in which trials happen to be asked, and its quasi-random sampler draws independently until a
first trial has *finished*: with several workers neither gives trial *i* the same configuration twice. Ours are
functions of (seed, i) alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # late: the command line reads this table
    import numpy as np
    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

_CHUNK = 256  # points of the quasi-random sequence drawn at once; any number gives the same points


@dataclass(frozen=True, slots=True)
class Sampler:
    """Who proposes configurations: one that learns, which Optuna has, or points that come whatever was found.

    Args:
        in_words: What a report calls it.
        make: ``(seed, conditional) -> BaseSampler`` of one that learns; the second is whether the space is conditional.
        point: ``(seed, index, dimensions) -> (dimensions,)`` in [0, 1) of one that does not.
        needs_complete: Whether it learns from complete trials alone, and must be told a bad value of a diverged one.
    """

    in_words: str
    make: Callable[[int, bool], BaseSampler] | None = None
    point: Callable[[int, int, int], NDArray[np.float64]] | None = None
    needs_complete: bool = False

    @property
    def learns(self) -> bool:
        """Return whether it learns from what it is given; else its draws are independent, and stay so."""
        return self.make is not None

    def configuration(
        self, seed: int, index: int, distributions: Mapping[str, BaseDistribution]
    ) -> dict[str, Any] | None:
        """Return configuration ``index`` of a study's, a value for each distribution; ``None`` where it learns.

        It depends on nothing else: trial *i* gets point *i*, whatever the concurrency or a restart in between.
        """
        if self.point is None:
            return None
        names = sorted(distributions)
        point = self.point(seed, index, len(names)) if names else ()
        return {name: place(float(u), distributions[name]) for name, u in zip(names, point, strict=True)}


def _tpe(seed: int, conditional: bool) -> BaseSampler:
    """Return the tree-structured Parzen estimator, which counts trials that still run as bad ones.

    A conditional space has one joint density for each group of parameters that come together, so that every optimizer
    is searched as in a study of its own. No difference to independent densities could be shown on 16 made-up problems
    (``benchmarks/conditional_sampler.py``, under protocol 1: regret after 105 trials 0.026 ± 0.008 and 0.028 ± 0.006,
    of random search 0.060 ± 0.013); without groups a joint density is the independent one there, to the last digit.
    """
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, group=conditional, constant_liar=True)


def _gp(seed: int, _conditional: bool) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed)


def _cmaes(seed: int, _conditional: bool) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    # Categories, which it cannot, come from random sampling: known, and no reason for a warning a trial.
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


def random_point(seed: int, index: int, dimensions: int) -> NDArray[np.float64]:
    """Return point ``index`` of a stream of independent uniform points, shape ``(dimensions,)``, in [0, 1)."""
    import numpy as np

    return np.random.default_rng([seed, index]).random(dimensions)


def sobol_point(seed: int, index: int, dimensions: int) -> NDArray[np.float64]:
    """Return point ``index`` of the scrambled Sobol sequence (Owen 1998), shape ``(dimensions,)``, in [0, 1)."""
    point: NDArray[np.float64] = _sobol_chunk(seed, dimensions, index // _CHUNK)[index % _CHUNK]
    return point


@cache
def _sobol_chunk(seed: int, dimensions: int, chunk: int) -> NDArray[np.float64]:
    import numpy as np
    from scipy.stats import qmc  # a second and a half, which no other sampler needs

    engine = qmc.Sobol(d=dimensions, scramble=True, rng=np.random.default_rng(seed))
    if chunk:
        engine.fast_forward(chunk * _CHUNK)
    return np.asarray(engine.random(_CHUNK), dtype=np.float64)


def place(point: float, distribution: BaseDistribution) -> Any:
    """Return the value of ``distribution`` at quantile ``point`` in [0, 1).

    Raises:
        TypeError: For a distribution that Optuna does not have today.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

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


SAMPLERS: dict[str, Sampler] = {
    "tpe": Sampler("the tree-structured Parzen estimator", _tpe),
    "random": Sampler("random search", point=random_point),
    "qmc": Sampler("quasi-random search (scrambled Sobol points)", point=sobol_point),
    "gp": Sampler("Bayesian optimization with a Gaussian process", _gp, needs_complete=True),
    "cmaes": Sampler("CMA-ES", _cmaes, needs_complete=True),
}
"""By the name that campaigns give them."""
