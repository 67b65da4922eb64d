"""A campaign's changes to one parameter: a narrower or wider range, some of the choices, or one fixed value."""

from __future__ import annotations

import dataclasses
import math

from search_spaces._parameter import Interval, Parameter, Value
from search_spaces.errors import UserError, shown


def override(name: str, parameter: Parameter, setting: object) -> Parameter | Value:
    """Return ``parameter`` with the range or the choices of ``setting``, or the value that ``setting`` fixes.

    Args:
        name: The parameter's name, for the messages.
        parameter: What is to be changed.
        setting: ``[low, high]`` on the stored scale, a list of choices for a categorical parameter, or one value.

    Returns:
        The changed parameter, its default clipped into the new range (the first choice where it is no longer one), or
        a fixed value. Whoever writes a range wants it searched, so that its rank becomes 1.

    Raises:
        UserError: ``setting`` is nothing that the parameter or its optimizer accepts.
    """
    if parameter.scale == "categorical":
        return _override_choices(name, parameter, setting)
    if not isinstance(setting, list | tuple):
        return _number(name, parameter, setting, setting)
    if len(setting) != 2:
        raise _refusal(name, parameter, setting, "is not a range of two numbers")
    low, high = (_number(name, parameter, end, setting) for end in setting)
    if low == high:
        raise _refusal(name, parameter, setting, f"is an empty range (to fix the value, write {name} = {low})")
    if low > high:
        raise _refusal(name, parameter, setting, f"is a reversed range (write [{high}, {low}])")
    if low <= 0 and parameter.scale in ("log", "int-log"):
        raise _refusal(name, parameter, setting, "reaches 0 or below, which a log scale cannot")
    default = min(max(_plain(parameter.default), low), high)
    return dataclasses.replace(parameter, low=low, high=high, default=default, rank=1)


def _override_choices(name: str, parameter: Parameter, setting: object) -> Parameter | Value:
    allowed = parameter.accepts if isinstance(parameter.accepts, tuple) else ()
    chosen = tuple(setting) if isinstance(setting, list | tuple) else (setting,)
    for value in chosen:
        if not any(value == choice and type(value) is type(choice) for choice in allowed):
            raise _refusal(name, parameter, setting, "is not one of its choices")
    if not isinstance(setting, list | tuple):
        return setting  # type: ignore[return-value]  # it equals a choice and has its type
    if not chosen or len(set(chosen)) < len(chosen):
        raise _refusal(name, parameter, setting, "is empty or names a choice twice")
    default = parameter.default if parameter.default in chosen else chosen[0]
    return dataclasses.replace(parameter, choices=chosen, default=default, rank=1)


def _number(name: str, parameter: Parameter, value: object, setting: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refusal(name, parameter, setting, "is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refusal(name, parameter, setting, "is not finite")
    if parameter.is_integer and not number.is_integer():
        raise _refusal(name, parameter, setting, "is not a whole number")
    if isinstance(parameter.accepts, Interval) and number not in parameter.accepts:
        raise _refusal(name, parameter, setting, "is not accepted by the optimizer")
    return int(value) if parameter.is_integer else number


def _plain(value: Value) -> float:
    """Return a numeric parameter's default as the number it is."""
    if isinstance(value, str):
        raise UserError(f"{shown(value)} is not a number")
    return value


def _refusal(name: str, parameter: Parameter, setting: object, why: str) -> UserError:
    """Return the one line: key, value, why not, and what is allowed."""
    if isinstance(parameter.accepts, Interval):
        kind = "whole numbers" if parameter.is_integer else "numbers"
        allowed = f"a range [low, high] of {kind} {parameter.accepts}, or one value"
    else:
        allowed = f"a list out of {', '.join(map(shown, parameter.accepts))}, or one of them"
    return UserError(f"{name} = {shown(setting)} {why}: allowed is {allowed}")
