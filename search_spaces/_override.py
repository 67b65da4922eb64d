"""What a campaign's file says of one parameter: another range or choices, a table of all of it, or one fixed value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import cast

from search_spaces._parameter import FEWEST_TRIALS, Interval, Parameter, Scale, Value
from search_spaces.errors import UserError, is_finite, key_shown, shown, suggestion

_RANGE_KEYS = ("low", "high", "log", "log_of_one_minus", "integer")
_KEYS = (*_RANGE_KEYS, "choices", "default", "rank", "reason")
_ANY_NUMBER = Interval(-math.inf)
_BELOW_ONE = Interval(-math.inf, 1.0, open_high=True)
_WRITTEN = "As the campaign's file has it."


def override(name: str, parameter: Parameter, setting: object) -> Parameter | Value:
    """Return ``parameter`` with the range or the choices of ``setting``, or the value that ``setting`` fixes.

    Args:
        name: The parameter's name, for the messages.
        parameter: What is to be changed.
        setting: ``[low, high]`` on the stored scale, a list of choices for a categorical parameter, a table as of
            `described`, or one value.

    Returns:
        The changed parameter, its default clipped into the new range (the first choice where it is no longer one), or
        a fixed value. Whoever writes a range wants it searched, so that its rank becomes 1.

    Raises:
        UserError: ``setting`` is nothing that the parameter or its optimizer accepts.
    """
    if isinstance(setting, Mapping):
        return described(name, setting, parameter)
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


def described(name: str, table: Mapping[str, object], before: Parameter | None = None, *, rank: int = 1) -> Parameter:
    """Return the parameter that a table describes.

    Args:
        name: The parameter's name, for the messages.
        table: ``low``, ``high``, both on the stored scale; ``log``: uniform in the logarithm; ``log_of_one_minus``:
            uniform in log(1 − value); ``integer``: whole numbers; or in place of these ``choices``. ``default``: the
            value to start from, of choices the first unless it is said. ``rank``: see `Parameter`. ``reason``.
        before: Where there is one, what the table leaves out is as it is there, and the optimizer accepts what it did.
        rank: Where the table says none.

    Raises:
        UserError: A key is unknown or missing, or its value is not allowed.
    """
    for key in table:
        if key not in _KEYS:
            allowed = f"allowed are {', '.join(_KEYS)}{suggestion(str(key), _KEYS)}"
            raise UserError(f"{name}.{key_shown(str(key))} is no key of a parameter: {allowed}")
    fields: dict[str, object] = {"reason": _WRITTEN if before is None else before.reason, "rank": rank}
    if before is not None and not {*_RANGE_KEYS, "choices"} & table.keys():
        fields["rank"] = before.rank
    if "rank" in table and (type(table["rank"]) is not int or table["rank"] not in FEWEST_TRIALS):
        raise UserError(f"{name}.rank = {shown(table['rank'])}: must be 1 (always searched), 2, 3 or 4 (the last)")
    if "reason" in table and not (isinstance(table["reason"], str) and table["reason"].strip()):
        raise UserError(f"{name}.reason = {shown(table['reason'])}: must be a sentence")
    fields |= {key: table[key] for key in ("rank", "reason") if key in table}
    of_choices = before is not None and before.scale == "categorical"
    if "choices" in table or of_choices:
        return _of_choices(name, table, before, fields)
    return _of_range(name, table, before, fields)


def _of_choices(
    name: str, table: Mapping[str, object], before: Parameter | None, fields: Mapping[str, object]
) -> Parameter:
    beside = next((key for key in _RANGE_KEYS if key in table), None)
    if beside is not None:
        raise UserError(f"{name}.{beside}: is of a range, and {name} one of choices = […]: leave one of them out")
    written = table.get("choices", None if before is None else list(before.choices))
    if not isinstance(written, list | tuple) or not all(_is_value(choice) for choice in written):
        raise UserError(f"{name}.choices = {shown(written)}: must be a list of numbers, texts, true and false")
    choices = tuple(written)
    if not choices or any(choice in choices[:place] for place, choice in enumerate(choices)):
        raise UserError(f"{name}.choices = {shown(written)} is empty or names a choice twice")
    if before is not None and before.scale == "categorical":
        _override_choices(name, before, written)
    elif before is not None:
        choices = tuple(_number(f"{name}.choices", before, choice, written) for choice in choices)
    default = table.get("default", before.default if before is not None and before.default in choices else choices[0])
    if not any(default == choice and type(default) is type(choice) for choice in choices):
        raise UserError(f"{name}.default = {shown(default)} is none of its choices {', '.join(map(shown, choices))}")
    return Parameter(
        scale="categorical",
        choices=choices,
        default=cast("Value", default),
        accepts=before.accepts if before is not None and before.scale == "categorical" else choices,
        rank=cast("int", fields["rank"]),
        reason=cast("str", fields["reason"]),
    )


def _of_range(
    name: str, table: Mapping[str, object], before: Parameter | None, fields: Mapping[str, object]
) -> Parameter:
    scale = _scale(name, table, before)
    accepts = _BELOW_ONE if scale == "one-minus-log" else _ANY_NUMBER
    if before is not None:
        accepts = cast("Interval", before.accepts)
    numbers: dict[str, float] = {}
    for key in ("low", "high", "default"):
        if key not in table and before is None:
            example = "{ low = …, high = …, default = … }"
            raise UserError(f"{name}.{key} is missing: a range is written {example}, a fixed value {name} = …")
        setting = table.get(key, None if before is None else getattr(before, key))
        try:
            numbers[key] = _finite(setting, whole=scale in ("int", "int-log"))
        except ValueError as error:
            raise UserError(f"{name}.{key} = {shown(setting)} {error}") from None
        if before is not None and key != "default" and numbers[key] not in accepts:
            raise UserError(f"{name}.{key} = {shown(setting)} is not accepted by the optimizer: allowed is {accepts}")
    low, high = numbers["low"], numbers["high"]
    if low == high:
        raise UserError(f"{name}: low = high = {low} is an empty range (to fix the value, write {name} = {low})")
    if low > high:
        raise UserError(f"{name}: low = {low} is above high = {high}")
    if low <= 0 and scale in ("log", "int-log"):
        raise UserError(f"{name}.low = {low}: log = true needs a range above 0, since there is no logarithm of {low}")
    if high >= 1 and scale == "one-minus-log":
        raise UserError(f"{name}.high = {high}: log_of_one_minus = true needs a range below 1")
    if "default" not in table:
        numbers["default"] = min(max(numbers["default"], low), high)
    if not low <= numbers["default"] <= high:
        raise UserError(f"{name}.default = {numbers['default']} lies outside the range from {low} to {high}")
    return Parameter(
        scale=scale,
        low=low,
        high=high,
        default=numbers["default"],
        accepts=accepts,
        rank=cast("int", fields["rank"]),
        reason=cast("str", fields["reason"]),
    )


def _scale(name: str, table: Mapping[str, object], before: Parameter | None) -> Scale:
    """Return the scale that a table asks for; what it leaves out is as ``before``, or linear."""
    for key in ("log", "log_of_one_minus", "integer"):
        if key in table and not isinstance(table[key], bool):
            raise UserError(f"{name}.{key} = {shown(table[key])}: must be true or false")
    was = None if before is None else before.scale
    log = table.get("log", was in ("log", "int-log") and not table.get("log_of_one_minus"))
    of_one_minus = table.get("log_of_one_minus", was == "one-minus-log" and not (log or table.get("integer")))
    integer = table.get("integer", was in ("int", "int-log"))
    if was in ("int", "int-log") and not integer:
        raise UserError(f"{name}.integer = false: {name} is a whole number")
    if of_one_minus and (log or integer):
        other = "log" if log else "integer"
        raise UserError(f"{name}: log_of_one_minus and {other} exclude each other: leave one of them out")
    if integer:
        return "int-log" if log else "int"
    return "log" if log else "one-minus-log" if of_one_minus else "linear"


def fixed(name: str, setting: object) -> Parameter:
    """Return the parameter of which one value alone is known.

    Raises:
        UserError: It is nothing that a parameter can be.
    """
    if isinstance(setting, list | tuple):
        example = "{ low = …, high = …, log = true, default = … }, or { choices = […] }"
        raise UserError(f"{name} = {shown(setting)} says neither its scale nor its default: write {example}")
    if not _is_value(setting):
        raise UserError(f"{name} = {shown(setting)}: must be a table {{ low = …, high = …, default = … }} or one value")
    return Parameter.categorical([cast("Value", setting)], default=cast("Value", setting), reason=_WRITTEN)


def _is_value(value: object) -> bool:
    """Return whether it is what a parameter may be."""
    return isinstance(value, bool | str) or is_finite(value)


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
    try:
        number = _finite(value, whole=parameter.is_integer)
    except ValueError as error:
        raise _refusal(name, parameter, setting, str(error)) from None
    if isinstance(parameter.accepts, Interval) and number not in parameter.accepts:
        raise _refusal(name, parameter, setting, "is not accepted by the optimizer")
    return number


def _finite(value: object, *, whole: bool) -> float:
    """Return ``value`` as a number; why it is none as a `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("is not finite")
    if whole and not number.is_integer():
        raise ValueError("is not a whole number")
    return int(value) if whole else number


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
