"""What the command line prints: tables of what trials and confirmation runs gave."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from analysis.schema import DEFAULT
from analysis.text import format_params, format_value, listing
from studies.called import command_line
from studies.commands.find import existing
from studies.commands.options import storage_again
from studies.commands.screen import print_table, say, verbatim

if TYPE_CHECKING:
    import pandas as pd

    from analysis.load import Study

_ROUNDING = 1e-12
_FLAGS = 6  # of an audit that fit on a screen below a leaderboard


def print_leaderboard(campaign: str, storage: str, console: Console) -> None:
    """Which optimizer is ahead on each workload, and with which hyperparameters."""
    from analysis.comparison import leaderboard
    from analysis.load import studies, trials

    with existing(storage) as opened:
        found = studies(opened, campaign, replicates=True)
        board = leaderboard(found, trials(opened, found))
    splits = {
        study.workload: "training" if study.attributes.get("metric_split") == "train" else "validation"
        for study in found
    }
    better = {study.workload: study.better for study in found}
    for workload, rows in board.groupby("workload", sort=False):
        first, several = rows.iloc[0], int(rows["searches"].max()) > 1
        made = [
            (
                str(row["rank"]),
                str(row["optimizer"]),
                format_value(row["best"]),
                *([f"{row['search']} of {row['searches']}"] if several else []),
                format_params(row["params"]) or "no trial ran its whole budget",
                _outcomes(row),
            )
            for row in rows.to_dict("records")
        ]
        metric = str(first["metric"])
        title = f": best {metric} on {splits[str(workload)]} data ({better[str(workload)]})"
        meaning = _meaning(str(workload), metric)
        title += f"; {metric}: {meaning}" if meaning else ""
        title += "; the best of each optimizer's searches, trials of all" if several else ""
        console.print(Text.assemble((str(workload), "bold"), title), soft_wrap=True)
        headings = ("", "optimizer", metric, *(["search"] if several else []), "hyperparameters", "trials")
        last = len(headings) - 1
        print_table(console, headings, made, right={0, 2, last}, under=last - 1)
        console.print()


def print_confirmed(campaign: str, storage: str, console: Console, top: int = 1) -> None:
    """Print what the present winners of each optimizer gave on fresh seeds, best first within each workload.

    The means are plain and nothing is said of who is better, which takes intervals: ``sofim report`` gives them.

    Args:
        campaign: Its name.
        storage: Database URL.
        console: Where to print.
        top: Number of winners of each search.
    """
    from analysis.load import ablation_runs, confirmations, studies, trials

    with existing(storage) as opened:
        found = studies(opened, campaign, replicates=True)
        searched, runs, beside = trials(opened, found), confirmations(opened, found), ablation_runs(opened, found)
    for workload in dict.fromkeys(study.workload for study in found):
        of: dict[str, list[Study]] = {}
        for study in found:
            if study.workload == workload:
                of.setdefault(study.optimizer, []).append(study)
        rows = [row for own in of.values() for row in _confirmed_rows(own, searched, runs, top)]
        if rows:
            rows += [row for own in of.values() for row in _default_rows(own[0], beside)]
            _print_rows(next(iter(of.values()))[0], rows, console)


def _print_rows(study: Study, rows: list[_Confirmed], console: Console) -> None:
    """Print the rows of one workload, of which ``study`` is one, in the order of the number that decides."""
    metric, on_training = study.metric, study.attributes.get("metric_split") == "train"
    # a metric of the training objective has no counterpart on test data; its test loss stands there
    tested = not on_training and any(row.test for row in rows)
    decides = f"{'test' if tested else 'training' if on_training else 'validation'} {metric}"
    sign = -1.0 if study.direction == "maximize" else 1.0

    # runs that did not come through are no small matter: whoever has some stands below whoever has none
    def place(row: _Confirmed) -> tuple[bool, float]:
        decisive = row.test if tested else row.value
        return row.lost, sign * decisive[0] if decisive else math.inf

    searches = max(row.searches for row in rows)
    headings = (
        "optimizer",
        f"{'training' if on_training else 'validation'}\n{metric}",
        f"test\n{'loss' if on_training else metric}",
        *(["searches"] if searches > 1 else []),
        "runs" if searches > 1 else "seeds",
        "hyperparameters",
    )
    made = [
        (
            row.name,
            _spread(row.value),
            _spread(row.test),
            *([str(row.searches or "–")] if searches > 1 else []),
            row.runs,
            format_params(row.params),
        )
        for row in sorted(rows, key=place)
    ]
    over = "mean ± standard deviation"
    if searches > 1:
        alone = ["a default"] * any(not row.searches for row in rows) + ["one search"] * any(
            row.searches == 1 for row in rows
        )
        over += f" over searches{f' (of {listing(alone)} over seeds)' if alone else ''}"
        over += f"; hyperparameters of the winner that is best on {'training' if on_training else 'validation'} data"
    last = ", those with runs that broke last" if {row.lost for row in rows} == {True, False} else ""
    title = f": the winners on fresh seeds, {over}; the order is by {decides} ({study.better}){last}"
    console.print(Text.assemble((study.workload, "bold"), title), soft_wrap=True)
    column = len(headings) - 1
    print_table(console, headings, made, right={*range(1, column)}, under=column)
    console.print()


def print_audit(campaign: str, storage: str, console: Console) -> None:
    """Print what speaks against the finished searches of a campaign, each with the command or the line that mends it.

    Args:
        campaign: Its name.
        storage: Database URL.
        console: Where to print.
    """
    from analysis.audit import audit, shown
    from analysis.load import read, studies

    with existing(storage) as opened:
        found = studies(opened, campaign, replicates=True)
        frames = read(opened, found)
    flags = audit(found, frames.trials, frames.curves, frames.confirmations)
    if not flags:
        return
    say(console, "What speaks against these searches, and what mends it:")
    for flag in flags[:_FLAGS]:
        say(console, f"  {shown(flag)}")
        _, is_command, arguments = flag.remedy.partition("sofim ")
        remedy = command_line(*shlex.split(arguments), *storage_again(storage)) if is_command else flag.remedy
        verbatim(console, f"      {remedy}")
    if len(flags) > _FLAGS:
        again = command_line("report", campaign, *storage_again(storage))
        verbatim(console, f"  and {len(flags) - _FLAGS} more, which the report names: {again}")
    console.print()


class _Confirmed(NamedTuple):
    """A row on fresh seeds: mean and standard deviation, or nothing. A default has no search."""

    name: str
    value: tuple[float, ...]
    test: tuple[float, ...]
    searches: int
    runs: str
    lost: bool
    params: Mapping[str, object]


def _confirmed_rows(own: Sequence[Study], searched: pd.DataFrame, runs: pd.DataFrame, top: int) -> Iterator[_Confirmed]:
    """Return a row for each of the best ``top`` trials of an optimizer's searches that have been confirmed.

    Of several searches the mean is that of their means, and the deviation is between those.
    """
    from analysis.winners import ranked

    for rank in range(top):
        parts, winners = [], []  # runs of each search; its winner, under how good it is
        for study in own:
            listed = ranked(study, searched)
            if len(listed) <= rank:
                continue
            winner = listed.iloc[rank]
            part = runs[(runs["study"] == study.name) & (runs["confirms"] == winner["number"])]
            part = part[~part["outcome"].isin(["running", "lost"])]
            if len(part):
                parts.append(part)
                winners.append((_badness(part, study), winner["params"]))
        if parts:
            optimizer = own[0].optimizer
            best = min(winners, key=lambda pair: pair[0])[1]
            yield _row(optimizer if top == 1 else f"{optimizer} ({rank + 1})", parts, best)


def _badness(runs: pd.DataFrame, study: Study) -> tuple[float, float]:
    """Return by what winners are ordered, the best first: the share of runs that came through, then their mean.

    It is that of the logarithms where the metric is compared by these, as in the report.
    """
    values = runs.loc[runs["outcome"] == "complete", "value"].dropna()
    if study.scale == "log" and (values > 0).all():
        values = values.map(math.log)
    sign = -1.0 if study.direction == "maximize" else 1.0
    return -len(values) / len(runs), sign * float(values.mean()) if len(values) else math.inf


def _default_rows(first: Study, beside: pd.DataFrame) -> Iterator[_Confirmed]:
    """Return the row of a default that was run on the seeds of the first search, if it was."""
    part = beside[(beside["study"] == first.name) & (beside["role"] == DEFAULT)]
    part = part[~part["outcome"].isin(["running", "lost"])]
    if len(part):
        yield _row(f"{first.optimizer}, default", [part], part["params"].iloc[0])._replace(searches=0)


def _row(name: str, parts: Sequence[pd.DataFrame], params: Mapping[str, object]) -> _Confirmed:
    """Return the row of ended runs, those of each search apart."""
    outcomes = [str(outcome) for part in parts for outcome in part["outcome"]]
    through = [part[part["outcome"] == "complete"] for part in parts]
    bad = [f"{outcomes.count(word)} {word}" for word in ("diverged", "failed") if word in outcomes]
    complete, ended = outcomes.count("complete"), len(outcomes)
    return _Confirmed(
        name=name,
        value=_over_searches([part["value"] for part in through]),
        test=_over_searches([part["test_metric"] for part in through if "test_metric" in part]),
        searches=len(parts),
        runs=f"{complete} of {ended}, {', '.join(bad)}" if bad else str(ended),
        lost=bool(bad),
        params=params,
    )


def _over_searches(parts: Sequence[pd.Series[float]]) -> tuple[float, ...]:
    """Mean and standard deviation: of the values of one search, or of the means of several."""
    listed = [[float(value) for value in part.dropna()] for part in parts]
    values = [fmean(own) for own in listed if own] if len(listed) > 1 else [value for own in listed for value in own]
    return _mean_and_deviation(values)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, ...]:
    """Mean, and standard deviation of a sample where there are two values at least."""
    if not values:
        return ()
    centre, spread = fmean(values), stdev(values) if len(values) > 1 else None
    if spread is not None and spread <= _ROUNDING * abs(centre):  # equal values, whose mean was rounded
        spread = 0.0
    return (centre,) if spread is None else (centre, spread)


def _spread(numbers: tuple[float, ...]) -> str:
    return " ± ".join([format_value(numbers[0]), *(f"{number:.2g}" for number in numbers[1:])]) if numbers else "–"


def _outcomes(row: Mapping[Any, Any]) -> str:
    names = ("complete", "pruned", "diverged", "failed")
    return ", ".join(f"{row[name]} {name}" for name in names if row[name])


def _meaning(workload: str, metric: str) -> str:
    """Return what a metric of a workload of ours is, where its name does not say so."""
    from studies.workloads import WORKLOADS

    row = WORKLOADS.get(workload)
    return row.metric.meaning if row is not None and row.metric.name == metric else ""
