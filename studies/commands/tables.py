"""What the command line prints: tables of what trials and confirmation runs gave."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from analysis.text import format_value
from studies.commands.find import existing
from studies.commands.screen import print_table

if TYPE_CHECKING:
    import pandas as pd

    from analysis.load import Study


def print_leaderboard(campaign: str, storage: str, console: Console) -> None:
    """Which optimizer is ahead on each workload, and with which hyperparameters."""
    from analysis.comparison import leaderboard
    from analysis.load import studies, trials

    with existing(storage) as opened:
        found = studies(opened, campaign)
        board = leaderboard(found, trials(opened, found))
    splits = {
        study.workload: "training" if study.attributes.get("metric_split") == "train" else "validation"
        for study in found
    }
    better = {study.workload: study.better for study in found}
    for workload, rows in board.groupby("workload", sort=False):
        first = rows.iloc[0]
        made = [
            (
                str(row["rank"]),
                str(row["optimizer"]),
                format_value(row["best"]),
                format_params(row["params"]) or "no trial ran its whole budget",
                _outcomes(row),
            )
            for row in rows.to_dict("records")
        ]
        metric = str(first["metric"])
        title = f": best {metric} on {splits[str(workload)]} data ({better[str(workload)]})"
        meaning = _meaning(str(workload), metric)
        title += f"; {metric}: {meaning}" if meaning else ""
        console.print(Text.assemble((str(workload), "bold"), title), soft_wrap=True)
        headings = ("", "optimizer", metric, "hyperparameters", "trials")
        print_table(console, headings, made, right={0, 2, 4}, under=3)
        console.print()


def print_confirmed(campaign: str, storage: str, console: Console, top: int = 1) -> None:
    """Print what the present winners of each study gave on fresh seeds, best test mean first within each workload.

    The means are plain and nothing is said of who is better, which takes intervals: ``sofim report`` gives them.

    Args:
        campaign: Its name.
        storage: Database URL.
        console: Where to print.
        top: Number of winners of each study.
    """
    from analysis.load import confirmations, studies, trials

    with existing(storage) as opened:
        found = studies(opened, campaign)
        searched, runs = trials(opened, found), confirmations(opened, found)
    for workload in dict.fromkeys(study.workload for study in found):
        own = [study for study in found if study.workload == workload]
        rows = [row for study in own for row in _confirmed_rows(study, searched, runs, top)]
        if not rows:
            continue
        metric, maximize = own[0].metric, own[0].direction == "maximize"
        on_training = own[0].attributes.get("metric_split") == "train"
        # a metric of the training objective has no counterpart on test data; its test loss stands there
        better_high = maximize and not on_training
        # runs that did not come through are no small matter: whoever has some stands below whoever has none
        rows.sort(key=lambda row: (row.lost, (-row.test[0] if better_high else row.test[0]) if row.test else math.inf))
        headings = (
            "optimizer",
            f"{'training' if on_training else 'validation'}\n{metric}",
            f"test\n{'loss' if on_training else metric}",
            "seeds",
            "hyperparameters",
        )
        made = [(row.name, _spread(row.value), _spread(row.test), row.seeds, format_params(row.params)) for row in rows]
        title = ": the winners on fresh seeds, mean ± standard deviation"
        console.print(Text.assemble((workload, "bold"), title), soft_wrap=True)
        print_table(console, headings, made, right={1, 2, 3}, under=4)
        console.print()


class _Confirmed(NamedTuple):
    """A winner on fresh seeds; of ``value`` and ``test``, mean and standard deviation, or nothing."""

    name: str
    value: tuple[float, ...]
    test: tuple[float, ...]
    seeds: str
    lost: bool
    params: Mapping[str, object]


def _confirmed_rows(study: Study, searched: pd.DataFrame, runs: pd.DataFrame, top: int) -> Iterator[_Confirmed]:
    """Return a row for each of the best ``top`` trials of a study that has been confirmed."""
    from analysis.winners import ranked

    for rank, winner in enumerate(ranked(study, searched).head(top).to_dict("records"), start=1):
        own = runs[(runs["study"] == study.name) & (runs["confirms"] == winner["number"])]
        ended = own[~own["outcome"].isin(["running", "lost"])]
        if ended.empty:
            continue
        through = ended[ended["outcome"] == "complete"]
        counts = ended["outcome"].value_counts()
        bad = [f"{counts[name]} {name}" for name in ("diverged", "failed") if name in counts]
        yield _Confirmed(
            name=study.optimizer if top == 1 else f"{study.optimizer} ({rank})",
            value=_mean_and_deviation(through["value"]),
            test=_mean_and_deviation(through["test_metric"]) if "test_metric" in through else (),
            seeds=f"{len(through)} of {len(ended)}, {', '.join(bad)}" if bad else str(len(ended)),
            lost=bool(bad),
            params=winner["params"],
        )


def _mean_and_deviation(values: pd.Series[float]) -> tuple[float, ...]:
    """Mean, and standard deviation of a sample where there are two values at least."""
    listed = [float(value) for value in values.dropna()]
    return (fmean(listed), *([stdev(listed)] if len(listed) > 1 else [])) if listed else ()


def _spread(numbers: tuple[float, ...]) -> str:
    return " ± ".join([format_value(numbers[0]), *(f"{number:.2g}" for number in numbers[1:])]) if numbers else "–"


def format_params(params: Mapping[str, object]) -> str:
    """Return a configuration on one line, numbers with four significant digits."""
    return ", ".join(f"{k}={format(v, '.4g') if isinstance(v, float) else v}" for k, v in params.items())


def _outcomes(row: Mapping[Any, Any]) -> str:
    names = ("complete", "pruned", "diverged", "failed")
    return ", ".join(f"{row[name]} {name}" for name in names if row[name])


def _meaning(workload: str, metric: str) -> str:
    """Return what a metric of a workload of ours is, where its name does not say so."""
    from studies.workloads import WORKLOADS

    row = WORKLOADS.get(workload)
    return row.metric.meaning if row is not None and row.metric.name == metric else ""
