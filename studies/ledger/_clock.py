"""A budget of time, and what of it is spent: by this driver, and by those before it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Runs from the moment it is made, or from an earlier one.

    Attributes:
        budget: seconds; infinite where the time does not matter.
        began: when this driver began, in the seconds of ``now``.
        before: seconds that earlier drivers spent.
        now: tells the time in seconds.
    """

    budget: float = math.inf
    began: float = field(default_factory=time.monotonic)
    before: float = 0.0
    now: Callable[[], float] = time.monotonic

    @property
    def limited(self) -> bool:
        """Whether the budget ends."""
        return math.isfinite(self.budget)

    def spent(self) -> float:
        """Seconds, those of earlier drivers included."""
        return self.before + self.now() - self.began

    def left(self) -> float:
        """Seconds; below 0 when the budget is overdrawn."""
        return self.budget - self.spent()
