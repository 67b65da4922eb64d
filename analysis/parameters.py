"""How a study searched each of its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces import Interval, Parameter
from search_spaces.errors import UserError

Kind = Literal["float", "int", "categorical", "mixed"]
EVERY_NUMBER = Interval(-math.inf)
Choice = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """How one parameter was searched. All values are stored ones, as trials have them: β, not 1 − β.

    Attributes:
        name: As in the trials' ``params``.
        kind: Of its values; ``"mixed"`` for a number in some trials and a category in others, of which nothing can be
            said.
        low: Lower end of the range; NaN for a categorical parameter.
        high: Upper end of the range; NaN for a categorical parameter.
        log: Whether it was searched uniformly in log(value).
        one_minus: Whether it was searched uniformly in log(1 − value), as momentum is; never together with ``log``.
        choices: Of a categorical parameter, in their order; empty for a number.
        default: The value to start from, or ``None`` where nobody named one (studies of other programs).
        step: Distance of the values, counted from ``low``; 0 for every number of a range, or every whole one.
        accepts: What the optimizer accepts, as far as the space tells: no range may be wider.
    """

    name: str
    kind: Kind
    low: float
    high: float
    log: bool = False
    one_minus: bool = False
    choices: tuple[Choice, ...] = ()
    default: Choice = None
    step: float = 0.0
    accepts: Interval = EVERY_NUMBER


def from_space(space: Mapping[str, object]) -> dict[str, ParameterInfo]:
    """Return the searched parameters of a stored space (``SearchSpace.to_dict``); fixed ones are left out.

    Raises:
        UserError: It is not such a space.
    """
    try:
        fixed = cast("Mapping[str, object]", space["fixed"])
        stored = cast("Mapping[str, Mapping[str, object]]", space["parameters"])
        return {
            name: _from_parameter(name, Parameter.from_dict(fields))
            for name, fields in stored.items()
            if name not in fixed
        }
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(
            f"the search space that the study stores cannot be read ({type(error).__name__}: {error}); "
            "was it stored by another version?"
        ) from None


def _from_parameter(name: str, parameter: Parameter) -> ParameterInfo:
    categorical = parameter.scale == "categorical"
    return ParameterInfo(
        name=name,
        kind="categorical" if categorical else "int" if parameter.is_integer else "float",
        low=math.nan if categorical else float(parameter.low),
        high=math.nan if categorical else float(parameter.high),
        log=parameter.scale in ("log", "int-log"),
        one_minus=parameter.scale == "one-minus-log",
        choices=parameter.choices,
        default=parameter.default,
        accepts=parameter.accepts if isinstance(parameter.accepts, Interval) else EVERY_NUMBER,
    )


def from_distributions(name: str, found: Iterable[BaseDistribution]) -> ParameterInfo:
    """Return one parameter, from all distributions that the trials of a study drew it from.

    A study may move a range from trial to trial; then it is the hull of them that was searched. It was on a log scale
    if every trial had it so, and in steps if all had the same ones.

    Args:
        name: Of the parameter.
        found: Its distributions, one or more.
    """
    distributions = list(found)
    categories = [d for d in distributions if isinstance(d, CategoricalDistribution)]
    numbers = [d for d in distributions if isinstance(d, FloatDistribution | IntDistribution)]
    if categories and numbers:
        return ParameterInfo(name, "mixed", math.nan, math.nan)
    if categories:
        choices: dict[str, Choice] = {repr(choice): choice for d in categories for choice in d.choices}
        return ParameterInfo(name, "categorical", math.nan, math.nan, choices=tuple(choices.values()))
    return ParameterInfo(
        name=name,
        kind="int" if all(isinstance(d, IntDistribution) for d in numbers) else "float",
        low=float(min(d.low for d in numbers)),
        high=float(max(d.high for d in numbers)),
        log=all(d.log for d in numbers),
        step=_common_step(numbers),
    )


def _common_step(numbers: Sequence[FloatDistribution | IntDistribution]) -> float:
    first = numbers[0]
    step = float(first.step or 0.0)
    if not step or (step == 1.0 and all(isinstance(d, IntDistribution) for d in numbers)):
        return 0.0
    offsets = [(d.low - first.low) / step for d in numbers]
    same = all(d.step == first.step for d in numbers)
    # 0.3 is not three times 0.1 to the last bit
    return step if same and all(math.isclose(at, round(at), abs_tol=1e-6) for at in offsets) else 0.0
