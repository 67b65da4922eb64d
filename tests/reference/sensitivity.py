"""Functions on the unit cube whose Sobol indices are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    name: str
    function: Callable[[Floats], Floats]  # of points (n, d or more), the further coordinates do nothing
    first: Floats
    total: Floats


def ishigami(points: Floats) -> Floats:
    x = (2 * points - 1) * np.pi
    return np.asarray(np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))


def _ishigami() -> Truth:
    a, b = 7.0, 0.1
    one, two, both = 0.5 * (1 + b * np.pi**4 / 5) ** 2, a**2 / 8, b**2 * np.pi**8 * (1 / 18 - 1 / 50)
    variance = one + two + both
    first, total = np.array([one, two, 0.0]), np.array([one + both, two, both])
    return Truth("ishigami", ishigami, first / variance, total / variance)


_A = np.array([0.0, 1.0, 4.5, 9.0])


def sobol_g(points: Floats) -> Floats:
    return np.asarray(np.prod((np.abs(4 * points[:, : len(_A)] - 2) + _A) / (1 + _A), axis=1))


def _sobol_g() -> Truth:
    alone = 1 / (3 * (1 + _A) ** 2)
    variance = np.prod(1 + alone) - 1
    total = alone * np.prod(1 + alone) / (1 + alone)
    return Truth("sobol-g", sobol_g, alone / variance, total / variance)


ISHIGAMI, SOBOL_G = _ishigami(), _sobol_g()
FUNCTIONS = (ISHIGAMI, SOBOL_G)
