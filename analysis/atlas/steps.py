"""Whether SOFIM's η and ρ are nearly one number: the factor η/(ρ + c) of its step.

A step is η M̂ / (ρ + ‖M̂‖²), M̂ the averaged gradient (arXiv 2403.02833). With one number c in place of ‖M̂‖², which
changes while a model is trained, η and ρ act as η/(ρ + c) alone: as η/ρ where c is 0, and as η where c is beyond all ρ.
How well that tells how trials rank is told by least squares: a polynomial of degree 5 in the logarithm of the factor,
the c for which it fits best; ranks, so that no scale of the metric matters. What ρ tells beside it is told by a
parabola in log ρ that is added, c chosen anew, and by the F test of the two fits. Shares are of trials that are left
out one at a time, c chosen without them. The interval of c holds 90 % over bootstraps of trials, for each workload by
itself, and is a sixteenth of a decade wider to both sides, as no c between is tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import special

from analysis.atlas.coordinates import RATIO, RHO, coordinates_of, log10_of
from analysis.comparison.pairwise import holm
from analysis.defaults.surrogates import SurrogateStudy
from analysis.intervals import Floats
from analysis.sensitivity.importance import LEVEL, MINIMUM_R2
from analysis.text import because, listing, two_digits
from search_spaces.errors import number_of

MINIMUM_TRIALS = 40
RESAMPLES = 400
SHARES = ("factor", "with_rho", "ratio", "lr", "rho")
COLUMNS = ("optimizer", "workload", "kind", "trials", *SHARES, "rho_counts", "c", "c_low", "c_high", "why_not")
_DEGREE = 5
_DEGREE_OF_RHO = 2
_A_DECADE = 16  # values of c


def steps(surrogates: Sequence[SurrogateStudy], rng: np.random.Generator) -> pd.DataFrame:
    """Return how well the factor of SOFIM's step tells how trials rank.

    Args:
        surrogates: Of a campaign, those of other optimizers left aside.
        rng: Draws bootstraps; of each workload alike, whichever others there are.

    Returns:
        A row an optimizer and workload: ``trials``, the shares of the variance of ranks that are told of trials left
        out, 0 where it is none, by ``factor`` (lr/(rho + c)), ``with_rho`` (this and a parabola in log rho), and
        ``ratio`` (lr/rho), ``lr`` and ``rho`` alone; ``rho_counts``, whether rho is shown to tell something beside the
        factor, at 5 % for all workloads of the optimizer together (Holm); ``c`` with ``c_low``, ``c_high`` (0: a
        function of lr/rho alone, infinite: of lr alone). All are NaN where ``why_not`` says why nothing is told.
    """
    seed = rng.integers(2**63)
    rows = [_row(one, np.random.default_rng(seed)) for one in surrogates if coordinates_of(one)]
    found = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"rho_counts": object})
    for _, own in found[found["why_not"] == ""].groupby("optimizer", sort=False):
        _, corrected = holm(own["rho_counts"].tolist())
        found.loc[own.index, "rho_counts"] = np.array(corrected) < 0.05
    return found


def _row(surrogate: SurrogateStudy, rng: np.random.Generator) -> tuple[object, ...]:
    """Return a row of `steps`, in which ``rho_counts`` is a p-value."""
    study, powers, nothing = surrogate.study, coordinates_of(surrogate), [math.nan] * 9
    names = [parameter.name for parameter in surrogate.parameters]
    needed = {name for own in powers.values() for name in own}
    if lost := sorted(needed - {*names}):
        why = f"{listing(lost)} had a single value, or too few trials"
        return (study.optimizer, study.workload, study.kind, len(surrogate.used.trials), *nothing, why)
    has_both = np.isfinite(surrogate.points[:, [names.index(name) for name in sorted(needed)]]).all(axis=1)
    points, trials = surrogate.points[has_both], int(has_both.sum())
    head = (study.optimizer, study.workload, study.kind, trials)
    if trials < MINIMUM_TRIALS:
        return (*head, *nothing, f"{trials} trials are too few, at least {MINIMUM_TRIALS} are needed")
    ranks = pd.Series(surrogate.used.goodness[has_both]).rank().to_numpy(np.float64)
    ranks = ranks - ranks.mean()
    if not ranks.any():
        return (*head, *nothing, "all trials are as good")
    rho = log10_of(surrogate, powers[RHO], points)
    rate = log10_of(surrogate, powers[RATIO], points) + rho
    values = _candidates(rho)
    factors = [legendre.legvander(_within(_factor(rate, rho, c)), _DEGREE) for c in values]
    parabola = legendre.legvander(_within(rho), _DEGREE_OF_RHO)[:, 1:]
    alone = [_orthonormal(table) for table in factors]
    beside = [_orthonormal(np.column_stack([table, parabola])) for table in factors]
    factor = _told(alone, ranks)
    if not factor >= MINIMUM_R2:
        why = f"lr/(rho + c) tells too little (R² {factor:.2f}, at least {MINIMUM_R2} is needed)"
        return (*head, *nothing, why)
    others = [_told([_orthonormal(legendre.legvander(_within(x), _DEGREE))], ranks) for x in (rate - rho, rate, rho)]
    weights = rng.multinomial(trials, np.full(trials, 1 / trials), size=RESAMPLES).astype(np.float64)
    chosen = np.array([_residual(basis, ranks, weights) for basis in alone]).argmin(axis=0)
    low, high = np.quantile(chosen, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest").astype(int)
    best = int(np.argmin([_left(basis, ranks) for basis in alone]))
    ends = values[max(0, low - 1)], values[min(len(values) - 1, high + 1)]
    shares = (max(0.0, share) for share in (factor, _told(beside, ranks), *others))
    return (*head, *shares, _p_value(alone, beside, ranks), values[best], *ends, "")


def _candidates(rho: Floats) -> Floats:
    """Return 0, values from a tenth of the least ρ to ten times the greatest one, and infinity."""
    low, high = rho.min() - 1, rho.max() + 1
    return np.array([0.0, *10 ** np.linspace(low, high, max(2, round((high - low) * _A_DECADE) + 1)), math.inf])


def _factor(rate: Floats, rho: Floats, c: float) -> Floats:
    """Return log10 of η/(ρ + c), but for a constant."""
    found: Floats = rate if math.isinf(c) else rate - np.log10(10**rho + c)
    return found


def _within(x: Floats) -> Floats:
    found: Floats = 2 * (x - x.min()) / (np.ptp(x) or 1.0) - 1
    return found


def _orthonormal(table: NDArray[np.floating]) -> Floats:
    """Return an orthonormal basis (n, d) of what the columns of a table span."""
    vectors, lengths, _ = np.linalg.svd(table, full_matrices=False)
    return np.asarray(vectors[:, lengths > lengths[0] * len(vectors) * np.finfo(float).eps])


def _left(basis: Floats, ranks: Floats) -> float:
    """Return the sum of squares that a fit leaves."""
    missed = ranks - basis @ (basis.T @ ranks)
    return float(missed @ missed)


def _told(bases: Sequence[Floats], ranks: Floats) -> float:
    """Return the share of the variance of ranks (of mean 0) that is told of trials left out, one at a time.

    Of several bases each trial is told by the one that fits the others best; never beyond the ranks that there are, as
    a polynomial would at the rim.
    """
    count, fits, missed = len(ranks), [], []
    for basis in bases:
        free = 1 - np.minimum((basis**2).sum(axis=1), 1 - 1e-9)
        here = ranks - basis @ (basis.T @ ranks)
        fits.append(float(here @ here) - here**2 / free)  # what the fit to all others leaves
        missed.append(here / free)
    foretold = ranks - np.array(missed)[np.argmin(fits, axis=0), np.arange(count)]
    out = ranks - np.clip(foretold, ranks.min(), ranks.max())
    return 1 - float(out @ out) / float(ranks @ ranks) * ((count - 1) / count) ** 2


def _p_value(alone: Sequence[Floats], beside: Sequence[Floats], ranks: Floats) -> float:
    """Return how probably ρ would tell so much beside the factor if it told nothing (F test, each with its best c)."""
    plain, more = (min(_left(basis, ranks) for basis in bases) for bases in (alone, beside))
    free = len(ranks) - beside[0].shape[1] - 1  # c is fitted too
    if more <= 0:
        return 1.0 if plain <= 0 else 0.0
    return float(special.fdtrc(_DEGREE_OF_RHO, free, (plain - more) / _DEGREE_OF_RHO / (more / free)))


def _residual(basis: Floats, ranks: Floats, weights: Floats) -> Floats:
    """Return what least squares leave, under each row of weights (m, n): shape (m,)."""
    count, terms = basis.shape
    products = (basis[:, :, None] * basis[:, None, :]).reshape(count, terms**2)
    squares = (weights @ products).reshape(-1, terms, terms) + 1e-9 * np.eye(terms)
    fitted = np.linalg.solve(squares, ((weights * ranks) @ basis)[..., None])[..., 0]
    left: Floats = (weights * (ranks - fitted @ basis.T) ** 2).sum(axis=1)
    return left


def sentences(table: pd.DataFrame, optimizer: str) -> list[str]:
    """Return what is known of one optimizer's factor; empty where nothing was asked.

    Args:
        table: Of `steps`.
        optimizer: Its key.
    """
    own = table[table["optimizer"] == optimizer]
    told, missing = own[own["why_not"] == ""], own[own["why_not"] != ""]
    said = []
    if len(told):
        count = number_of(len(told), "workload")
        factor, with_rho, ratio, lr, rho = (_shares(told[name]) for name in SHARES)
        said += [
            "SOFIM steps by lr/(rho + |m|²) times m, the averaged gradient. With one number c in place of |m|², "
            f"lr/(rho + c) alone tells {factor} of the variance of how trials of {optimizer} rank on {count}, with rho "
            f"beside it {with_rho}, lr/rho alone {ratio}, lr alone {lr}, rho alone {rho}.",
            *_lengths(told.to_dict("records")),
        ]
    if len(missing):
        said.append(
            f"How well lr/(rho + c) does for {optimizer} cannot be told on "
            f"{because(missing['workload'], missing['why_not'])}."
        )
    return said


def _lengths(rows: Sequence[Mapping[object, object]]) -> list[str]:
    """Return whether ρ tells more, the values of c, and what follows from them."""
    shown = [row for row in rows if row["rho_counts"]]
    gain = max((100 * (_number(row["with_rho"]) - _number(row["factor"])) for row in shown), default=0.0)
    more = [str(row["workload"]) for row in shown]
    values = [f"{c_in_words(row)} on {row['workload']}" for row in rows]
    said = [
        f"Beside lr/(rho + c) rho is shown to tell something on {listing(more)}, at most {max(0.0, gain):.1f} points "
        "of the variance (F tests, corrected by Holm)."
        if more
        else "That rho tells anything beside lr/(rho + c) is not shown (F tests, corrected by Holm).",
        f"c is {listing(values)} (90 %, each by itself).",
    ]
    if any(_number(row["c_low"]) > 0 and math.isfinite(_number(row["c_high"])) for row in rows):
        said.append(
            "As far as lr/(rho + c) goes, a rho far below c does nothing, and with one far above it only lr/rho counts."
        )
    return said


def _number(value: object) -> float:
    return float(str(value))


def c_in_words(row: Mapping[object, object]) -> str:
    """Return c of a row of `steps`, with its interval."""
    c, low, high = (_number(row[name]) for name in ("c", "c_low", "c_high"))
    if low == 0 and math.isinf(high):
        return "any number (not told)"
    if low == 0:
        return f"at most {two_digits(high)}"
    if math.isinf(high):
        return f"at least {two_digits(low)}"
    return f"{two_digits(c)} [{two_digits(low)}, {two_digits(high)}]"


def _shares(values: pd.Series) -> str:
    low, middle, high = (f"{100 * value:.0f}" for value in (values.min(), values.median(), values.max()))
    return f"{high} %" if low == high else f"{low} to {high} % (median {middle})"
