"""A budget of time, and what of it is spent: by this driver, and by those before it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Runs from the moment it is made, or from an earlier one.

    Attributes:
        budget: seconds; infinite where the time does not matter.
        began: when this driver began, in the seconds of ``time.monotonic``.
        before: seconds that earlier drivers spent.
    """

    budget: float = math.inf
    began: float = field(default_factory=time.monotonic)
    before: float = 0.0

    @property
    def limited(self) -> bool:
        """Whether the budget ends."""
        return math.isfinite(self.budget)

    def spent(self) -> float:
        """Seconds, those of earlier drivers included."""
        return self.before + time.monotonic() - self.began

    def left(self) -> float:
        """Seconds; below 0 when the budget is overdrawn."""
        return self.budget - self.spent()
