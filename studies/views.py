"""What the command line prints: tables made of the database, the campaign and the data sets."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from studies.options import storage_again
from studies.progress import format_duration, format_value, status_view, stopped_lines
from studies.trials import Tally

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import BaseStorage

    from analysis.load import Study
    from studies.data import DatasetStatus
    from studies.launch import Blueprint


def tallies(storage: BaseStorage, campaign: str) -> tuple[str, list[Tally]]:
    """What drives a campaign, in words, and how far each study is, from the database alone."""
    from analysis.comparison import leaderboard
    from analysis.load import studies, trials
    from studies.ledger import driver_in_words

    found = studies(storage, campaign, replicates=True)
    every = trials(storage, found)
    rows = {
        (row["workload"], row["optimizer"], number): row
        for number in dict.fromkeys(study.replicate for study in found)
        for row in leaderboard([study for study in found if study.replicate == number], every).to_dict("records")
    }
    made = [
        Tally(
            study=study.name,
            workload=study.workload,
            optimizer=study.optimizer,
            metric=study.metric,
            direction=study.direction,
            asked_for=study.campaign.get("trials"),  # a search that ends with its time has none
            complete=row["complete"],
            pruned=row["pruned"],
            diverged=row["diverged"],
            failed=row["failed"],
            running=row["running"],
            best=None if math.isnan(row["best"]) else row["best"],
            best_params=row["params"],
            seconds=row["seconds"],
            stopped=_why_stopped(every[every["study"] == study.name]),
            replicate=study.replicate,
        )
        for study in found
        for row in [rows[study.workload, study.optimizer, study.replicate]]
    ]
    return driver_in_words(found[0].attributes), made


def _why_stopped(trials: pd.DataFrame) -> str | None:
    """Why a driver asks for no more trials of a study, from its trials; as the ledger decides when it opens it."""
    from studies.ledger import MAX_FAILURES_IN_A_ROW, too_many_failures

    in_a_row = 0
    for row in trials.sort_values("number").to_dict("records"):
        if row["outcome"] == "failed":
            in_a_row += 1
            if in_a_row >= MAX_FAILURES_IN_A_ROW:
                return too_many_failures(str(row["failure"]))
        elif row["outcome"] not in ("lost", "running"):
            in_a_row = 0
    return None


def print_status(storage: BaseStorage, campaign: str, console: Console) -> None:
    """What drives a campaign and how far each of its studies is."""
    driver, found = tallies(storage, campaign)
    console.print(Text.assemble((campaign, "bold"), f": {driver}"), soft_wrap=True)
    console.print(status_view(found, None))
    for line in stopped_lines(found):
        console.print(line, soft_wrap=True)
    for sentence in _confirmed_so_far(storage, campaign):
        console.print(Text(sentence), soft_wrap=True)
    console.print()


def _confirmed_so_far(storage: BaseStorage, campaign: str) -> Iterator[str]:
    """A line for each workload of which winners have been run again."""
    from analysis.load import confirmations, studies

    runs = confirmations(storage, studies(storage, campaign))
    runs = runs[runs["outcome"] != "lost"]
    for workload, own in runs.groupby("workload", sort=False):
        counts = [
            f"{optimizer} " + ", ".join(f"{number} {outcome}" for outcome, number in found.value_counts().items())
            for optimizer, found in own.groupby("optimizer", sort=False)["outcome"]
        ]
        yield f"{workload}, confirmation runs of winners: {'; '.join(counts)}"


def print_leaderboard(campaign: str, storage: str, console: Console) -> None:
    """Which optimizer is ahead on each workload, and with which hyperparameters."""
    from analysis.comparison import leaderboard
    from analysis.load import studies, trials
    from studies.ledger import close_storage, open_storage

    opened = open_storage(storage, create=False)
    found = studies(opened, campaign)
    board = leaderboard(found, trials(opened, found))
    close_storage(opened)
    splits = {
        study.workload: "training" if study.attributes.get("metric_split") == "train" else "validation"
        for study in found
    }
    better = {study.workload: study.better for study in found}
    for workload, rows in board.groupby("workload", sort=False):
        first = rows.iloc[0]
        table = Table(
            box=None,
            padding=(0, 1),
            header_style="bold",
        )
        table.add_column("", justify="right")
        table.add_column("optimizer", no_wrap=True)
        table.add_column(str(first["metric"]), justify="right", no_wrap=True)
        table.add_column("hyperparameters")
        table.add_column("trials", justify="right", no_wrap=True)
        for row in rows.to_dict("records"):
            table.add_row(
                str(row["rank"]),
                str(row["optimizer"]),
                format_value(row["best"]),
                Text(format_params(row["params"]) or "no trial ran its whole budget"),
                _outcomes(row),
            )
        title = f": best {first['metric']} on {splits[str(workload)]} data ({better[str(workload)]})"
        console.print(Text.assemble((str(workload), "bold"), title), soft_wrap=True)
        console.print(table)
        console.print()


def print_confirmed(campaign: str, storage: str, console: Console, top: int = 1) -> None:
    """What the present winners of each study gave on fresh seeds, best test mean first within each workload.

    The means are plain and nothing is said of who is better, which takes intervals: ``sofim report`` gives them.

    Args:
        campaign: its name.
        storage: database URL.
        console: where to print.
        top: number of winners of each study.
    """
    from analysis.load import confirmations, studies, trials
    from studies.ledger import close_storage, open_storage

    opened = open_storage(storage, create=False)
    found = studies(opened, campaign)
    searched, runs = trials(opened, found), confirmations(opened, found)
    close_storage(opened)
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
        table = Table(box=None, padding=(0, 1), header_style="bold")
        table.add_column("optimizer", no_wrap=True)
        table.add_column(f"{'training' if on_training else 'validation'}\n{metric}", justify="right", no_wrap=True)
        table.add_column(f"test\n{'loss' if on_training else metric}", justify="right", no_wrap=True)
        table.add_column("seeds", justify="right", no_wrap=True)
        table.add_column("hyperparameters")
        for row in rows:
            table.add_row(row.name, _spread(row.value), _spread(row.test), row.seeds, Text(format_params(row.params)))
        title = ": the winners on fresh seeds, mean ± standard deviation"
        console.print(Text.assemble((workload, "bold"), title), soft_wrap=True)
        console.print(table)
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
    """A row for each of the best ``top`` trials of a study that has been confirmed."""
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
    """A configuration on one line, numbers with four significant digits."""
    return ", ".join(f"{k}={format(v, '.4g') if isinstance(v, float) else v}" for k, v in params.items())


def _outcomes(row: Mapping[Any, Any]) -> str:
    names = ("complete", "pruned", "diverged", "failed")
    return ", ".join(f"{row[name]} {name}" for name in names if row[name])


def print_next_commands(campaign: str, storage: str, console: Console, *, confirmed: bool = False) -> None:
    """What one types after a campaign, or after its winners are confirmed."""
    option = storage_again(storage)
    confirm = {shlex.join(["sofim", "confirm", campaign, *option]): "the winners on fresh seeds and test data"}
    commands = ({} if confirmed else confirm) | {
        shlex.join(["sofim", "report", campaign, *option]): "how sensitive each optimizer is",
        shlex.join(["sofim", "status", campaign, *option]): "how the trials ended",
        shlex.join(["sofim", "dashboard", *option]): "every trial in Optuna's dashboard",
    }
    if confirmed:
        console.print("Nothing was chosen on these seeds or on test data. Next:")
    else:
        console.print(
            "These values are of one seed, chosen by the search: good for choosing, too good to expect. Next:",
            soft_wrap=True,
        )
    for command, purpose in commands.items():
        console.print(Text(f"  {command:{max(map(len, commands))}}   {purpose}"), soft_wrap=True)


def print_dry_run(blueprint: Blueprint, console: Console, cpus_per_trial: float) -> None:
    """What a campaign would run, and what it would cost on this machine."""
    from studies.launch import estimate

    campaign = blueprint.campaign
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("study", overflow="fold")
    for name in ("trials", "epochs", "a trial,\nat most", "the study,\nat most"):
        table.add_column(name, justify="right", no_wrap=True)
    total = 0.0
    times = f"{campaign.replicates} × " if campaign.replicates > 1 else ""
    for row in estimate(blueprint):
        whole = row.seconds_per_trial * campaign.trials * campaign.replicates
        total += whole
        table.add_row(
            Text(row.study.removeprefix(f"{campaign.name}/")),
            f"{times}{campaign.trials}",
            str(blueprint.epochs(row.study.split("/")[1])),
            format_duration(row.seconds_per_trial),
            format_duration(whole),
        )
    summary = (
        f"Campaign {campaign.name}: sampler {campaign.sampler}, pruner {campaign.pruner}, "
        f"schedule {campaign.schedule}, seed {campaign.seed}. Nothing was run or stored."
    )
    for line in (summary, *blueprint.notes):
        console.print(Text(line), soft_wrap=True)
    console.print(table)
    slots = max(1, int((os.cpu_count() or 1) / cpus_per_trial))
    most = format_duration(total / slots)
    console.print(
        f"Training on this machine, {number_of(slots, 'trial')} at once: at most about {most} "
        f"(default configurations, timed on a part of an epoch; pruning makes it less, a dear configuration more)."
    )


def print_list(storage: BaseStorage | None, shown: str, console: Console) -> None:
    """Presets, workloads, optimizers, and the campaigns in ``storage``."""
    from sofim import OPTIMIZERS
    from studies.campaign import presets
    from studies.workloads import WORKLOADS

    _section(
        console,
        "Presets (sofim launch NAME)",
        (
            (
                name,
                f"{number_of(len(p.workloads), 'workload')} × {number_of(len(p.optimizers), 'optimizer')} × "
                f"{number_of(p.trials, 'trial')}",
            )
            for name, p in presets().items()
        ),
    )
    _section(
        console,
        "Workloads",
        (
            (name, f"{w.metric.name}, {w.metric.direction}, target {format_value(w.target)}, {w.epochs} epochs")
            for name, w in WORKLOADS.items()
        ),
    )
    _section(console, "Optimizers", ((name, row.source) for name, row in OPTIMIZERS.items()))
    if storage is not None:
        from analysis.load import studies

        found = studies(storage, replicates=True)
        names = dict.fromkeys(str(study.campaign["name"]) for study in found)
        counts = {name: sum(study.campaign["name"] == name for study in found) for name in names}
        rows = [(name, "1 study" if count == 1 else f"{count} studies") for name, count in counts.items()]
        _section(console, f"Campaigns in {shown}", rows or [("none yet", "start one: sofim launch quickstart")])


def number_of(count: int, noun: str, several: str | None = None) -> str:
    """A number of things, ``several`` of which are called so where an s does not do."""
    return f"{count} {noun if count == 1 else several or f'{noun}s'}"


def _section(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(Text(f"  {name}"), Text(text))
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)
    console.print()


def print_datasets(rows: Iterable[DatasetStatus], console: Console) -> None:
    """Whether each data set is there, and what to do where it is not."""
    for row in rows:
        state = ("there", "green") if row.present else ("missing", "red")
        where = f", in {row.folder}" if row.folder else "" if row.looked_in else ", in scikit-learn, nothing to fetch"
        console.print(Text.assemble((row.name, "bold"), ": ", state, where), soft_wrap=True)
        console.print(Text(f"  {row.source} ({row.licence})"), soft_wrap=True)
        for problem in dict.fromkeys(p for p in (row.problem, row.test_problem) if p):
            console.print(Text(f"  {problem}"), soft_wrap=True)
        if row.present and row.looked_in:
            console.print(Text(f"  looked in {', '.join(map(str, row.looked_in))}"), soft_wrap=True)
