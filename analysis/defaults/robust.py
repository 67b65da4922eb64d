"""One configuration of a study: the one in the middle of good ones, with no more digits than the data support."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.defaults.surrogates import Configuration, SurrogateStudy
from analysis.parameters import ParameterInfo

_MOST_DIGITS = 4
_ALLOWED = 0.1  # part of the surrogate's error that rounding may cost


def robust(surrogate: SurrogateStudy) -> dict[str, object]:
    """Return the complete trial whose neighbourhood has the best predicted metric, rounded.

    Only configurations that were run are looked at: a surrogate's own favourites are where it errs most.

    Args:
        surrogate: Of a study whose surrogate is trusted.
    """
    found = surrogate.candidates()
    points = surrogate.at(found)
    middle = surrogate.around(points).mean(axis=0)
    beyond = surrogate.around(points, limited=False).mean(axis=0)  # of neighbourhoods that are all as good as the best
    return rounded(surrogate, found[int(np.lexsort((beyond, middle))[-1])])


def rounded(surrogate: SurrogateStudy, configuration: Configuration) -> dict[str, object]:
    """Return the configuration with the fewest digits that cost no more than a tenth of the surrogate's error."""
    exact = float(surrogate.around(surrogate.at([configuration])).mean())
    allowed = _ALLOWED * surrogate.error
    infos = list(surrogate.study.parameters.values())
    for digits in range(1, _MOST_DIGITS + 1):
        found = with_digits(configuration, infos, digits)
        if float(surrogate.around(surrogate.at([found])).mean()) >= exact - allowed:
            return found
    return with_digits(configuration, infos, _MOST_DIGITS)


def with_digits(configuration: Configuration, parameters: Sequence[ParameterInfo], digits: int) -> dict[str, object]:
    """Return numbers with so many significant digits, of 1 − value where searched so, never outside their range.

    >>> beta = ParameterInfo("beta", "float", 0.5, 0.995, one_minus=True)
    >>> with_digits({"beta": 0.98765, "kind": "a"}, [beta], 1)
    {'beta': 0.99, 'kind': 'a'}
    """
    known = {parameter.name: parameter for parameter in parameters}
    return {name: _shorter(value, known.get(name), digits) for name, value in configuration.items()}


def _shorter(value: object, parameter: ParameterInfo | None, digits: int) -> object:
    if parameter is None or parameter.kind == "categorical" or isinstance(value, bool):
        return value
    if not isinstance(value, int | float | np.number):
        return value
    number = float(value)
    if parameter.one_minus:
        short = 1 - significant(1 - number, digits)
        short = float(f"{short:.12g}")  # 1 - 0.1 is not 0.9 but for this
    else:
        short = significant(number, digits)
    if not parameter.low <= short <= parameter.high:
        short = float(f"{number:.12g}")
        return short if parameter.kind != "int" and parameter.low <= short <= parameter.high else value
    return int(short) if parameter.kind == "int" else short


def significant(value: float, digits: int) -> float:
    """Return a number with so many significant digits.

    >>> significant(0.012345, 2), significant(64.0, 1), significant(0.0, 3)
    (0.012, 60.0, 0.0)
    """
    return float(f"{value:.{digits - 1}e}") if math.isfinite(value) else value
