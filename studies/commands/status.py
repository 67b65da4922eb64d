"""``sofim status``: how far campaigns are, from the database alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from search_spaces import ANY, OPTIMIZER
from search_spaces.errors import UserError, suggestion
from studies.called import command_line
from studies.commands.find import campaign_name, existing, without_password
from studies.commands.options import storage_again
from studies.commands.progress import is_over, status_view, stopped_lines
from studies.commands.screen import make_console, say, verbatim
from studies.training.failures import FailureCount, failing_lines
from studies.trials import Failing, Tally

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import BaseStorage
    from rich.console import Console

    from analysis.load import Study


def show_status(campaign: str | None, storage: str) -> list[str]:
    """Print what ``sofim status`` says, and return a line for each study that is damaged.

    Raises:
        UserError: There is no such campaign, it is damaged, or the storage cannot be read.
    """
    from analysis.load import campaigns, check_whole, damaged

    console = make_console()
    campaign = campaign and campaign_name(campaign)
    with existing(storage) as opened:
        if campaign is not None:
            check_whole(opened, campaign)
        names = campaigns(opened)
        if campaign is not None and campaign not in names:
            there = f"there are: {', '.join(names)}" if names else "there is none"
            near = suggestion(campaign, names)
            raise UserError(f"no campaign '{campaign}' in {without_password(storage)}; {there}{near}")
        hurt = damaged(opened)
        for name in names if campaign is None else [campaign]:
            if name not in hurt:
                print_status(opened, name, console, storage_again(storage))
    if not names and not hurt:
        start = command_line("launch", "quickstart", *storage_again(storage))
        verbatim(console, f"No campaign in {without_password(storage)} yet; start one: {start}")
    return [line for lines in hurt.values() for line in lines]


def tallies(storage: BaseStorage, campaign: str) -> tuple[str, list[Tally]]:
    """Return what drives a campaign, in words, and how far each study is, from the database alone."""
    from analysis.load import studies, trials
    from analysis.schema import ended_by
    from studies.storage.lease import in_words as driver_in_words

    found = studies(storage, campaign, replicates=True)
    every, cut = trials(storage, found), ended_by(found[0].attributes)
    driver = driver_in_words(found[0].attributes)
    alive = driver.startswith("running")
    counted = [_tally(study, every[every["study"] == study.name], alive=alive) for study in found]
    told = [replace(one, stopped=cut.get(one.study)) if one.missing else one for one in counted]
    return driver, told


def _tally(study: Study, trials: pd.DataFrame, *, alive: bool) -> Tally:
    """Return how far a study is, from the rows of its trials."""
    from analysis.winners import winner

    counts = trials["outcome"].value_counts()
    best = winner(study, trials)
    return Tally(
        study=study.name,
        workload=study.workload,
        optimizer=study.optimizer,
        metric=study.metric,
        direction=study.direction,
        asked_for=study.campaign.get("trials"),  # a search that ends with its time has none
        complete=int(counts.get("complete", 0)),
        pruned=int(counts.get("pruned", 0)),
        diverged=int(counts.get("diverged", 0)),
        failed=int(counts.get("failed", 0)),
        running=int(counts.get("running", 0)),
        best=None if best is None else float(best["value"]),
        best_params={} if best is None else best["params"],
        seconds=float(trials["seconds"].sum()),
        stopped=_why_stopped(trials, alive=alive),
        replicate=study.replicate,
        failing=_failing(trials, study.optimizer),
    )


def _why_stopped(trials: pd.DataFrame, *, alive: bool) -> str | None:
    """Why a driver asks for no more trials of a study, from its trials; as the ledger decides when it opens it."""
    from analysis.schema import given_up_at
    from studies.training.failures import too_many_failures

    rows = trials.sort_values("number")
    outcomes = rows["outcome"] if alive else rows["outcome"].replace("running", "lost")
    place = given_up_at(outcomes)
    return None if place is None else too_many_failures(str(rows["failure"].iloc[place]))


def _failing(trials: pd.DataFrame, optimizer: str) -> tuple[Failing, ...]:
    """Return what only fails in a study, as the ledger counts it."""
    counted = FailureCount()
    for row in trials.sort_values("number").to_dict("records"):
        if row["outcome"] not in ("lost", "running"):
            failure = str(row["failure"]) if row["outcome"] == "failed" else None
            chosen = row["params"].get(OPTIMIZER) if optimizer == ANY else None  # else a hyperparameter's name
            counted.add(str(chosen or optimizer), failure)
    return counted.failing()


def print_status(storage: BaseStorage, campaign: str, console: Console, storage_option: Sequence[str] = ()) -> None:
    """Print what drives a campaign and how far each study is; ``storage_option`` names it on a command line."""
    from analysis.load import studies
    from analysis.schema import ended_by
    from studies.campaign.extension import why_other_rules

    driver, found = tallies(storage, campaign)
    console.print(Text.assemble((campaign, "bold"), f": {_state(driver, found)}"), soft_wrap=True)
    console.print(status_view(found, None))
    for line in stopped_lines(found):
        say(console, line, "red")
    first = studies(storage, campaign, replicates=True)[0]
    goes_on = not why_other_rules(campaign, first.attributes["protocol"])
    if _state(driver, found) == "stopped" and ended_by(first.attributes) and goes_on:
        from analysis.text import in_short
        from studies.campaign.reading import launched_again
        from studies.ledger.budget import SPENT, TIME_SPENT

        again = command_line(*launched_again(first.campaign), *storage_option)
        reasons = ended_by(first.attributes).values()
        by_time = [reason.startswith(TIME_SPENT) for reason in reasons]
        spent = in_short(math.ceil(first.attributes[SPENT])) if SPENT in first.attributes else "time"
        larger = [
            *([f"a --budget well above the {spent} spent"] if any(by_time) else []),
            *(["a larger --patience"] if not all(by_time) else []),
        ]
        verbatim(console, f"With {' and '.join(larger)}, or none, it goes on: {again}")
    for sentence in failing_lines(found):
        say(console, sentence, "red")
    for sentence in _confirmed_so_far(storage, campaign):
        say(console, sentence)
    console.print()


def _state(driver: str, tallies: Sequence[Tally]) -> str:
    """Return what drives a campaign; of one that nobody has to drive any more, that it is over."""
    search_is_over = driver == "not running" or "launch it again" in driver  # others confirm or evaluate what it found
    if not search_is_over or not all(is_over(tally) for tally in tallies):
        return driver
    return "stopped" if any(tally.stopped for tally in tallies) else "finished"


def _confirmed_so_far(storage: BaseStorage, campaign: str) -> Iterator[str]:
    """Return a line for each workload of which winners have been run again."""
    from analysis.load import confirmations, studies

    runs = confirmations(storage, studies(storage, campaign, replicates=True))
    runs = runs[runs["outcome"] != "lost"]
    for workload, own in runs.groupby("workload", sort=False):
        counts = [
            f"{optimizer} " + ", ".join(f"{number} {outcome}" for outcome, number in found.value_counts().items())
            for optimizer, found in own.groupby("optimizer", sort=False)["outcome"]
        ]
        yield f"{workload}, confirmation runs of winners: {'; '.join(counts)}"
