"""What a person writes as a budget, a time or a number of trials, and as a time alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from analysis.text import format_duration
from search_spaces.errors import UserError, number_of
from studies.campaign._checks import MOST

SHORTEST_SECONDS = 20.0
"""Below it there is time to start and to end, and none for a trial in between."""

_UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_LONGEST_SECONDS = 366 * 86400.0
_PART = r"(\d+(?:\.\d+)?)\s*(d|h|min|m|sec|s)"
_EXAMPLES = "a time such as 1h, 30min or 90s, or a number of trials such as 200"


@dataclass(frozen=True, slots=True)
class Budget:
    """Either ``seconds`` on the clock, or a number of ``trials``."""

    seconds: float | None = None
    trials: int | None = None

    def stored(self) -> dict[str, float | int]:
        """Return the budget as JSON can hold it."""
        return {"seconds": self.seconds} if self.seconds is not None else {"trials": self.trials or 0}

    def __str__(self) -> str:
        return number_of(self.trials or 0, "trial") if self.seconds is None else format_duration(self.seconds)


def parse_budget(budget: str | int | timedelta) -> Budget:
    """Return what is meant: ``"1h"``, ``"30min"``, ``"90s"``, ``"1h30min"`` are times, a plain number counts trials.

    Raises:
        UserError: It is neither, or nothing can be done with it.

    >>> parse_budget("1.5h"), parse_budget("200")
    (Budget(seconds=5400.0, trials=None), Budget(seconds=None, trials=200))
    """
    if isinstance(budget, timedelta):
        return _time(budget.total_seconds(), str(budget))
    text = str(budget).strip().lower()
    if not isinstance(budget, bool) and re.fullmatch(r"-?\d+", text, re.ASCII):
        if not 1 <= len(text) <= 9 or not 1 <= int(text) <= MOST:
            raise UserError(f"budget {text[:20]}: a number of trials is from 1 to {MOST}")
        return Budget(trials=int(text))
    seconds = _seconds(text)
    if seconds is None:
        raise UserError(f"budget {str(budget)[:60]!r}: must be {_EXAMPLES}")
    return _time(seconds, text)


def parse_time(option: str, given: str | timedelta) -> float:
    """Return the seconds that an option names, which is a time alone: ``"10m"``, ``"1h30min"``.

    Raises:
        UserError: It is no time, shorter than a second, or longer than a year.

    >>> parse_time("--trial-timeout", "10m")
    600.0
    """
    text = str(given).strip().lower()
    seconds = given.total_seconds() if isinstance(given, timedelta) else _seconds(text)
    if seconds is None or seconds < 1:
        raise UserError(f"{option} {str(given)[:60]}: must be a time from a second, such as 1h, 10min or 90s")
    if seconds > _LONGEST_SECONDS:
        raise UserError(f"{option} {str(given)[:60]}: too long; give at most a year")
    return seconds


def _seconds(text: str) -> float | None:
    """Return the seconds of a time in lower case, ``None`` if it is none."""
    if not re.fullmatch(rf"(?:{_PART}\s*)+", text, re.ASCII):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text, re.ASCII))


def _time(seconds: float, shown: str) -> Budget:
    if seconds < SHORTEST_SECONDS:
        raise UserError(
            f"budget {shown[:60]}: too short, start and end alone take {SHORTEST_SECONDS:g} s; give a minute or more"
        )
    if seconds > _LONGEST_SECONDS:
        raise UserError(f"budget {shown[:60]}: too long; give at most a year")
    return Budget(seconds=seconds)
