"""What an audit looks for in one search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy import stats

from analysis.audit._search import Search
from analysis.edges import edges, widened
from analysis.intervals import Floats
from analysis.sensitivity import scales
from analysis.study import Study
from analysis.text import command, number
from search_spaces import configuration_key
from search_spaces.errors import number_of
from search_spaces.samplers import SAMPLERS

TRIALS_PER_PARAMETER = 5
"""Trials for each parameter that varies, below which a search has few."""
_NEAR = 0.1  # part of the range within which the winner is near an end, and twice that of few complete trials
_SLOPE = 3.5  # times its standard error that the slope towards the end has
_LATE = 0.25  # last part of the epochs
_EARLY = 0.1  # first part of them
_FEWEST_EPOCHS = 8  # of which a quarter says something
_P = 0.01  # of a gain that noise makes
_GAIN = 0.02  # part of all that training gains after its first epoch, which is worth more epochs
_FEWEST_GAINS = 3
_SEEDS_CHANGE = 2.0  # standard deviations of the difference of two runs
_DRAWN = 0.25  # part of the trials that a sampler that learns draws at least
Finding = tuple[str, str]
"""A sentence, and what mends it."""


def _edge(search: Search) -> Finding | None:
    """Tell whether the winner is near an end of a range towards which the trials get better."""
    winner = search.complete.iloc[0]["params"]
    apart = 2 / (len(search.complete) + 1)  # of a few complete trials none needs to be closer
    near = edges(search.study, winner, near=min(max(_NEAR, apart), 2 * _NEAR))
    if not near:
        return None
    rank = _ranks(search)
    points = scales.encode(search.varying, list(search.trials["params"]))
    told = []
    for edge in near:
        column = [one.name for one in search.varying].index(edge.parameter.name)
        slope = _slope_at(points, rank, column, 1.0 if edge.end == "upper" else 0.0)
        if (slope if edge.end == "upper" else -slope) >= _SLOPE:
            told.append(edge)
    if not told:
        return None
    sentence = f"The winner's {'; '.join(edge.sentence for edge in told)}, and trials get better towards it."
    return sentence, widened(search.study, told[0].parameter, told[0].end)


def _ranks(search: Search) -> Floats:
    """Return the share of the other trials that each was better than (a tie is half), at the last epoch both came to.

    Those that diverged or failed lose against all others.
    """
    trials = search.trials
    worked = trials["outcome"].isin(["complete", "pruned"]).to_numpy()
    table = search.sign * search.curves.reindex(trials["number"]).to_numpy(np.float64)
    complete = (trials["outcome"] == "complete").to_numpy()
    final = np.where(complete, search.sign * trials["value"].to_numpy(np.float64), np.nan)
    values = np.column_stack([np.where(worked[:, None], table, np.nan), final])
    last = np.where(np.isnan(values), -1, np.arange(values.shape[1])).max(axis=1)
    wins = np.zeros(len(trials))
    for epoch in np.unique(last):
        here, later = last == epoch, last > epoch
        wins[later] += here.sum() if epoch < 0 else 0.0
        wins[here] += 0.5 * (here.sum() - 1) if epoch < 0 else 0.0
        if epoch >= 0:
            at = np.nan_to_num(values[:, epoch], nan=-np.inf)
            for ours, others in ((here, here), (here, later), (later, here)):
                ordered = np.sort(at[others])
                below, upto = (np.searchsorted(ordered, at[ours], side) for side in ("left", "right"))
                wins[ours] += 0.5 * (below + upto) - (0.5 if ours is others else 0.0)
    return wins / max(len(trials) - 1, 1)


def _slope_at(points: Floats, rank: Floats, column: int, at: float) -> float:
    """Return the slope of the ranks along one parameter at an end of its range, in standard errors.

    Of least squares on all parameters, squared ones where there are trials enough: a search that learns moves along
    all of them at once, and gets better as it does.
    """
    n, d = points.shape
    known = np.where(np.isnan(points), 0.5, np.clip(points, 0.0, 1.0))
    centred = known - known.mean(axis=0)
    own = known[:, column] - at  # so that the linear coefficient is the slope at the end
    others = np.delete(centred, column, axis=1)
    design = [np.ones(n), own, own**2, *others.T]
    if n >= 3 * (2 * d + 1):
        design += list((others**2).T)
    matrix = np.column_stack(design)
    if n <= matrix.shape[1] + 2 or np.ptp(own) == 0:
        return 0.0
    inverse = np.linalg.pinv(matrix.T @ matrix)
    coefficients = inverse @ matrix.T @ rank
    left = rank - matrix @ coefficients
    variance = float(left @ left) / (n - matrix.shape[1]) * inverse[1, 1]
    return float(coefficients[1] / math.sqrt(variance)) if variance > 0 else 0.0


def _good_curves(search: Search) -> Floats:
    """Return the curves of the best third of the complete trials, three at least, greater is better (trials, epochs).

    Those of a whole length alone, that of the winner first; none where that is not whole.
    """
    whole = search.curves.reindex(search.complete["number"]).replace([np.inf, -np.inf], np.nan).dropna()
    if len(whole) and whole.index[0] != search.complete["number"].iloc[0]:
        whole = whole.head(0)
    count = max(_FEWEST_GAINS, math.ceil(len(search.complete) / 3))
    return np.asarray(search.sign * whole.head(count).to_numpy(np.float64))


def _late(search: Search) -> Finding | None:
    """Tell whether good trials were still getting better when their epochs ended."""
    good = _good_curves(search)
    epochs = good.shape[1]
    if len(good) < _FEWEST_GAINS or epochs < _FEWEST_EPOCHS:
        return None
    best = int(good[0].argmax()) + 1
    quarter = max(2, math.floor(_LATE * epochs))
    if best <= epochs - quarter:
        return None
    half = quarter // 2
    gains = np.median(good[:, -half:], axis=1) - np.median(good[:, -quarter - half : -quarter], axis=1)
    whole = float(np.median(good.max(axis=1) - good[:, 0]))
    if not whole > 0 or float(np.median(gains)) < _GAIN * whole:
        return None
    if not _positive(gains):
        return None
    sentence = (
        f"The winner's best epoch is {best} of {epochs}, and good trials were still getting better: train longer."
    )
    return sentence, f"epochs = {2 * epochs}"


def _positive(gains: Floats) -> bool:
    """Return whether gains (trials,) are above 0 by more than noise makes."""
    if not np.ptp(gains):
        return bool(gains[0] > 0)
    return bool(stats.ttest_1samp(gains, 0.0, alternative="greater").pvalue < _P)


def _early(search: Search) -> Finding | None:
    """Tell whether good trials were best at the very beginning."""
    good = _good_curves(search)
    epochs = good.shape[1]
    if len(good) < _FEWEST_GAINS or epochs < _FEWEST_EPOCHS:
        return None
    best = good.argmax(axis=1) + 1
    limit = max(1, math.floor(_EARLY * epochs))
    losses = good[:, :limit].mean(axis=1) - np.median(good[:, -max(2, math.floor(_LATE * epochs)) :], axis=1)
    if best[0] > limit or np.median(best) > limit or not _positive(losses):
        return None
    sentence = f"The winner's best epoch is {best[0]} of {epochs}, as are good trials': what follows makes it worse."
    return sentence, f"epochs = {max(1, epochs // 2)}"


def _default(search: Search) -> Finding | None:
    """Tell whether the search found nothing better than the default, beyond what seeds change."""
    parameters = search.study.parameters
    default = {one.name: one.default for one in parameters.values() if one.default is not None}
    if not default or len(default) < len(parameters):
        return None
    key = configuration_key(default)
    own = [configuration_key({name: params.get(name) for name in default}) for params in search.complete["params"]]
    if key not in own:
        return None
    trials = number_of(len(search.trials), "trial")
    place = own.index(key)
    if place == 0:
        return f"The winner is the default: none of {trials} was better.", _more_trials(
            search.study, 2 * len(search.trials)
        )
    lead = search.sign * (search.complete["value"].iloc[0] - search.complete["value"].iloc[place])
    if not lead < _SEEDS_CHANGE * math.sqrt(2) * search.spread:
        return None
    sentence = (
        f"The default, not tuned, came to {_told(search, place)}, the winner of {trials} to {_told(search, 0)}: less "
        "apart than two seeds of the winner may be."
    )
    return sentence, command("confirm", str(search.study.campaign["name"]), "--seeds", "20")


def _told(search: Search, place: int) -> str:
    """Return the value of a complete trial, in units of the metric."""
    row = search.complete.iloc[place]
    return number(float(search.measured[row["number"]]))


def _few(search: Search) -> Finding | None:
    """Tell whether the trials are few for the parameters."""
    trials, parameters = len(search.trials), len(search.varying)
    if not parameters or trials >= TRIALS_PER_PARAMETER * parameters:
        return None
    vary = number_of(parameters, "parameter that varies", "parameters that vary")
    sentence = f"{number_of(trials, 'trial is', 'trials are')} few for {vary}."
    return sentence, _more_trials(search.study, TRIALS_PER_PARAMETER * parameters)


def _drawn(search: Search) -> Finding | None:
    """Tell whether a sampler that learns drew hardly any trial from what it had learned."""
    sampler = str(search.study.campaign.get("sampler", ""))
    row = SAMPLERS.get(sampler)
    if row is None or not row.learns or "drawn_by" not in search.trials or search.trials["drawn_by"].isna().all():
        return None
    drawn = int((search.trials["drawn_by"] == "model").sum())
    if drawn >= _DRAWN * len(search.trials):
        return None
    sentence = (
        f"The sampler {sampler} drew {drawn} of {number_of(len(search.trials), 'trial')} from what it had learned; the "
        "others are independent draws, or were given."
    )
    return sentence, _more_trials(search.study, 2 * len(search.trials))


def _more_trials(study: Study, trials: int) -> str:
    return command("launch", str(study.campaign["name"]), "--extend", "--trials", str(trials))


KINDS: Mapping[str, Callable[[Search], Finding | None]] = {
    "edge": _edge,
    "late": _late,
    "early": _early,
    "default": _default,
    "few": _few,
    "drawn": _drawn,
}
"""What is looked for in each search."""
