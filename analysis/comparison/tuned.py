"""What a search over several optimizers (``sofim tune``) found of each, and what its two best tell.

One study chooses the optimizer too, gives most trials to what looks good, and was made once. So its table says how far
each optimizer came and with how many trials, and what is compared on fresh seeds are two configurations: the winner and
the runner-up, which is the best trial of the next best optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.workload_runs import once_a_seed
from analysis.intervals import Floats, difference, typical
from analysis.metric_scale import factor, floor_of, on_scale, scale_of
from analysis.schema import COUNTED
from analysis.study import Study
from analysis.text import format_value
from analysis.winners import ranked
from search_spaces.errors import number_of

COLUMNS = (
    "rank", "optimizer", "best", "trials", "complete", "runs", "runs_broken", "validation", "validation_low",
    "validation_high", "test", "test_low", "test_high", "number", "params",
)  # fmt: skip
SHOWN = "rank optimizer best trials complete runs runs_broken validation test params"
"""Columns that a page has room for."""

_NOT_OF_OPTIMIZERS = (
    "This is of two configurations that one search found, not of the optimizers: another search would find others. "
    "Optimizers are compared by sofim launch with replicates = 3, and sofim confirm."
)


@dataclass(frozen=True)
class Tuned:
    """What a search over several optimizers found.

    Attributes:
        table: A row an optimizer, see `optimizers`.
        sentences: What it does and does not show.
    """

    table: pd.DataFrame
    sentences: tuple[str, ...]


def tuned(study: Study, trials: pd.DataFrame, runs: pd.DataFrame) -> Tuned:
    """Return what a search over several optimizers found.

    Args:
        study: It.
        trials: Of it, and perhaps of others; see :func:`analysis.load.trials`.
        runs: Confirmation runs; see :func:`analysis.load.confirmations`.
    """
    trials, runs = trials[trials["study"] == study.name], runs[runs["study"] == study.name]
    table = optimizers(study, trials, runs)
    note = [study.data_note] if study.data_note else []
    return Tuned(table, (*_sentences(study, table, trials, runs), *note))


def optimizers(study: Study, trials: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return how far each optimizer came, best first.

    Returns:
        Columns: ``rank`` (by ``best``; -1 where no trial was complete, these come last), ``optimizer``, ``best`` (the
        best complete trial's value in the search, too good to be expected again), ``trials`` (that ended), ``complete``
        of these, ``runs`` of that trial on fresh seeds that ended (0 where it was not confirmed), ``runs_broken`` of
        these, which are in no mean, ``validation`` and ``test`` (means over the others, with 95 % of Student's t over
        seeds in ``…_low`` and ``…_high``), ``number`` (of the best trial; -1 without one) and ``params`` (its
        configuration, in the optimizer's own names).
    """
    ended = trials[trials["outcome"].isin(COUNTED)]
    of = _optimizers_of(ended)
    best = ranked(study, trials)
    first = best[~_optimizers_of(best).duplicated()]
    leaders = dict(zip(_optimizers_of(first), first.to_dict("records"), strict=True))
    names = [*leaders, *(name for name in study.campaign.get("optimizers", ()) if name not in leaders)]
    rows = []
    for name in names:
        own, leader = ended[of == name], leaders.get(name)
        number = -1 if leader is None else int(leader["number"])
        confirmed = _runs_of(runs, number)
        through = confirmed[confirmed["outcome"] == "complete"]
        rows.append(
            (
                -1,
                name,
                math.nan if leader is None else float(leader["value"]),
                len(own),
                int((own["outcome"] == "complete").sum()),
                len(confirmed),
                len(confirmed) - len(through),
                *estimate(study, through, "value"),
                *estimate(study, through, "test_metric"),
                number,
                {} if leader is None else _own_names(leader["params"], name),
            )
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    known = table["best"].notna()
    table.loc[known, "rank"] = table.loc[known, "best"].rank(method="min", ascending=study.direction == "minimize")
    return table.astype({"rank": "int64"})


def _own_names(params: Mapping[str, object], optimizer: str) -> dict[str, object]:
    """Return a configuration under the names that the optimizer's own space has."""
    return {name.removeprefix(f"{optimizer}."): value for name, value in params.items() if name != "optimizer"}


def estimate(study: Study, runs: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Return what a typical run gives, with its interval, within what the metric can be; NaN ends where none covers."""
    values = _finite(runs, column)
    scale = scale_of(study.scale, values, study.direction)
    seeds = runs.loc[np.isfinite(runs[column].to_numpy(np.float64)), "seed"] if len(values) else np.zeros(0)
    level, *ends, _ = typical(once_a_seed(on_scale(values, scale, floor_of(values)), np.asarray(seeds)))
    level, low, high = (factor(one) if scale == "log" else one for one in (level, *ends))
    least, most = study.bounds(values)
    return level, max(low, least), min(high, most)


def _optimizers_of(trials: pd.DataFrame) -> pd.Series:
    found: pd.Series = trials["params"].map(lambda params: str(params.get("optimizer", "")) or "unknown")
    return found


def _runs_of(runs: pd.DataFrame, number: int) -> pd.DataFrame:
    return runs[(runs["confirms"] == number).fillna(False).astype(bool) & runs["outcome"].isin(COUNTED)]


def _finite(runs: pd.DataFrame, column: str) -> Floats:
    values = runs[column].to_numpy(np.float64) if column in runs else np.zeros(0)
    return np.asarray(values[np.isfinite(values)])


def _sentences(study: Study, table: pd.DataFrame, trials: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    rows = table.to_dict("records")
    tried = [row for row in rows if row["trials"]]
    through = [row for row in rows if row["number"] >= 0]
    if not through:
        return ["No trial ran its whole budget, so nothing was found."]
    winner = through[0]
    if sum(row["trials"] for row in rows) == 1:
        return [f"One trial was run, of {winner['optimizer']}, so nothing was compared: give a larger --budget."]
    if len(tried) == 1:
        return [f"{winner['optimizer']} alone was tried, so no optimizer was compared with another."]
    if len(through) == 1:
        others = ", ".join(str(row["optimizer"]) for row in tried if row is not winner)
        return [
            f"No trial of another optimizer ran its whole budget ({others}), so {winner['optimizer']} was compared "
            "with none."
        ]
    return [*_two(study, winner, through[1], trials, runs), _NOT_OF_OPTIMIZERS]


def _two(
    study: Study, winner: Mapping[Any, Any], second: Mapping[Any, Any], trials: pd.DataFrame, runs: pd.DataFrame
) -> list[str]:
    """Return what is known of the difference between the winner and the runner-up."""
    pair = [_runs_of(runs, int(one["number"])) for one in (winner, second)]
    names = [str(one["optimizer"]) for one in (winner, second)]
    through = [own[own["outcome"] == "complete"] for own in pair]
    on_training = study.attributes.get("metric_split") == "train"
    is_tested = not on_training and all(len(_finite(own, "test_metric")) for own in through)
    column = "test_metric" if is_tested else "value"
    label = f"{'test' if is_tested else 'training' if on_training else 'validation'} {study.metric}"
    known = [own[np.isfinite(own[column].to_numpy(np.float64))] if column in own else own.head(0) for own in through]
    shared = set(known[0]["seed"]) & set(known[1]["seed"])  # time may have run out between the two
    together = [own[own["seed"].isin(shared)] for own in known]
    tied = winner["best"] == second["best"]
    if len(shared) < 2:
        came = "{} and {} came equally far" if tied else "{} came furthest in the search and {} next"
        return [
            f"{came.format(*names)}; the two were not run on enough fresh seeds "
            f"to be told apart ({len(through[0])} and {len(through[1])} runs came through, {len(shared)} of each on "
            "the same seeds; at least 2 are needed)."
        ]
    scale = scale_of(study.scale, trials.loc[trials["outcome"] == "complete", "value"], study.direction)
    floor = floor_of(np.concatenate([own[column] for own in together]))
    a, b = (
        once_a_seed(on_scale(own[column], scale, floor), own["seed"].to_numpy()) for own in together
    )  # a seed that was run twice is one
    found = difference(a, b)
    low, high = found.interval()
    if scale == "log":
        told = "ratio of the geometric means"
        numbers: Sequence[float] = [factor(number) for number in (found.estimate, low, high)]
    else:
        told, numbers = "difference of the means", (found.estimate, low, high)
    interval = "[{}, {}]".format(*map(format_value, numbers[1:]))
    on = f"On {number_of(len(shared), 'fresh seed')}, {label}"
    head = f"{on}, {names[0]} against {names[1]}: {told} {format_value(numbers[0])}"
    broken = [(name, len(own) - len(done)) for name, own, done in zip(names, pair, through, strict=True)]
    lost = [f"{count} of {name}'s runs broke" for name, count in broken if count]
    if lost:
        return [
            f"{head} {interval} (95 %, Welch) over the runs that came through; {' and '.join(lost)}, so no verdict."
        ]
    if found.error == 0:
        return [f"{head}; each gave the same on every seed, which leaves no interval and no verdict."]
    if low <= 0 <= high:
        return [f"{head} {interval} (95 %, Welch): no difference between these two could be shown."]
    first_better = (found.estimate > 0) == (study.direction == "maximize")
    better, other = names if first_better else names[::-1]
    turned = "" if first_better or tied else ", though the search had it the other way round"
    return [f"{head} {interval} (95 %, Welch): this configuration of {better} is better than that of {other}{turned}."]
