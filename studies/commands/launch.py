"""``sofim launch``: check everything, open the ledger, run the engine, show how it goes.

What is heavy is imported once something is on the screen.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.text import in_short, listing
from search_spaces.errors import UserError, key_shown, number_of
from studies.commands.find import as_begun, check_any_worked, find_campaign, grown, stored_campaigns, without_password
from studies.commands.next_commands import AFTER_CONFIRM, AFTER_LAUNCH, OF_WHOLE, ONE_SEED, UNSEEN, print_next_commands
from studies.commands.screen import make_console, say, working
from studies.commands.work import logged, versions, work_off
from studies.trials import Resources, Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from studies.campaign.model import Campaign
    from studies.campaign.resolve import ResolvedCampaign
    from studies.ledger import Limits
    from studies.loggers import Target
    from studies.storage.durability import Durability
    from studies.workloads import TrainingFunction, Workload


def launch_campaign(
    campaign: str,
    storage: str,
    resources: Resources,
    durability: Durability,
    *,
    trials: int | None,
    replicates: int | None,
    optimizers: tuple[str, ...] | None,
    custom: tuple[str, ...],
    workloads: tuple[str, ...] | None,
    own: tuple[str, ...],
    name: str | None,
    seed: int | None,
    start: Path | None,
    data: Path | None,
    budget: float | None,
    patience: int | None,
    extend: bool,
    dry_run: bool,
    then_confirm: bool,
    logs: Sequence[Target],
) -> None:
    """Do what ``sofim launch`` says, see there for the options.

    Raises:
        UserError: Something is wrong with the campaign, its data, the storage or the cluster, or every trial failed.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    if own and workloads is not None:
        raise UserError("--workload and --workloads exclude each other; give one of them")
    console, began = make_console(), time.monotonic()
    not_taken: list[str] = []
    with working(console, f"Reading {campaign} and its data ..."):
        from studies.campaign.initial import read_initial
        from studies.campaign.resolve import resolve_campaign

        overrides: dict[str, object] = {"name": name, "workloads": own or workloads, "optimizers": optimizers}
        overrides |= {"trials": trials, "replicates": replicates, "seed": seed, "optimizer": _tables(custom)}
        plan = find_campaign(campaign, storage, overrides, stored_first=extend and name is None)
        if start is not None:
            plan = as_begun(plan, storage)
            plan = replace(plan, initial=read_initial(start, plan, not_taken.append))
        if extend:
            plan = grown(plan, storage, trials=trials, note=not_taken.append)
        # that test data are there is known before the search, not after
        resolved = resolve_campaign(plan, data, test=then_confirm)
        if plan.campaign.targets and plan.campaign.name not in stored_campaigns(storage, plan.campaign.name):
            check_reachable(plan.campaign, resolved.workloads)
    for line in not_taken:
        say(console, line)
    if dry_run:
        given = {"--budget": budget and in_short(budget), "--patience": patience}
        _dry_run(resolved, storage, resources, console, extend=extend, then_confirm=then_confirm, limits=given)
        return
    from studies.commands.confirm import confirm
    from studies.commands.tables import print_audit, print_confirmed, print_leaderboard
    from studies.ledger import Clock, Limits
    from studies.training.failures import failing_lines

    limits = Limits(Clock(math.inf if budget is None else budget, began), patience)
    tallies = launch(
        resolved, storage, resources, console, durability=durability, extend=extend, limits=limits, logs=logs
    )
    check_any_worked(plan.campaign.name, tallies, storage)
    console.print()
    print_leaderboard(plan.campaign.name, storage, console)
    for line in failing_lines(tallies):
        console.print(line, style="red", soft_wrap=True)
    if then_confirm:
        confirm(resolved, storage, resources.for_one_run_alone(), console, durability=durability, logs=logs)
        console.print()
        print_confirmed(plan.campaign.name, storage, console)
    print_audit(plan.campaign.name, storage, console)
    after = list(AFTER_CONFIRM if then_confirm else AFTER_LAUNCH)
    if any(tally.complete for tally in tallies):
        say(console, f"{UNSEEN if then_confirm else ONE_SEED} Next:")
    else:
        say(console, "No trial ran its whole budget: there is nothing to confirm or to recommend. Next:")
        after = [name for name in after if name not in OF_WHOLE]
    print_next_commands(after, storage, console, campaign=plan.campaign.name)


def check_reachable(campaign: Campaign, workloads: Mapping[str, Workload | TrainingFunction]) -> None:
    """Refuse targets outside the values that a metric takes, before a campaign begins; begun ones go on as they are.

    Raises:
        UserError: There is one. An accuracy of a person's own may be in percent.
    """
    from analysis.study import bounds_of

    for key, target in campaign.targets.items():
        metric = workloads[key].metric
        low, high = bounds_of(metric.name, metric.scale, metric.bounds, [target] if ":" in key else [])
        if not low <= target <= high:
            lies = f"is {low:g} or more" if math.isinf(high) else f"lies between {low:g} and {high:g}"
            raise UserError(
                f"targets.{key_shown(key)} = {target:g}: {metric.name} {lies}; give a target that it can reach"
            )


def _tables(custom: tuple[str, ...]) -> dict[str, dict[str, Any]] | None:
    """Return the tables ``[optimizer.NAME]`` of rows by their paths; without any `None`."""
    if not custom:
        return None
    from studies.optimizers import listed

    return listed(custom)[1]


def _dry_run(
    resolved: ResolvedCampaign,
    storage: str,
    resources: Resources,
    console: Console,
    *,
    extend: bool,
    then_confirm: bool,
    limits: Mapping[str, object],
) -> None:
    from studies.commands.confirm import usual_seeds, without_test
    from studies.commands.dry_run import print_dry_run
    from studies.commands.progress import stopped_lines
    from studies.engine import slots_offered
    from studies.ledger import look_at_search

    resolved = replace(resolved, plan=as_begun(resolved.plan, storage))
    begun, notes = look_at_search(storage, resolved.plan.stored(), resolved.study_plans(), extend=extend)
    slots, cores = slots_offered(resources), None
    if resources.cpus_per_trial is not None and resources.cpus_per_trial < 1:
        cores = slots_offered(replace(resources, cpus_per_trial=1.0))
    left = {one.study: one.missing for one in begun}
    print_dry_run(resolved, console, slots, resources.address, left=left, cores=cores)
    for line in stopped_lines(begun):
        say(console, line, "red")
    for note in notes:
        say(console, note)
    if there := sum(one.done for one in begun):
        have, are = ("has", "is") if there == 1 else ("have", "are")
        say(console, f"{there} of these trials {have} ended, in {without_password(storage)}, and {are} not run again.")
    if given := [f"{option} {value}" for option, value in limits.items() if value is not None]:
        say(console, f"It may end before, by {listing(given)}.")
    if then_confirm:
        seeds = usual_seeds(resolved.campaign)
        then = f"Then each study's winner on {seeds} fresh seeds, one run alone on a device, beside these times."
        say(console, then + without_test(resolved))


def launch(
    resolved: ResolvedCampaign,
    storage: str,
    resources: Resources,
    console: Console,
    *,
    durability: Durability | None = None,
    extend: bool = False,
    limits: Limits | None = None,
    logs: Sequence[Target] = (),
) -> list[Tally]:
    """Run what is left of a campaign and show it on ``console``.

    Args:
        resolved: The campaign.
        storage: Database URL.
        resources: Where trials run.
        console: For the live view.
        durability: What is done against loss.
        extend: Whether the campaign of this name in the storage is made this one.
        limits: What ends it before its last trial.
        logs: Where else trials are told of.

    Returns:
        How far each study is at the end.

    Raises:
        UserError: The storage or the cluster cannot be used, or the storage holds another campaign of this name.
        KeyboardInterrupt: Ctrl-C; running trials are closed and will be asked again.
    """
    from studies.ledger import OutOfTimeError, open_search

    resolved = replace(resolved, plan=as_begun(resolved.plan, storage))
    campaign = resolved.campaign
    plans = resolved.study_plans()
    stored = resolved.plan.stored()
    opened = partial(
        open_search, storage, stored, plans, versions(), durability=durability, extend=extend, limits=limits
    )
    with logged(opened, logs, console) as ledger:
        finished = ledger.finished
        for note in ledger.notes:
            say(console, note)
        if not finished:
            if not any(tally.done for tally in ledger.tallies()):  # what was begun keeps its search spaces
                for note in resolved.notes:
                    say(console, note)
            with suppress(OutOfTimeError):
                work_off(ledger, resolved, resources, console)
    tallies = ledger.tallies()
    if limits is not None and limits.reasons:
        _say_what_ended(limits, tallies, console)
    elif finished:
        _say_finished(campaign.name, tallies, console)
    return tallies


def _say_what_ended(limits: Limits, tallies: list[Tally], console: Console) -> None:
    from analysis.text import in_short
    from studies.commands.progress import stopped_lines

    for line in stopped_lines(tallies):
        say(console, line)
    spent = f", {in_short(math.ceil(limits.clock.spent()))} spent" if "--budget" in limits.limiting else ""
    larger = {"--budget": "--budget well above that", "--patience": "larger --patience"}
    remedy = " and a ".join(larger[option] for option in sorted(limits.limiting))
    done, asked_for = sum(one.done for one in tallies), sum(one.asked_for or 0 for one in tallies)
    ended = f"{done} of {number_of(asked_for, 'trial')} have ended"
    say(console, f"{ended}{spent}; with a {remedy}, or none, the same command goes on.")


def _say_finished(name: str, tallies: list[Tally], console: Console) -> None:
    from studies.commands.progress import stopped_lines

    stopped = stopped_lines(tallies)
    if not stopped:
        say(console, f"Nothing left to run: every trial of {name} is in the storage.")
        return
    for line in stopped:
        say(console, line, "red")
    say(console, f"Nothing left to run in {name}; once the cause is mended, run it under another name with --name.")
