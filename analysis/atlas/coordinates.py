"""SOFIM's ρ across workloads: how well each value does where all else is tuned again, and whether one does everywhere.

In SOFIM's update only η/ρ matters where gradients are shorter than √ρ, and only η where they are longer. So ρ is looked
at in the coordinates ρ and η/ρ. A value is judged by the best that the surrogate predicts with it, all other parameters
free (a profile): who fixes ρ tunes η again. It loses what that falls short of the best value's. The loss is told in
percent of what training gains (`analysis.sensitivity.outcomes.loss_unit`), and a value is within 5 %, or 10 where the
surrogate does not resolve 5, or beyond, or neither can be told: by Student's t over the refits, at a level that holds
for all workloads together (Bonferroni). The surrogate is a forest of its own, which has lr/rho as one more coordinate:
trees cut along their coordinates, and hardly see a ridge that lies across them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from scipy import special

from analysis.defaults.surrogates import SurrogateStudy
from analysis.intervals import Floats
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.dependence import effective_coordinates
from analysis.sensitivity.importance import MINIMUM_R2, Refit, error_limit, predictions, refits, score
from analysis.sensitivity.outcomes import LOSSES, Outcomes
from analysis.sensitivity.robustness import cube
from analysis.text import because, listing, percent, short
from search_spaces.errors import number_of

RHO, RATIO, KNEE = "rho", "lr/rho", "√rho"
WITHIN, BEYOND, UNTOLD = "within", "beyond", "cannot be told"
PROFILES = ("optimizer", "workload", "kind", "coordinate", "value", "loss", "loss_low", "loss_high", "verdict")
INTERVALS = (
    "optimizer", "workload", "kind", "coordinate", "loss_percent", "best", "low", "high", "outer_low", "outer_high",
    "trials", "why_not",
)  # fmt: skip
SHARED = ("optimizer", "coordinate", "verdict", "low", "high", "value", "workloads", "within", "beyond", "untold")
ENDS = ("", "_low", "_high")
_LISTED = 3  # workloads of which each has a sentence on what the coordinates explain
EXPLAINED = ("optimizer", "workload", "kind", "of_all", "ratio", "knee", "both", "original")
_BY_PARAMETERS: tuple[tuple[frozenset[str], Mapping[str, Mapping[str, float]]], ...] = (
    (frozenset({"lr", "rho", "beta"}), {RHO: {"rho": 1.0}, RATIO: {"lr": 1.0, "rho": -1.0}}),
    (frozenset({"effective_lr", "knee", "beta"}), {RHO: {"knee": 2.0}, RATIO: {"effective_lr": 1.0}}),
)
_ACROSS: Mapping[str, Mapping[str, float]] = {
    "lr": {"lr": 1.0, "rho": -1.0},
    "knee": {"effective_lr": 1.0, "knee": 2.0},
}
# by a parameter, the coordinate that lies across those searched: η/ρ, or η itself
_VALUES_A_DECADE = 8
_FREE = 256  # configurations of the other parameters, beside those of the best trials
_FEWEST = 16  # of them that the searched ranges must hold


def coordinates_of(surrogate: SurrogateStudy) -> Mapping[str, Mapping[str, float]]:
    """Return SOFIM's coordinates as powers of parameters, by name; empty for another optimizer.

    An optimizer is SOFIM, or a form of it, by what its space is of: both rates, searched on log scales, and a beta.
    """
    study = surrogate.study
    log = {parameter.name for parameter in study.parameters.values() if parameter.log}
    for names, found in _BY_PARAMETERS:
        if names <= {*study.parameters, *study.fixed} and {name for powers in found.values() for name in powers} <= log:
            return found
    return {}


def profiles(surrogates: Sequence[SurrogateStudy], rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how much each value of SOFIM's coordinates loses on each workload, and the intervals of good ones.

    Args:
        surrogates: Of a campaign, those of other optimizers left aside.
        rng: Spreads the other parameters; of each workload alike, whichever others there are.

    Returns:
        Profiles, a row a value: ``optimizer``, ``workload``, ``kind``, ``coordinate`` (rho or lr/rho), ``value`` (the
        same ones on all workloads), ``loss`` (percent of what training gains) with ``loss_low``, ``loss_high`` (95 %
        for all workloads together, each end by itself), ``verdict`` (within, beyond, cannot be told; where the ranges
        do not hold the value there is no row).
        Intervals, a row a coordinate, √rho among them: ``loss_percent`` (5, or 10), ``best`` (of the profile), ``low``,
        ``high`` (between which all values are within; NaN where none is), ``outer_low``, ``outer_high`` (outside of
        which all are beyond), ``trials``, ``why_not`` (why nothing is told; else empty). The ends are those of the
        searched range where that ends first.
    """
    of_sofim = [one for one in surrogates if coordinates_of(one)]
    rows, intervals, seed = [], [], rng.integers(2**63)
    for optimizer in dict.fromkeys(one.study.optimizer for one in of_sofim):
        own = [one for one in of_sofim if one.study.optimizer == optimizer]
        ridged = [_Ridged.of(one, np.random.default_rng(seed)) for one in own]
        # of two forms of the space, both rates of the one are coordinates of the other: the names are shared
        for name in (RHO, RATIO):
            values = _grid([_reach(one, coordinates_of(one)[name]) for one in own])
            for one, fit in zip(own, ridged, strict=True):
                found = _losses(fit, coordinates_of(one)[name], values, len(own), np.random.default_rng(seed))
                head = (optimizer, one.study.workload, one.study.kind, name)
                rows += [(*head, *row) for row in found.itertuples(index=False, name=None)]
                intervals.append((*head, *_interval(fit, found)))
    told = pd.DataFrame(intervals, columns=list(INTERVALS))
    ends = list(INTERVALS[5:10])
    told[ends] = told[ends].astype("float64")
    roots = told[told["coordinate"] == RHO].assign(coordinate=KNEE)
    roots[ends] = np.sqrt(roots[ends])
    told = pd.concat([told, roots], ignore_index=True)
    told = told.sort_values("optimizer", key=lambda n: n.map(_order(told["optimizer"])), kind="stable")
    return pd.DataFrame(rows, columns=list(PROFILES)), told.reset_index(drop=True)


def _order(names: pd.Series) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _reach(surrogate: SurrogateStudy, powers: Mapping[str, float]) -> tuple[float, float]:
    """Return the log10 of the least and of the greatest value that the searched ranges hold."""
    ends = [
        sorted((power * math.log10(info.low), power * math.log10(info.high)))
        for name, power in powers.items()
        for info in [_info(surrogate, name)]
    ]
    return sum(low for low, _ in ends), sum(high for _, high in ends)


def _info(surrogate: SurrogateStudy, name: str) -> ParameterInfo:
    return surrogate.study.parameters[name]


def _grid(reaches: Sequence[tuple[float, float]]) -> Floats:
    """Return log10 of the values to look at, the same on all workloads."""
    low, high = min(reach[0] for reach in reaches), max(reach[1] for reach in reaches)
    return np.linspace(low, high, max(2, round((high - low) * _VALUES_A_DECADE) + 1))


def _points(surrogate: SurrogateStudy, powers: Mapping[str, float], at: float, base: Floats) -> Floats:
    """Return those of the configurations (n, d), moved to 10**at of the coordinate, that the ranges hold."""
    names = [parameter.name for parameter in surrogate.parameters]
    first, *others = powers
    left = np.full(len(base), at)
    for name in others:
        left -= powers[name] * _log10(surrogate, name, base[:, names.index(name)])
    info = _info(surrogate, first)
    place = (left / powers[first] - math.log10(info.low)) / scales.decades(info)
    moved = base.copy()
    moved[:, names.index(first)] = np.clip(place, 0.0, 1.0)
    found: Floats = moved[(place >= -1e-9) & (place <= 1 + 1e-9)]
    return found


@dataclass(frozen=True, slots=True)
class _Ridged:
    """A surrogate that has the coordinate across as its last one: ``fitted`` to trials, empty where there are too few.

    ``allowed`` is the loss that counts as near the best, in percent; NaN where ``why_not`` says why it is not resolved.
    """

    surrogate: SurrogateStudy
    fitted: Sequence[Refit]
    allowed: float
    why_not: str

    @classmethod
    def of(cls, surrogate: SurrogateStudy, rng: np.random.Generator) -> Self:
        if not surrogate.fitted:
            return cls(surrogate, (), math.nan, str(surrogate.reason))
        needed = {name for powers in coordinates_of(surrogate).values() for name in powers}
        if lost := sorted(needed - {parameter.name for parameter in surrogate.parameters}):
            return cls(surrogate, (), math.nan, f"{listing(lost)} had a single value, or too few trials")
        goodness = surrogate.used.goodness
        fitted = refits(cls.across(surrogate, surrogate.points), goodness, rng, num_refits=len(surrogate.fitted))
        r2 = score(fitted, goodness)
        if not r2 >= MINIMUM_R2:
            why = f"the surrogate explains too little (out-of-bag R² {r2:.2f}, at least {MINIMUM_R2} is needed)"
            return cls(surrogate, fitted, math.nan, why)
        allowed = tolerance(fitted, surrogate.used)
        return cls(surrogate, fitted, allowed, why_unresolved(fitted, surrogate.used))

    @staticmethod
    def across(surrogate: SurrogateStudy, points: Floats) -> Floats:
        """Return positions (n, d) with that of the coordinate across behind them: (n, d + 1)."""
        names = [parameter.name for parameter in surrogate.parameters]
        powers = next(powers for name, powers in _ACROSS.items() if name in names)
        low, high = _reach(surrogate, powers)
        return np.column_stack([points, (log10_of(surrogate, powers, points) - low) / (high - low)])

    def __call__(self, points: Floats) -> Floats:
        """Predict goodness at points (n, d): shape (refits, n)."""
        return predictions(self.fitted, self.across(self.surrogate, points))


def log10_of(surrogate: SurrogateStudy, powers: Mapping[str, float], points: Floats) -> Floats:
    """Return log10 of a coordinate, given as powers of parameters, at positions (n, d): shape (n,)."""
    names = [parameter.name for parameter in surrogate.parameters]
    parts = [p * _log10(surrogate, name, points[:, names.index(name)]) for name, p in powers.items()]
    return np.asarray(np.sum(parts, axis=0))


def _log10(surrogate: SurrogateStudy, name: str, at: Floats) -> Floats:
    info = _info(surrogate, name)
    return math.log10(info.low) + at * scales.decades(info)


def _losses(
    ridged: _Ridged, powers: Mapping[str, float], at: Floats, workloads: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the profile of one workload: columns of :data:`PROFILES` from ``value`` on."""
    columns, surrogate, allowed = list(PROFILES[4:]), ridged.surrogate, ridged.allowed
    if math.isnan(allowed):
        return pd.DataFrame(columns=columns)
    best_trials = np.nan_to_num(surrogate.at(surrogate.candidates()), nan=0.5)
    base = np.vstack([cube(_FREE, len(surrogate.parameters), rng), best_trials])
    sets = [_points(surrogate, powers, float(place), base) for place in at]
    held = np.array([len(points) >= _FEWEST for points in sets])
    if not held.any():
        return pd.DataFrame(columns=columns)
    sizes = np.cumsum([len(points) for points, one in zip(sets, held, strict=True) if one])[:-1]
    predicted = ridged(np.vstack([p for p, one in zip(sets, held, strict=True) if one]))
    best = np.column_stack([part.max(axis=1) for part in np.split(predicted, sizes, axis=1)])  # (refits, values)
    unit = surrogate.used.loss_unit[0]
    losses = 100 * (best[:, [int(best.mean(axis=0).argmax())]] - best) / unit
    mean, spread = losses.mean(axis=0), losses.std(axis=0, ddof=1)
    reach = float(special.stdtrit(len(losses) - 1, 1 - 0.05 / workloads)) * spread
    low, high = mean - reach, mean + reach
    verdict = np.where(high <= allowed, WITHIN, np.where(low > allowed, BEYOND, UNTOLD))
    numbers = (10.0 ** at[held], mean, low, high, verdict)
    return pd.DataFrame(dict(zip(columns, numbers, strict=True)))


def tolerance(fitted: Sequence[Refit], used: Outcomes) -> float:
    """Return the loss, in percent of what training gains, that counts as near the best: 5, or 10; NaN: unresolved."""
    error = error_limit(fitted, used.goodness)
    return next((loss for loss in LOSSES[1:] if used.loss_unit[0] * loss / 100 >= error), math.nan)


def why_unresolved(fitted: Sequence[Refit], used: Outcomes) -> str:
    """Return why no loss near the best is resolved; empty where one is."""
    if not math.isnan(tolerance(fitted, used)):
        return ""
    if math.isinf(error_limit(fitted, used.goodness)):
        return "too few trials lie near the best to judge the surrogate there"
    return f"near the best the surrogate may err by over {LOSSES[-1]:g} % of what training gains"


def _interval(ridged: _Ridged, found: pd.DataFrame) -> tuple[object, ...]:
    """Return columns of :data:`INTERVALS` from ``loss_percent`` on."""
    trials = len(ridged.surrogate.used.trials)
    if not len(found):
        return (math.nan, *[None] * 5, trials, ridged.why_not or "the searched ranges hold too few values")
    values, verdicts = found["value"].to_numpy(), found["verdict"].to_numpy()
    here = int(found["loss"].to_numpy().argmin())
    inner: list[float | None] = [None, None]
    if verdicts[here] == WITHIN:
        inner = [float(values[end]) for end in _stretch(verdicts == WITHIN, here)]
    outer = [float(values[end]) for end in np.flatnonzero(verdicts != BEYOND)[[0, -1]]]
    return (ridged.allowed, float(values[here]), *inner, *outer, trials, "")


def _stretch(good: np.typing.NDArray[np.bool_], here: int) -> tuple[int, int]:
    """Return the first and the last of the run of good ones around ``here``."""
    left = right = here
    while left > 0 and good[left - 1]:
        left -= 1
    while right < len(good) - 1 and good[right + 1]:
        right += 1
    return left, right


def shared(table: pd.DataFrame, surrogates: Sequence[SurrogateStudy]) -> pd.DataFrame:
    """Return whether one value of a coordinate is near the best on every workload.

    Args:
        table: Of `profiles`.
        surrogates: As given there.

    Returns:
        A row an optimizer and coordinate: ``verdict`` (``"within"``: there are values that are within on all workloads;
        ``"beyond"``: every value is beyond on one at least; else it cannot be told), ``value`` (that is within on most,
        and beyond on fewest; of equal ones that whose losses add up to least), ``low``, ``high`` (of the values around
        it that are within on all; NaN where there is none), ``workloads`` (of all optimizers), and those on which this
        value is ``within``, ``beyond``, or ``untold``, each a tuple of names.
    """
    rows = []
    workloads = list(dict.fromkeys(one.study.workload for one in surrogates))
    for optimizer in dict.fromkeys(one.study.optimizer for one in surrogates if coordinates_of(one)):
        for name in (RHO, RATIO):
            own = table[(table["optimizer"] == optimizer) & (table["coordinate"] == name)]
            if not len(own):
                rows.append((optimizer, name, UNTOLD, *[math.nan] * 3, len(workloads), (), (), tuple(workloads)))
                continue
            verdicts = own.pivot_table(index="value", columns="workload", values="verdict", aggfunc="first")
            verdicts = verdicts.reindex(columns=workloads).astype(object).fillna(UNTOLD)
            losses = own.pivot_table(index="value", columns="workload", values="loss").reindex(columns=workloads)
            within, beyond = (verdicts == WITHIN).sum(axis=1), (verdicts == BEYOND).sum(axis=1)
            order = pd.DataFrame({"within": -within, "beyond": beyond, "loss": losses.fillna(100.0).sum(axis=1)})
            value = float(order.sort_values(["within", "beyond", "loss"], kind="stable").index[0])
            everywhere = (within == len(workloads)).to_numpy()
            said = WITHIN if everywhere.any() else BEYOND if (beyond > 0).all() else UNTOLD
            ends = (math.nan, math.nan)
            if everywhere.any():
                first, last = _stretch(everywhere, list(within.index).index(value))
                ends = float(within.index[first]), float(within.index[last])
            at = verdicts.loc[value]
            groups = (tuple(w for w in workloads if at[w] == word) for word in (WITHIN, BEYOND, UNTOLD))
            rows.append((optimizer, name, said, *ends, value, len(workloads), *groups))
    return pd.DataFrame(rows, columns=list(SHARED))


def explained(surrogates: Sequence[SurrogateStudy]) -> pd.DataFrame:
    """Return what SOFIM's two coordinates explain, as far as surrogates tell.

    Returns:
        A row an optimizer and workload: ``of_all`` (share of the explained variance that lr and rho together have),
        and of that joint effect the share of a function of lr/rho alone (``ratio``), of √rho alone (``knee``), of a sum
        of the two (``both``) and of a sum of functions of lr and rho themselves (``original``), each with ``…_low``,
        ``…_high`` (90 % over the refits).
    """
    rows = []
    for one in surrogates:
        names = [parameter.name for parameter in one.parameters]
        if not coordinates_of(one) or not one.trusted or not {"lr", "rho"} <= {*names}:
            continue
        found = effective_coordinates(one.fitted, one.parameters, names.index("lr"), names.index("rho"))
        if found is not None:
            own = one.study
            row: dict[str, object] = {"optimizer": own.optimizer, "workload": own.workload, "kind": own.kind}
            for name in EXPLAINED[3:]:
                row |= dict(zip((name + end for end in ENDS), getattr(found, name), strict=True))
            rows.append(row)
    return pd.DataFrame(rows, columns=[*EXPLAINED[:3], *(name + end for name in EXPLAINED[3:] for end in ENDS)])


def sentences(one_value: pd.DataFrame, intervals: pd.DataFrame, shares: pd.DataFrame, optimizer: str) -> list[str]:
    """Return what is known of one optimizer's ρ, the answer first; empty where it is no SOFIM.

    Args:
        one_value: Of `shared`.
        intervals: Of `profiles`.
        shares: Of `explained`.
        optimizer: Its key.
    """
    said = [_shared(row, intervals) for row in one_value[one_value["optimizer"] == optimizer].to_dict("records")]
    own = intervals[(intervals["optimizer"] == optimizer) & (intervals["coordinate"] != KNEE)]
    lost: dict[str, list[str]] = {}  # coordinates by where nothing can be told of them, and why
    for name, rows in own.groupby("coordinate", sort=False):
        told = rows[rows["low"].notna()]
        parts = [
            f"{row['workload']} {_stretch_in_words(row['low'], row['high'])} (within {row['loss_percent']:g} %)"
            for row in told.to_dict("records")
        ]
        missing = rows[rows["low"].isna()]
        if parts:
            said.append(f"Near-optimal {name} of {optimizer} around its best, all else tuned again: {listing(parts)}.")
        if len(missing):
            lost.setdefault(because(missing["workload"], missing["why_not"]), []).append(str(name))
    for why, names in lost.items():
        said.append(f"Which {' and which '.join(names)} of {optimizer} is near-optimal cannot be told on {why}.")
    own_shares = shares[shares["optimizer"] == optimizer]
    if len(own_shares) > _LISTED:
        ranges = (100 * own_shares[name] for name in EXPLAINED[3:7])
        of_all, ratio, knee, both = (f"{r.min():.0f} to {r.max():.0f} % (median {r.median():.0f})" for r in ranges)
        said.append(
            f"On {number_of(len(own_shares), 'workload')} lr and rho together have {of_all} of {optimizer}'s explained "
            f"variance; of that lr/rho alone explains {ratio}, √rho alone {knee}, and the two added {both}."
        )
        return said
    for row in own_shares.to_dict("records"):
        of_all, ratio, knee, both = (percent(*(row[name + end] for end in ENDS)) for name in EXPLAINED[3:7])
        said.append(
            f"On {row['workload']} lr and rho together have {of_all} of {optimizer}'s explained variance; of that "
            f"lr/rho alone explains {ratio}, √rho alone {knee}, and the two added {both}."
        )
    return said


def _stretch_in_words(low: object, high: object) -> str:
    return short(low) if low == high else f"{short(low)} to {short(high)}"


def _shared(row: Mapping[object, object], intervals: pd.DataFrame) -> str:
    optimizer, name, count = str(row["optimizer"]), str(row["coordinate"]), int(str(row["workloads"]))
    everywhere = "both workloads" if count == 2 else f"all {number_of(count, 'workload')}"
    own = intervals[(intervals["optimizer"] == optimizer) & (intervals["coordinate"] == name)]
    limits = sorted({f"{loss:g}" for loss in own["loss_percent"].dropna()}, key=float)
    little = f"at most {' or '.join(limits)} % of what training gains" if limits else "little"
    if row["verdict"] == WITHIN:
        values = _stretch_in_words(row["low"], row["high"])
        return f"One {name} does for {optimizer} on {everywhere}: {values} loses {little} there, all else tuned again."
    groups = {word: [str(one) for one in _names(row[word])] for word in ("within", "beyond", "untold")}
    words = {"within": little, "beyond": "more", "untold": "what cannot be told"}
    value = row["value"]
    parts = [f"{words[word]} on {listing(names)}" for word, names in groups.items() if names]
    best = "" if value != value else f" The best there is, {name} {short(value)}, loses {listing(parts)}."
    if row["verdict"] == BEYOND:
        return f"No one {name} does for {optimizer} on {everywhere}: each loses more on one at least.{best}"
    return f"Whether one {name} does for {optimizer} on {everywhere} cannot be told.{best}"


def _names(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple | list) else ()
