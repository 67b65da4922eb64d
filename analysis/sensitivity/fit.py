"""The surrogate of a study, with all that it was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.parameters import ParameterInfo
from analysis.sensitivity.importance import Refit, refits
from analysis.sensitivity.outcomes import Floats, Outcomes


@dataclass(frozen=True, slots=True)
class Fit:
    """A study's trials on the unit cube, and the refits of the surrogate.

    Attributes:
        parameters: The d that vary.
        points: Positions of the used trials (n, d).
        used: These trials and their values.
        fitted: The refits.
        rng: Everything random comes from it.
        num_refits: Bootstrap draws.
        workers: Threads; nothing depends on them.
    """

    parameters: Sequence[ParameterInfo]
    points: Floats
    used: Outcomes
    fitted: Sequence[Refit]
    rng: np.random.Generator
    num_refits: int
    workers: int = 1

    @property
    def names(self) -> list[str]:
        """Of the parameters."""
        return [parameter.name for parameter in self.parameters]

    def again(self, points: Floats, goodness: Floats) -> Sequence[Refit]:
        """Return refits to other points (m, d) or values (m,)."""
        return refits(points, goodness, self.rng, num_refits=self.num_refits, workers=self.workers)
