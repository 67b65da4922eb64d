"""Whether the epochs at which trials are stopped tell of the last one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.audit._looks import Finding
from analysis.audit._search import Search
from analysis.intervals import Floats

_FEWEST_RANKED = 5  # trials, and pairs of them that are apart, that tell a rank correlation
_CORRELATION = 0.2  # of ranks at a stopping epoch with later ones (Kendall's), which a search that stops needs
_STOPPED = 0.1  # part of the stopped trials from which an epoch is one where trials are stopped
_ERRORS = 2.0  # standard errors by which it is less


def correlation(searches: Sequence[Search]) -> Finding | None:
    """Tell whether the epochs at which trials were stopped say little of later ones.

    Of each pair of a stopping epoch and a later one (or the last), Kendall's rank correlation of the trials that came
    to the later one, within searches and over all of them. Pairs of trials count that are apart at both epochs by more
    than noise makes of two equal ones: who comes to the end was chosen for being good, so that in a sound search many
    survivors are as good as equal, in an order that says nothing. The standard error is that of a stratified S without
    a correlation.
    """
    stops = sorted({epoch for search in searches for epoch in _stops(search)})
    concordant: dict[tuple[int, int], list[float]] = {}
    for search in searches:
        for pair, counts in _concordance(search, stops).items():
            told = concordant.setdefault(pair, [0.0] * len(counts))
            concordant[pair] = [sum(both) for both in zip(told, counts, strict=True)]
    worst: tuple[float, int, int, int] | None = None
    for (early, late), (score, apart, pairs, variance, trials) in sorted(concordant.items()):
        if min(trials, apart) < _FEWEST_RANKED:
            continue
        tau, error = score / apart, math.sqrt(variance) / pairs
        if tau + _ERRORS * error < _CORRELATION and (worst is None or tau < worst[0]):
            worst = tau, early, late, int(trials)
    if worst is None:
        return None
    tau, early, late, trials = worst
    sentence = (
        f"Trials were stopped after epoch {early}, whose ranks say little of those after epoch {late} (rank "
        f"correlation {tau:.2f}, told by {trials} trials that came to it): good ones may have been stopped."
    )
    return sentence, 'pruner = "none"'


def _stops(search: Search) -> list[int]:
    """Return the epochs after which trials of a search were stopped, those of a stray one left out."""
    stopped = search.trials.loc[search.trials["outcome"] == "pruned", "number"]
    lengths = search.curves.reindex(stopped).notna().to_numpy().sum(axis=1)
    ends, counts = np.unique(lengths[lengths > 0], return_counts=True)
    return [int(end) for end, count in zip(ends, counts, strict=True) if count >= max(2, _STOPPED * len(stopped))]


def _concordance(search: Search, stops: Sequence[int]) -> dict[tuple[int, int], list[float]]:
    """Return by epochs compared Kendall's S, pairs that are apart, all pairs, the variance of S, and trials."""
    table = search.sign * search.curves.replace([np.inf, -np.inf], np.nan).to_numpy(np.float64)
    noise = math.sqrt(2) * _noise(table)
    epochs = [epoch for epoch in stops if epoch < table.shape[1]]
    found = {}
    for early, late in itertools.combinations([*epochs, table.shape[1]], 2):
        both = table[:, [early - 1, late - 1]]
        both = both[~np.isnan(both).any(axis=1)]
        n = len(both)
        if n < 3:
            continue
        gaps = [(column[:, None] - column)[np.triu_indices(n, 1)] for column in both.T]
        first, last = (np.where(np.abs(gap) > noise, np.sign(gap), 0.0) for gap in gaps)
        variance = n * (n - 1) * (2 * n + 5) / 18
        found[early, late] = [
            float(first @ last),
            float(np.count_nonzero(first * last)),
            n * (n - 1) / 2,
            variance,
            float(n),
        ]
    return found


def _noise(curves: Floats) -> float:
    """Return the standard deviation of what an epoch adds to curves (trials, epochs) beside their trend.

    Robustly of second differences, which have six times the variance of the noise; 0 where no curve has three epochs.
    """
    second = np.diff(curves, n=2, axis=1)
    second = second[np.isfinite(second)]
    return float(stats.median_abs_deviation(second, scale="normal")) / math.sqrt(6) if len(second) else 0.0
