"""Who drew the configurations of a search: its sampler's model, chance, or a person."""

from __future__ import annotations

import pandas as pd

from analysis.schema import COUNTED, DRAWERS, DRAWN_BY
from search_spaces.samplers import SAMPLERS


def drawn_counts(trials: pd.DataFrame) -> pd.DataFrame | None:
    """Return how many of each study's trials were drawn by whom.

    Args:
        trials: Of studies, columns of :func:`analysis.load.trials`; those that are asked again, or run, do not count.

    Returns:
        A row a study that has trials, columns `analysis.schema.DRAWERS`; ``None`` where the trials do not tell, as
        those of protocol 1.
    """
    counted = trials[trials["outcome"].isin(COUNTED)]
    if DRAWN_BY not in counted or not counted[DRAWN_BY].isin(DRAWERS).all():
        return None
    table = pd.crosstab(counted["study"], counted[DRAWN_BY])
    return table.reindex(columns=list(DRAWERS), fill_value=0)


def drawn_in_words(counts: pd.DataFrame) -> str:
    """Return the counts of `drawn_counts` as a part of a sentence; empty where there are no trials.

    >>> drawn_in_words(pd.DataFrame({"given": [1, 1], "random": [9, 8], "model": [20, 21]}))
    'of 30 trials of a study the model drew 20 to 21, 8 to 9 were random, and 1 was given'
    >>> drawn_in_words(pd.DataFrame({"given": [1], "random": [0], "model": [0]}))
    'of 1 trial of a study the model drew none, and 1 was given'
    """
    if counts.empty:
        return ""
    total = counts.sum(axis=1)
    trials = _span(total) + (" trial" if (total == 1).all() else " trials")
    others = [
        f"{_span(counts[name])} {'was' if (counts[name] == 1).all() else 'were'} {name}"
        for name in ("random", "given")
        if counts[name].any()
    ]
    model = _span(counts["model"]) if counts["model"].any() else "none"
    return ", ".join(
        [f"of {trials} of a study the model drew {model}", *others[:-1], *(f"and {x}" for x in others[-1:])]
    )


def model_in_words(sampler: object, trials: pd.DataFrame) -> str:
    """Return what of the trials the model of a campaign's sampler drew; empty where that has none.

    Args:
        sampler: The key that the campaign stores.
        trials: As of `drawn_counts`.
    """
    row = SAMPLERS.get(str(sampler))
    if row is None or not row.learns:
        return ""
    counts = drawn_counts(trials)
    return "how many of the trials the model drew is not known" if counts is None else drawn_in_words(counts)


def _span(numbers: pd.Series) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low}" if low == high else f"{low} to {high}"
