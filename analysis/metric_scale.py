"""On which scale the values of a metric are compared: as they are, or as logarithms.

A gap or the loss of a physical problem spreads over decades. On a linear scale 1e-4 and 1e-10 are the same number, and
a difference of means is that of the worst runs. There the differences are of logarithms, which are told as ratios.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Scale = Literal["linear", "log"]

_DECADES = 2.0  # between the deciles of a metric's values from which it spreads over decades


def scale_of(told: Scale | None, values: ArrayLike, direction: str) -> Scale:
    """Return the scale of a metric: what its workload told, else what its values look like.

    Args:
        told: Of the study, see `analysis.study.Study.scale`.
        values: Of the complete trials of all optimizers on the workload, in units of the metric.
        direction: ``"maximize"`` or ``"minimize"``.

    >>> scale_of(None, [1e-8, 1e-5, 1e-2], "minimize"), scale_of(None, [0.3, 0.9, 2.0], "minimize")
    ('log', 'linear')
    """
    if told is not None:
        return told
    every = np.asarray(values, dtype=np.float64)
    finite = every[np.isfinite(every)]
    if direction != "minimize" or len(finite) < 2 or (finite < 0).any() or not (finite > 0).any():
        return "linear"
    low, high = np.quantile(np.log10(np.maximum(finite, finite[finite > 0].min())), [0.1, 0.9])
    return "log" if high - low >= _DECADES else "linear"


def on_scale(values: ArrayLike, scale: Scale, floor: float) -> Floats:
    """Return values on the scale on which they are compared: the natural logarithm where that is ``"log"``.

    Args:
        values: In units of the metric, any shape; NaN and infinite ones stay.
        scale: Of the metric.
        floor: What smaller values count as on a logarithmic scale, above 0 (see `floor_of`): a gap of nothing has no
            logarithm.

    >>> on_scale([1.0, 0.0], "log", 1.0).tolist(), on_scale([1.0, 0.0], "linear", 1.0).tolist()
    ([0.0, 0.0], [1.0, 0.0])
    """
    every = np.asarray(values, dtype=np.float64)
    return every if scale == "linear" else np.log(np.maximum(every, floor))


def factor(logarithm: float) -> float:
    """Return how many times a difference of natural logarithms is; infinite where floats end.

    >>> factor(0.0), factor(1e4), factor(-1e4)
    (1.0, inf, 0.0)
    """
    with np.errstate(over="ignore"):
        return float(np.exp(logarithm))


def floor_of(values: ArrayLike) -> float:
    """Return the smallest positive value, as that which values of 0 count on a logarithmic scale; 1 without one."""
    every = np.asarray(values, dtype=np.float64)
    positive = every[np.isfinite(every) & (every > 0)]
    return float(positive.min()) if len(positive) else 1.0
