"""Whether the epochs at which trials are stopped tell of the last one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from analysis.audit._looks import Finding
from analysis.audit._search import Search

_FEWEST_RANKED = 5  # trials that tell a rank correlation
_CORRELATION = 0.2  # of ranks at a stopping epoch with later ones (Kendall's), which a search that stops needs
_STOPPED = 0.1  # part of the stopped trials from which an epoch is one where trials are stopped
_ERRORS = 2.0  # standard errors by which it is less


def correlation(searches: Sequence[Search]) -> Finding | None:
    """Tell whether the epochs at which trials were stopped say little of later ones.

    Of each pair of a stopping epoch and a later one (or the last), Kendall's rank correlation of the trials that came
    to the later one, within searches and over all of them (a stratified S, with its variance without a correlation).
    """
    concordant: dict[tuple[int, int], list[float]] = {}
    for search in searches:
        for pair, counts in _concordance(search).items():
            told = concordant.setdefault(pair, [0.0, 0.0, 0.0, 0.0])
            concordant[pair] = [sum(both) for both in zip(told, counts, strict=True)]
    worst: tuple[float, int, int, int] | None = None
    for (early, late), (score, pairs, variance, trials) in sorted(concordant.items()):
        if trials < _FEWEST_RANKED or not pairs:
            continue
        tau, error = score / pairs, math.sqrt(variance) / pairs
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


def _concordance(search: Search) -> dict[tuple[int, int], list[float]]:
    """Return Kendall's S, the number of pairs, the variance of S and the number of trials, by epochs compared."""
    stopped = search.trials.loc[search.trials["outcome"] == "pruned", "number"]
    table = search.sign * search.curves
    lengths = table.reindex(stopped).notna().to_numpy() @ np.ones(table.shape[1])
    ends, counts = np.unique(lengths[lengths > 0].astype(int), return_counts=True)
    stops = [int(end) for end, count in zip(ends, counts, strict=True) if count >= max(2, _STOPPED * len(stopped))]
    found = {}
    for early, late in itertools.combinations([*stops, table.shape[1]], 2):
        both = table.iloc[:, [early - 1, late - 1]].replace([np.inf, -np.inf], np.nan).dropna().to_numpy(np.float64)
        n = len(both)
        if n < 3:
            continue
        first, last = (np.sign(column[:, None] - column)[np.triu_indices(n, 1)] for column in both.T)
        found[early, late] = [float(first @ last), n * (n - 1) / 2, n * (n - 1) * (2 * n + 5) / 18, float(n)]
    return found
