"""What one workload recommends of one optimizer: a configuration, what was measured of it, and what to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.defaults.evaluated import Evaluated, whole
from analysis.defaults.measured import NOWHERE, Estimate, Measured, why_worse
from analysis.defaults.pooled import search_of
from analysis.defaults.robust import robust, with_digits
from analysis.defaults.surrogates import Configuration, SurrogateStudy
from analysis.edges import edges
from analysis.intervals import Floats
from analysis.schema import COUNTED
from analysis.sensitivity.dependence import band
from analysis.text import NEVER_RUN, OTHER_SEARCH, format_params, number
from analysis.winners import ranked
from search_spaces import configuration_key

_LARGE_LOSS, _SMALL_LOSS = 20.0, 0.01  # of a first epoch, beyond what losses of classification are
_LOSS_UNITS = dict.fromkeys(
    ("sofim", "sofim-gradient", "sofim-tensor"), "SOFIM's lr is in units of the loss, its rho of a squared gradient"
)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A configuration and what speaks for it.

    Attributes:
        optimizer: Its key.
        workload: Where it comes from.
        params: Stored values, fixed ones included.
        kind: ``"robust"`` (best neighbourhood, rounded) or ``"winner"`` (the best trial, as it was, or with three
            digits where it was run so).
        metric: Name of the metric; ``direction`` says which way is better.
        direction: ``"maximize"`` or ``"minimize"``.
        scale: Of the metric, ``"linear"`` or ``"log"``.
        measured: Runs of this very configuration on fresh seeds of its workload; without a run nobody ran it.
        winner: The best trial, where that is another configuration, else ``None``.
        winner_measured: Runs of that on fresh seeds.
        predicted: Of the metric on validation data, averaged over its neighbourhood, with the 90 % interval over
            refits of the surrogate; NaN where the surrogate is not to be trusted, or predicts what no trial reached.
        trials: Of the searches that ended.
        searches: How many.
        notes: Why the evidence is weak, where it is, and what to do.
    """

    optimizer: str
    workload: str
    params: Mapping[str, object]
    kind: str
    metric: str
    direction: str
    scale: str
    measured: Measured
    winner: Mapping[str, object] | None
    winner_measured: Measured
    predicted: Estimate
    trials: int
    searches: int
    notes: tuple[str, ...] = ()


def choose(
    surrogate: SurrogateStudy, trials: pd.DataFrame, known: Evaluated, start: float, *, exact: bool
) -> Recommendation:
    """Return what a study recommends: the best neighbourhood, unless its winner was measured to be better.

    Args:
        surrogate: Of a study with a complete trial.
        trials: As :func:`analysis.load.trials` gives them, of all searches (see :mod:`analysis.defaults.pooled`).
        known: Runs on fresh seeds.
        start: Goodness that training starts from, one for all optimizers of the workload.
        exact: The winner in any case.
    """
    study = surrogate.study
    own = trials[trials["study"] == study.name]
    winner, notes = _winner(surrogate, own, known, start, exact=exact)
    of_winner = known.of(surrogate, winner, start)
    chosen, kind, of_chosen = winner, "winner", of_winner
    if not exact and surrogate.trusted:
        candidate = _robust(surrogate, own, known, start, of_winner)
        of_candidate = known.of(surrogate, candidate, start)
        worse = why_worse(of_candidate, of_winner)
        if worse:
            told = format_params(candidate)
            notes.append(
                f"the winner, in place of a robust configuration that was measured to be worse: {worse}; {told}"
            )
        elif configuration_key(candidate) != configuration_key(winner):
            chosen, kind, of_chosen = candidate, "robust", of_candidate
    elif not exact:
        notes.append(
            f"the best trial{' of its search' if notes else ''}, not a robust configuration: {surrogate.reason}"
        )
    if not of_chosen.runs:
        notes.append(NEVER_RUN)
    elif of_chosen.lost:
        notes.append(f"{of_chosen.losses}; the worst run that came through: {number(of_chosen.worst)}")
    values = surrogate.predicted({name: chosen[name] for name in study.parameters if name in chosen})
    return Recommendation(
        optimizer=study.optimizer,
        workload=study.workload,
        params=chosen,
        kind=kind,
        metric=study.metric,
        direction=study.direction,
        scale=surrogate.scale,
        measured=of_chosen,
        winner=None if kind == "winner" else winner,
        winner_measured=of_winner,
        predicted=_interval(values) if len(values) else NOWHERE,
        trials=int(own["outcome"].isin(COUNTED).sum()),
        searches=len({search_of(int(one)) for one in own["number"]}),
        notes=(*notes, *_advice(surrogate, chosen)),
    )


def _robust(
    surrogate: SurrogateStudy, trials: pd.DataFrame, known: Evaluated, start: float, of_winner: Measured
) -> dict[str, object]:
    """Return the trial with the best neighbourhood, rounded.

    Where nobody ran that, but another rounded trial that is predicted to be as good within the surrogate's error, and
    that was not measured to be worse than the winner, it is that one: what was run tells more than what is predicted.
    """
    study = surrogate.study
    best = whole(study, robust(surrogate))
    if known.of(surrogate, best, start).runs:
        return best
    infos = list(study.parameters.values())
    complete = trials.loc[trials["outcome"] == "complete", "params"]
    rounded = {
        configuration_key(one): one
        for params in complete
        for digits in range(1, 5)
        for one in [whole(study, with_digits(params, infos, digits))]
    }
    ran = {key: known.of(surrogate, one, start) for key, one in rounded.items() if known.has(surrogate, key)}
    sound = [key for key, runs in ran.items() if not runs.lost and not why_worse(runs, of_winner)]
    if not sound:
        return best
    middle = surrogate.around(surrogate.at([best, *(rounded[key] for key in sound)])).mean(axis=0)
    near = [key for key, value in zip(sound, middle[1:], strict=True) if value >= middle[0] - surrogate.error]
    return rounded[max(near, key=lambda key: np.mean(list(ran[key].goodness.values())))] if near else best


def _interval(values: Floats) -> Estimate:
    middle, low, high = band(values)
    return float(middle), float(low), float(high)


def _winner(
    surrogate: SurrogateStudy, trials: pd.DataFrame, known: Evaluated, start: float, *, exact: bool
) -> tuple[dict[str, object], list[str]]:
    """Return the best trial of all searches, or of those whose winner's runs came through, and notes on that.

    As it was where that is asked for (``exact``), else rounded to three digits where it was run so and is no worse.
    """
    study = surrogate.study
    every = ranked(study, trials)
    firsts = every[~every["number"].map(lambda one: search_of(int(one))).duplicated()]
    candidates = [whole(study, dict(params)) for params in firsts["params"]]
    shares = [known.of(surrogate, one, start).broken_share for one in candidates]
    place = int(np.argmin(shares))  # the first of the least, best value first
    notes = []
    if place:
        lost = known.of(surrogate, candidates[0], start).losses
        notes.append(f"{OTHER_SEARCH} than that with the best trial, of which {lost}")
    if surrogate.trusted or exact:
        return candidates[place], notes
    short = with_digits(candidates[place], list(study.parameters.values()), 3)
    rounded = known.of(surrogate, short, start)
    run_so = rounded.runs and not why_worse(rounded, known.of(surrogate, candidates[place], start))
    return (dict(short) if run_so else candidates[place]), notes


def _advice(surrogate: SurrogateStudy, params: Configuration) -> Iterator[str]:
    """Yield what the configuration's values and the workload's losses call for."""
    study = surrogate.study
    for edge in edges(study, params):
        yield f"{edge.sentence}; better may lie beyond, where a campaign looks that has {edge.line}"
    losses = surrogate.first_losses
    units = _LOSS_UNITS.get(study.optimizer)
    if units and len(losses):
        typical, most = float(np.median(losses)), float(np.quantile(losses, 0.9))
        if typical > _LARGE_LOSS or most < _SMALL_LOSS:
            wider = next((p for name, p in study.parameters.items() if name == "lr"), None)
            widen = f", or widen the range of lr ({number(wider.low)} to {number(wider.high)})" if wider else ""
            yield (
                f"the training loss is about {number(typical)} after the first epoch, far from 1, and {units}: scale "
                f"the targets so that it begins near 1{widen}"
            )
