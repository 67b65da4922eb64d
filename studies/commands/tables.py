"""What the command line prints: tables made of the database, the campaign and the data sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from studies.called import command_line
from studies.commands.options import storage_again
from studies.commands.progress import about, format_duration, format_value, is_over, status_view, stopped_lines
from studies.commands.screen import print_table, say, verbatim
from studies.ledger.failures import FailureCount, failing_lines
from studies.trials import Failing, Tally

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import BaseStorage

    from analysis.load import Study
    from studies.campaign.resolve import ResolvedCampaign
    from studies.data import DatasetStatus


def tallies(storage: BaseStorage, campaign: str) -> tuple[str, list[Tally]]:
    """What drives a campaign, in words, and how far each study is, from the database alone."""
    from analysis.comparison import leaderboard
    from analysis.load import studies, trials
    from studies.storage.lease import in_words as driver_in_words

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
            failing=_failing(every[every["study"] == study.name], study.optimizer),
        )
        for study in found
        for row in [rows[study.workload, study.optimizer, study.replicate]]
    ]
    return driver_in_words(found[0].attributes), made


def _why_stopped(trials: pd.DataFrame) -> str | None:
    """Why a driver asks for no more trials of a study, from its trials; as the ledger decides when it opens it."""
    from analysis.schema import MAX_FAILURES_IN_A_ROW
    from studies.ledger import too_many_failures

    in_a_row = 0
    for row in trials.sort_values("number").to_dict("records"):
        if row["outcome"] == "failed":
            in_a_row += 1
            if in_a_row >= MAX_FAILURES_IN_A_ROW:
                return too_many_failures(str(row["failure"]))
        elif row["outcome"] not in ("lost", "running"):
            in_a_row = 0
    return None


def _failing(trials: pd.DataFrame, optimizer: str) -> tuple[Failing, ...]:
    """What only fails in a study, as the ledger counts it."""
    counted = FailureCount()
    for row in trials.sort_values("number").to_dict("records"):
        if row["outcome"] not in ("lost", "running"):
            failure = str(row["failure"]) if row["outcome"] == "failed" else None
            counted.add(str(row["params"].get("optimizer", optimizer)), failure)
    return counted.failing()


def print_status(storage: BaseStorage, campaign: str, console: Console) -> None:
    """What drives a campaign and how far each of its studies is."""
    driver, found = tallies(storage, campaign)
    console.print(Text.assemble((campaign, "bold"), f": {_state(driver, found)}"), soft_wrap=True)
    console.print(status_view(found, None))
    for line in stopped_lines(found):
        say(console, line, "red")
    for sentence in failing_lines(found):
        say(console, sentence, "red")
    for sentence in _confirmed_so_far(storage, campaign):
        say(console, sentence)
    console.print()


def _state(driver: str, tallies: Sequence[Tally]) -> str:
    """What drives a campaign; of one that nobody has to drive any more, that it is over."""
    search_is_over = driver == "not running" or "launch it again" in driver  # others confirm or evaluate what it found
    if not search_is_over or not all(is_over(tally) for tally in tallies):
        return driver
    return "stopped" if any(tally.stopped for tally in tallies) else "finished"


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
    from studies.commands.find import existing

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
    """What the present winners of each study gave on fresh seeds, best test mean first within each workload.

    The means are plain and nothing is said of who is better, which takes intervals: ``sofim report`` gives them.

    Args:
        campaign: its name.
        storage: database URL.
        console: where to print.
        top: number of winners of each study.
    """
    from analysis.load import confirmations, studies, trials
    from studies.commands.find import existing

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


ONE_SEED = "These values are of one seed, chosen by the search: good for choosing, too good to expect."
PURE_LUCK = "Nothing was chosen on these seeds or on test data."
_PURPOSES = {
    "confirm": "the winners on fresh seeds and test data",
    "report": "which optimizer is better, and how sensitive each is",
    "export": "recommended hyperparameters, as TOML, JSON, YAML or Python",
    "status": "how the trials ended",
    "dashboard": "every trial in Optuna's dashboard",
}
AFTER_LAUNCH = ("confirm", "report", "export", "status", "dashboard")
AFTER_CONFIRM = ("report", "export", "status", "dashboard")


def print_next_commands(
    commands: Sequence[str], storage: str, console: Console, *, campaign: str = "", study: str = ""
) -> None:
    """What one may type next, as the program was called, with what it is for.

    Args:
        commands: keys of the purposes.
        storage: URL of the database that they are to find.
        console: where to print.
        campaign: what the commands are about.
        study: the same, where there is one study alone.
    """
    what = ["--study", study] if study else [campaign]
    option = storage_again(storage)
    lines = {
        command_line(name, *(what if name != "dashboard" else []), *option): _PURPOSES[name]
        if name != "report" or not study
        else "how sensitive it is"
        for name in commands
    }
    widest = max(map(len, lines))
    beside = not console.is_terminal or widest + 5 + max(map(len, lines.values())) <= console.width
    for command, purpose in lines.items():
        verbatim(console, f"  {command:{widest}}   {purpose}" if beside else f"  {command}")
        if not beside:
            verbatim(console, f"      {purpose}")


def print_dry_run(resolved: ResolvedCampaign, console: Console, slots: int, address: str | None = None) -> None:
    """What a campaign would run, and what it would cost with so many trials at once here, or on the cluster there."""
    from search_spaces.errors import number_of
    from studies.commands.launch import estimate

    campaign = resolved.campaign
    rows = []
    total = 0.0
    times = f"{campaign.replicates} × " if campaign.replicates > 1 else ""
    for row in estimate(resolved):
        whole = row.seconds_per_trial * campaign.trials * campaign.replicates
        total += whole
        rows.append(
            (
                row.study.removeprefix(f"{campaign.name}/"),
                f"{times}{campaign.trials}",
                str(resolved.epochs(row.study.split("/")[1])),
                format_duration(row.seconds_per_trial),
                format_duration(whole),
            )
        )
    summary = (
        f"Campaign {campaign.name}: sampler {campaign.sampler}, pruner {campaign.pruner}, "
        f"schedule {campaign.schedule}, seed {campaign.seed}. Nothing was run or stored."
    )
    for line in (summary, *resolved.notes):
        say(console, line)
    print_table(
        console, ("study", "trials", "epochs", "a trial,\nat most", "the study,\nat most"), rows, right=range(1, 5)
    )
    place = "this machine" if address is None else "the cluster, were its nodes like this machine"
    most = about(total / slots)
    say(
        console,
        f"Training on {place}, {number_of(slots, 'trial')} at once: at most {most} "
        f"(default configurations, timed on a part of an epoch; pruning makes it less, a dear configuration more).",
    )


def print_list(storage: BaseStorage | None, shown: str, option: Sequence[str], console: Console) -> None:
    """Presets, workloads, optimizers, and the campaigns in ``storage``, which ``option`` names on a command line."""
    from search_spaces.errors import number_of
    from sofim import OPTIMIZERS
    from studies.campaign.reading import PRESETS, load
    from studies.workloads import WORKLOADS

    _section(
        console,
        f"Presets ({command_line('launch', 'NAME')})",
        (
            (
                name,
                f"{number_of(len(p.workloads), 'workload')} × {number_of(len(p.optimizers), 'optimizer')} × "
                f"{number_of(p.trials, 'trial')}",
            )
            for name, p in ((name, load(name).campaign) for name in PRESETS)
        ),
    )
    _section(
        console,
        "Workloads",
        (
            (
                name,
                f"{w.metric.name}{f' ({w.metric.meaning})' if w.metric.meaning else ''}, {w.metric.direction}, "
                f"target {format_value(w.target)}, {number_of(w.epochs, 'epoch')}",
            )
            for name, w in WORKLOADS.items()
        ),
    )
    _section(console, "Optimizers", ((name, row.source) for name, row in OPTIMIZERS.items()))
    if storage is not None:
        from analysis.load import studies

        found = studies(storage, replicates=True)
        names = dict.fromkeys(str(study.campaign["name"]) for study in found)
        counts = {name: sum(study.campaign["name"] == name for study in found) for name in names}
        start = command_line("launch", "quickstart", *option)
        rows = [(name, number_of(count, "study", "studies")) for name, count in counts.items()]
        _section(
            console,
            f"Campaigns in {shown}",
            rows or [("none yet", f"start one: {start}")],
        )


def _meaning(workload: str, metric: str) -> str:
    """What a metric of a workload of ours is, where its name does not say so."""
    from studies.workloads import WORKLOADS

    row = WORKLOADS.get(workload)
    return row.metric.meaning if row is not None and row.metric.name == metric else ""


def _section(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    console.print(Text(title, style="bold"), soft_wrap=True)
    print_table(console, ("", ""), [(f"  {name}", text) for name, text in rows], under=1)
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
