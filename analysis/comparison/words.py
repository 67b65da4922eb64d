"""Numbers in words: no more digits than their intervals deserve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.load import Study


def estimate(value: float, low: float, high: float) -> str:
    """An estimate with its interval, to two digits of the interval's width, and more where an end would read as 0.

    >>> estimate(0.91234, 0.9101, 0.9146), estimate(0.5, math.nan, math.nan), estimate(2.0, 1.5, math.inf)
    ('0.9123 [0.9101, 0.9146]', '0.5', '2 [1.5, ∞]')
    >>> estimate(0.1, 0.0004, 0.2)
    '0.1000 [0.0004, 0.2000]'
    """
    if math.isnan(low) or math.isnan(high):
        return number(value)
    width = high - low
    if not (math.isfinite(width) and math.isfinite(value)) or width <= 0:
        return f"{number(value)} [{number(low)}, {number(high)}]"
    size = max(abs(value), abs(low), abs(high))
    if size >= 1e6 or size < 1e-4:
        return f"{value:.3g} [{low:.3g}, {high:.3g}]"
    digits = max(0, 1 - math.floor(math.log10(width)))
    nearest = min((abs(end) for end in (low, high) if end), default=1.0)
    if 0 < nearest < 0.5 * 10**-digits:
        digits = min(6, -math.floor(math.log10(nearest)))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def number(value: float) -> str:
    """A number with at most four digits; ∞ for infinite ones.

    >>> number(0.912345), number(-math.inf), number(math.nan)
    ('0.9123', '-∞', 'not known')
    """
    if math.isnan(value):
        return "not known"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def listing(words: Sequence[str]) -> str:
    """Words in a row.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def epochs(study: Study) -> str:
    """The epoch budget of a study's trials, as far as it is stored."""
    stored = study.attributes.get("epochs")
    return count(stored, "epoch") if isinstance(stored, int) else "an unknown number of epochs"


def count(n: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "run"), count(3, "run")
    ('1 run', '3 runs')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"
