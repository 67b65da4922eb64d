"""One hyperparameter: the scales it is stored and searched on, its default, and the reason of its range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, cast, get_args

from search_spaces.errors import UserError, shown

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    Distribution = FloatDistribution | IntDistribution | CategoricalDistribution

Value = bool | int | float | str
"""What a hyperparameter may be: everything that TOML, JSON and a database can hold."""

Scale = Literal["linear", "log", "one-minus-log", "int", "int-log", "categorical"]
"""How a parameter is searched; ``one-minus-log`` is uniform in log(1 − value)."""

FEWEST_TRIALS: Mapping[int, int] = {1: 1, 2: 10, 3: 25, 4: 50}
"""By a parameter's rank, from how many trials of a study on it is searched.

The thresholds of google-research/tuning_playbook for Adam (fewer than 10 trials: the learning rate; 10 to 25: β₁ too;
25 and more: a third; substantially more: β₂), and its order, the same for every optimizer:

1. the learning rate;
2. what shapes the step: momentum, β₁, SOFIM's and Nyström-SGD's ρ, whether L-BFGS searches along a line;
3. weight decay, batch size, iterations on one batch;
4. ε, β₂, and what trades memory and time for accuracy (ranks, histories, periods).

SOFIM's ρ is not in the first rank: below the knee lr/ρ alone matters, so that at a fixed ρ its learning rate spans all
of these; it is in the second, since what ρ does besides is the question of its paper.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers that an optimizer accepts, whatever range is searched.

    Args:
        low: Lower end.
        high: Upper end.
        open_low: Whether ``low`` itself is refused.
        open_high: Whether ``high`` itself is refused.
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        if -self.low == self.high == math.inf:
            return "above -inf and below inf"
        lower = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        if self.high == math.inf:
            return lower
        return f"{lower} and {'below' if self.open_high else 'at most'} {self.high:g}"


POSITIVE = Interval(0.0, open_low=True)
NOT_NEGATIVE = Interval(0.0)
FRACTION = Interval(0.0, 1.0, open_high=True)
COUNT = Interval(1.0, 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A hyperparameter with a stored scale, on which it is reported, and a search scale, on which samplers see it.

    The two differ for momentum-like numbers alone. What matters there is 1 − β, the share of a new gradient, over
    several powers of ten, so samplers get ``FloatDistribution(1 − high, 1 − low, log=True)``; what is stored, reported
    and passed on is β itself, under the optimizer's own name and ``FloatDistribution(low, high)``. `encode` and
    `decode` translate. All other parameters are searched as they are stored.

    Use the constructors `log`, `linear`, `one_minus_log`, `integer` and `categorical` rather than the fields.

    Args:
        scale: How it is searched.
        default: The value to start from, on the stored scale and inside the range.
        reason: A sentence: the source of the range, or the reason for it.
        low: Lower end of the range, on the stored scale (numbers alone).
        high: Upper end of the range, on the stored scale (numbers alone).
        choices: The values to choose from (categories alone).
        accepts: What the optimizer accepts, wider than the range: an interval, or for categories all of them. A
            campaign may move the range inside it, or fix any value of it.
        rank: How much it matters, 1 to 4, see `FEWEST_TRIALS`: with few trials those of the last ranks are not
            searched. 1, which is always searched, where nobody says.

    Raises:
        UserError: The range is empty, reversed, not finite or not accepted, the default lies outside, or the reason
            is missing.
    """

    scale: Scale
    default: Value
    reason: str
    low: float = math.nan
    high: float = math.nan
    choices: tuple[Value, ...] = ()
    accepts: Interval | tuple[Value, ...] = ()
    rank: int = 1

    def __post_init__(self) -> None:
        if self.rank not in FEWEST_TRIALS:
            raise UserError(f"rank = {shown(self.rank)} is unknown: allowed is 1 (always searched) to 4 (the last)")
        if self.scale not in get_args(Scale):
            raise UserError(f"scale = {shown(self.scale)} is unknown: allowed are {', '.join(get_args(Scale))}")
        if not self.reason.strip():
            raise UserError("reason is empty: say in a sentence where the range comes from")
        self._check_choices() if self.scale == "categorical" else self._check_range()
        if not self.contains(self.default):
            raise UserError(f"default = {shown(self.default)} lies outside {self}")

    def _check_choices(self) -> None:
        if not self.choices or len(set(map(repr, self.choices))) < len(self.choices):
            raise UserError(f"choices = {shown(list(self.choices))} must be one or more different values")

    def _check_range(self) -> None:
        if not isinstance(self.accepts, Interval):
            raise UserError(f"accepts = {shown(self.accepts)} must be an Interval for a number")
        if not self.low < self.high:
            raise UserError(f"the range [{self.low}, {self.high}] is empty or reversed")
        for end in (self.low, self.high):
            if end not in self.accepts:
                raise UserError(f"{end} is not accepted: allowed is {self.accepts}")
            if self.scale in ("log", "int-log") and end <= 0:
                raise UserError(f"{end} cannot be searched on a log scale: it must be above 0")
            if self.scale == "one-minus-log" and end >= 1:
                raise UserError(f"{end} cannot be searched as 1 − value on a log scale: it must be below 1")

    @classmethod
    def log(
        cls, low: float, high: float, *, default: float, reason: str, accepts: Interval = POSITIVE, rank: int = 1
    ) -> Self:
        """Return a number whose magnitude is unknown: uniform in its logarithm between ``low`` and ``high``."""
        return cls(scale="log", low=low, high=high, default=default, reason=reason, accepts=accepts, rank=rank)

    @classmethod
    def linear(
        cls,
        low: float,
        high: float,
        *,
        default: float,
        reason: str,
        accepts: Interval = Interval(-math.inf),
        rank: int = 1,
    ) -> Self:
        """Return a number that is uniform between ``low`` and ``high``."""
        return cls(scale="linear", low=low, high=high, default=default, reason=reason, accepts=accepts, rank=rank)

    @classmethod
    def one_minus_log(
        cls, low: float, high: float, *, default: float, reason: str, accepts: Interval = FRACTION, rank: int = 1
    ) -> Self:
        """Return a momentum-like number in [0, 1), stored as itself and searched uniformly in log(1 − value)."""
        scale: Scale = "one-minus-log"
        return cls(scale=scale, low=low, high=high, default=default, reason=reason, accepts=accepts, rank=rank)

    @classmethod
    def integer(
        cls,
        low: int,
        high: int,
        *,
        default: int,
        reason: str,
        log: bool = False,
        accepts: Interval = COUNT,
        rank: int = 1,
    ) -> Self:
        """Return a whole number between ``low`` and ``high``, both included, on a log scale where ``log``."""
        scale: Scale = "int-log" if log else "int"
        return cls(scale=scale, low=low, high=high, default=default, reason=reason, accepts=accepts, rank=rank)

    @classmethod
    def categorical(cls, choices: Sequence[Value], *, default: Value, reason: str, rank: int = 1) -> Self:
        """Return a choice among ``choices``, which are also all that the optimizer accepts."""
        values = tuple(choices)
        return cls(scale="categorical", choices=values, default=default, reason=reason, accepts=values, rank=rank)

    @property
    def distribution(self) -> Distribution:
        """The distribution of the stored value, as the database has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # late: slow

        if self.scale == "categorical":
            return CategoricalDistribution(self.choices)
        if self.is_integer:
            return IntDistribution(int(self.low), int(self.high), log=self.scale == "int-log")
        return FloatDistribution(self.low, self.high, log=self.scale == "log")

    @property
    def search_distribution(self) -> Distribution:
        """The distribution that samplers see."""
        from optuna.distributions import FloatDistribution  # late: slow

        if self.scale == "one-minus-log":
            return FloatDistribution(1.0 - self.high, 1.0 - self.low, log=True)
        return self.distribution

    @property
    def is_integer(self) -> bool:
        """Whether the values are whole numbers."""
        return self.scale in ("int", "int-log")

    def contains(self, value: Value) -> bool:
        """Return whether a stored ``value`` is of the right type and inside the range."""
        if self.scale == "categorical":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, (bool, str)) or (self.is_integer and value != int(value)):
            return False
        return self.low <= value <= self.high

    def nearest(self, value: Value | None) -> Value:
        """Return the value of the range that is nearest to ``value``; the default where none is near."""
        if value is not None and self.contains(value):
            return value
        if self.scale == "categorical" or isinstance(value, bool | str | None):
            return self.default
        clipped = _clip(value, self.low, self.high)
        return round(clipped) if self.is_integer else clipped

    def encode(self, value: Value) -> Value:
        """Return the search value of a stored ``value``.

        Raises:
            UserError: ``value`` lies outside the range.
        """
        if not self.contains(value):
            raise UserError(f"{shown(value)} lies outside {self}")
        if self.scale != "one-minus-log":
            return value
        return _clip(1.0 - float(value), 1.0 - self.high, 1.0 - self.low)

    def decode(self, value: Value) -> Value:
        """Return the stored value of a search ``value``: inside the range, although floating point rounds."""
        if self.scale == "categorical":
            return value
        number = 1.0 - float(value) if self.scale == "one-minus-log" else float(value)
        clipped = _clip(number, self.low, self.high)
        return round(clipped) if self.is_integer else clipped

    def to_dict(self) -> dict[str, object]:
        """Return all fields as JSON can hold them; without a rank of 1, as before there were ranks."""
        accepts = self.accepts
        return {
            "scale": self.scale,
            **({"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high}),
            "default": self.default,
            "reason": self.reason,
            "accepts": _interval_to_list(accepts) if isinstance(accepts, Interval) else list(accepts),
            **({"rank": self.rank} if self.rank != 1 else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Return the parameter that `to_dict` described."""
        accepts = cast("list[Value]", data["accepts"])
        fields: dict[str, object] = {**data, "choices": tuple(cast("list[Value]", data.get("choices", ())))}
        fields["accepts"] = tuple(accepts) if data["scale"] == "categorical" else _interval_from_list(accepts)
        return cls(**fields)  # type: ignore[arg-type]  # __post_init__ checks what came out of JSON

    def __str__(self) -> str:
        if self.scale == "categorical":
            return f"the choices {', '.join(map(shown, self.choices))}"
        return f"the {'whole numbers' if self.is_integer else 'range'} from {self.low:g} to {self.high:g}"


def fewest_trials(trials: int) -> int:
    """Return the number of trials from which on the same ranks are searched as with ``trials``.

    >>> fewest_trials(3), fewest_trials(16), fewest_trials(1000)
    (1, 10, 50)
    """
    return max(fewest for fewest in FEWEST_TRIALS.values() if fewest <= max(1, trials))


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _interval_to_list(interval: Interval) -> list[object]:
    # JSON has no infinity.
    low, high = (end if math.isfinite(end) else None for end in (interval.low, interval.high))
    return [low, high, interval.open_low, interval.open_high]


def _interval_from_list(ends: Sequence[object]) -> Interval:
    low, high, open_low, open_high = ends
    return Interval(
        -math.inf if low is None else cast("float", low),
        math.inf if high is None else cast("float", high),
        bool(open_low),
        bool(open_high),
    )
