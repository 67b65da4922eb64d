"""Whether SOFIM's η and ρ are one number: the factor η/(ρ + c) of its step.

A step is η M̂ / (ρ + ‖M̂‖²), M̂ the averaged gradient (arXiv 2403.02833). With one number c in place of ‖M̂‖², which
changes while a model is trained, η and ρ act as η/(ρ + c) alone: as η/ρ where c is 0, and as η where c is beyond all ρ.
How well that tells how trials rank is told by least squares: a polynomial of degree 5 in the logarithm of the factor,
the c for which it fits best. What ρ tells beside it would be seen in a polynomial of both, of degree 4. Shares are of
trials that are left out one at a time (PRESS); ranks, so that no scale of the metric matters. The interval of c holds
90 % over bootstraps of trials, and is a sixteenth of a decade wider to both sides, as no c between is tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.polynomial import legendre
from numpy.typing import NDArray

from analysis.atlas.coordinates import RATIO, RHO, coordinates_of, log10_of
from analysis.defaults.surrogates import SurrogateStudy
from analysis.intervals import Floats
from analysis.sensitivity.importance import LEVEL, MINIMUM_R2
from analysis.text import because, listing, two_digits
from search_spaces.errors import number_of

MINIMUM_TRIALS = 40
RESAMPLES = 400
COLUMNS = (
    "optimizer", "workload", "kind", "trials", "factor", "together", "ratio", "lr", "rho", "c", "c_low", "c_high",
    "why_not",
)  # fmt: skip
MORE = 0.1  # of the variance: what η and ρ together may tell beyond the factor before it is named
_DEGREE = 5
_DEGREE_OF_BOTH = 4
_A_DECADE = 16  # values of c


def steps(surrogates: Sequence[SurrogateStudy], rng: np.random.Generator) -> pd.DataFrame:
    """Return how well the factor of SOFIM's step tells how trials rank.

    Args:
        surrogates: Of a campaign, those of other optimizers left aside.
        rng: Draws bootstraps; of each workload alike, whichever others there are.

    Returns:
        A row an optimizer and workload: ``trials``, the shares of the variance of ranks that are told of trials left
        out, by ``factor`` (lr/(rho + c) with the best c), ``together`` (it and rho), and ``ratio`` (lr/rho), ``lr`` and
        ``rho`` alone (below 0: worse than the mean); ``c`` with ``c_low``, ``c_high`` (0: a function of lr/rho alone,
        infinite: of lr alone). All are NaN where ``why_not`` says why nothing is told.
    """
    seed = rng.integers(2**63)
    rows = [_row(one, np.random.default_rng(seed)) for one in surrogates if coordinates_of(one)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(surrogate: SurrogateStudy, rng: np.random.Generator) -> tuple[object, ...]:
    study, trials = surrogate.study, len(surrogate.used.trials)
    head = (study.optimizer, study.workload, study.kind, trials)
    powers = coordinates_of(surrogate)
    needed = {name for own in powers.values() for name in own}
    if lost := sorted(needed - {parameter.name for parameter in surrogate.parameters}):
        return (*head, *[math.nan] * 8, f"{listing(lost)} had a single value, or too few trials")
    if trials < MINIMUM_TRIALS:
        return (*head, *[math.nan] * 8, f"{trials} trials are too few, at least {MINIMUM_TRIALS} are needed")
    ranks = pd.Series(surrogate.used.goodness).rank().to_numpy(np.float64)
    ranks = ranks - ranks.mean()
    if not ranks.any():
        return (*head, *[math.nan] * 8, "all trials are as good")
    rho = log10_of(surrogate, powers[RHO], surrogate.points)
    rate = log10_of(surrogate, powers[RATIO], surrogate.points) + rho
    values = _candidates(rho)
    designs = [_of_one(_factor(rate, rho, c)) for c in values]
    weights = np.vstack(
        [np.ones(trials), rng.multinomial(trials, np.full(trials, 1 / trials), size=RESAMPLES).astype(np.float64)]
    )
    chosen = np.array([_residual(design, ranks, weights) for design in designs]).argmin(axis=0)
    low, high = np.quantile(chosen[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest").astype(int)
    alone = [_told(_of_one(x), ranks) for x in (rate - rho, rate, rho)]
    best = int(chosen[0])
    factor, together = _told(designs[best], ranks), _told(_of_both(_factor(rate, rho, values[best]), rho), ranks)
    if not max(factor, together) >= MINIMUM_R2:
        why = f"lr and rho tell too little (R² {max(factor, together):.2f}, at least {MINIMUM_R2} is needed)"
        return (*head, *[math.nan] * 8, why)
    ends = values[max(0, low - 1)], values[min(len(values) - 1, high + 1)]
    return (*head, factor, together, *alone, values[best], *ends, "")


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


def _of_one(x: Floats) -> Floats:
    """Return an orthonormal basis (n, d) of the polynomials of x at n places."""
    return _orthonormal(legendre.legvander(_within(x), _DEGREE))


def _of_both(x: Floats, y: Floats) -> Floats:
    """Return that of the polynomials of x and y, those of x alone among them."""
    degree = _DEGREE_OF_BOTH
    table = legendre.legvander2d(_within(x), _within(y), [degree, degree])
    i, j = np.divmod(np.arange(table.shape[1]), degree + 1)
    return _orthonormal(np.column_stack([table[:, i + j <= degree], _of_one(x)]))


def _orthonormal(table: NDArray[np.floating]) -> Floats:
    vectors, lengths, _ = np.linalg.svd(table, full_matrices=False)
    return np.asarray(vectors[:, lengths > lengths[0] * len(vectors) * np.finfo(float).eps])


def _told(basis: Floats, ranks: Floats) -> float:
    """Return the share of the variance of ranks (of mean 0) that is predicted of trials left out of the fit."""
    count = len(ranks)
    influence = np.minimum((basis**2).sum(axis=1), 1 - 1e-9)
    missed = (ranks - basis @ (basis.T @ ranks)) / (1 - influence)
    return 1 - float(missed @ missed) / float(ranks @ ranks) * ((count - 1) / count) ** 2


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
    told = own[own["factor"].notna()]
    missing = own[own["factor"].isna()]
    said = []
    if len(told):
        count = number_of(len(told), "workload")
        factor, together, ratio, lr, rho = (_shares(told[name]) for name in COLUMNS[4:9])
        said += [
            "SOFIM steps by lr/(rho + |m|²) times m, the averaged gradient. With one number c in place of |m|², "
            f"lr/(rho + c) alone tells {factor} of the variance of how trials of {optimizer} rank on {count}, lr and "
            f"rho together {together}, lr/rho alone {ratio}, lr alone {lr}, rho alone {rho}.",
            *_lengths(told.to_dict("records")),
        ]
    if len(missing):
        said.append(
            f"How well lr/(rho + c) does for {optimizer} cannot be told on "
            f"{because(missing['workload'], missing['why_not'])}."
        )
    return said


def _lengths(rows: Sequence[Mapping[object, object]]) -> list[str]:
    """Return the values of c, and what follows from them."""
    more = [str(row["workload"]) for row in rows if _number(row["together"]) - _number(row["factor"]) > MORE]
    values = [f"{c_in_words(row)} on {row['workload']}" for row in rows]
    said = [f"c is {listing(values)} (90 %)."]
    if more:
        said.append(f"On {listing(more)} lr and rho together tell more than that by over {100 * MORE:.0f} %.")
    if len(more) < len(rows):
        said.append(
            f"No more than that is seen of rho {'elsewhere' if more else 'there'}: far below c it does nothing and lr "
            "alone counts, far above c lr/rho does."
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
    low, middle, high = (100 * max(0.0, value) for value in (values.min(), values.median(), values.max()))
    if len(values) == 1:
        return f"{high:.0f} %"
    return f"{low:.0f} to {high:.0f} % (median {middle:.0f})"
