"""``sofim confirm``: each study's winners on fresh seeds, one alone on a device.

What is heavy is imported once something is on the screen.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces.errors import number_of
from studies.commands.find import find_tuned
from studies.commands.next_commands import AFTER_CONFIRM, PURE_LUCK, print_next_commands
from studies.commands.screen import make_console, say, working
from studies.commands.work import runs_asked_for, versions, work_off
from studies.trials import Resources, Tally

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from studies.campaign.resolve import ResolvedCampaign
    from studies.storage.durability import Durability

SEEDS = 10
"""Fresh seeds of a winner where nobody asks for another number."""

_LOOK_SECONDS = 0.5  # at what else runs
_NOTABLE_CORES = 0.5


def confirm_campaign(
    campaign: str,
    storage: str,
    resources: Resources,
    durability: Durability,
    *,
    seeds: int,
    top: int,
    anyway: bool,
    like_tuning: bool,
    data: Path | None,
) -> None:
    """Do what ``sofim confirm`` says, see there for the options.

    Raises:
        UserError: As of :func:`confirm`.
        KeyboardInterrupt: Ctrl-C; the runs that were running will be run again.
    """
    console = make_console()
    with working(console, f"Reading {campaign} and its data ..."):
        from studies.campaign.resolve import resolve_campaign

        plan = find_tuned(campaign, storage)
        resolved = resolve_campaign(plan, data, test=True, rehearsed=False)
    from studies.commands.tables import print_confirmed

    confirm(
        resolved,
        storage,
        resources,
        console,
        seeds=seeds,
        top=top,
        anyway=anyway,
        like_tuning=like_tuning,
        durability=durability,
    )
    console.print()
    print_confirmed(plan.campaign.name, storage, console, top)
    say(console, f"{PURE_LUCK} Next:")
    print_next_commands(AFTER_CONFIRM, storage, console, campaign=plan.campaign.name)


def confirm(
    resolved: ResolvedCampaign,
    storage: str,
    resources: Resources,
    console: Console,
    *,
    seeds: int = SEEDS,
    top: int = 1,
    anyway: bool = False,
    like_tuning: bool = False,
    durability: Durability | None = None,
) -> list[Tally]:
    """Run what is left of a campaign's confirmation runs and show it on ``console``.

    Args:
        resolved: Of the campaign, its test data looked at.
        storage: Database URL.
        resources: Where runs are placed; times are comparable only if ``cpus_per_trial`` is ``None`` or leaves each
            alone on its device. Runs say of themselves whether they were (``exclusive``).
        console: For the live view.
        seeds: Number of fresh seeds.
        top: Number of winners of each study.
        anyway: Whether to confirm what is there of a campaign that is not finished.
        like_tuning: Whether each run gets a GPU if the winners were tuned on GPUs, whatever ``resources`` say.
        durability: What is done against loss.

    Returns:
        How far each study's confirmation is at the end.

    Raises:
        UserError: The storage or the cluster cannot be used, or the campaign is not there, not finished, or has
            nothing to confirm.
        KeyboardInterrupt: Ctrl-C; the runs that were running will be run again.
    """
    from studies.commands.progress import stopped_lines
    from studies.ledger import open_confirmation

    campaign = resolved.campaign
    plans = [plan for plan in resolved.study_plans() if plan.replicate == 1]
    made = open_confirmation(
        storage, resolved.plan.stored(), plans, versions(), seeds=seeds, top=top, anyway=anyway, durability=durability
    )
    with made as ledger:
        for note in ledger.notes:
            say(console, note)
        tallies = ledger.tallies()
        if ledger.finished:
            for line in stopped_lines(tallies):
                say(console, line, "red")
            runs = sum(tally.done for tally in tallies)
            all_runs = "the only confirmation run" if runs == 1 else f"the {runs} confirmation runs"
            are = "is" if runs == 1 else "are"
            say(console, f"Nothing left to run: {all_runs} of {campaign.name} {are} in the storage.")
            return tallies
        if like_tuning:
            on_gpus = any(not device.upper().startswith("CPU") for device in ledger.devices)
            resources = replace(resources, gpus_per_trial=1.0 if on_gpus else 0.0)
        say(console, _announcement(tallies, seeds, resources))
        if resources.address is None:
            _say_who_else_works(console)
        work_off(ledger, resolved, resources, console)
        return ledger.tallies()


def _say_who_else_works(console: Console) -> None:
    """Say when other programs keep this machine busy: no run is alone then, whatever else is seen to."""
    from studies.training.allowance import affinity
    from studies.training.contention import CpuContention

    contention = CpuContention()
    time.sleep(_LOOK_SECONDS)
    busy, cores = contention.other_cores(), len(affinity())
    if busy >= _NOTABLE_CORES:
        say(
            console,
            f"Other programs keep {busy:.1f} of the {number_of(cores, 'core')} that may be used busy: times will show "
            "that.",
        )


def _announcement(tallies: list[Tally], seeds: int, resources: Resources) -> str:
    place = "a GPU" if resources.gpus_per_trial else "a node"
    how = f"one at a time on {place}" if resources.cpus_per_trial is None else "placed as you say"
    return (
        f"Confirming winners on {number_of(seeds, 'fresh seed')}: {runs_asked_for(tallies)}; {how}, "
        "whole budgets, no pruner."
    )
