"""``sofim confirm``: the winners of each search on fresh seeds, one alone on a device.

What is heavy is imported once something is on the screen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from search_spaces.errors import number_of
from studies.commands.find import existing, find_tuned
from studies.commands.next_commands import AFTER_CONFIRM, UNSEEN, print_next_commands
from studies.commands.screen import make_console, say, working
from studies.commands.work import logged, runs_asked_for, versions, work_off
from studies.trials import Resources, Tally

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from analysis.load import Frames, Study
    from studies.campaign.model import Campaign
    from studies.campaign.resolve import ResolvedCampaign
    from studies.loggers import Target
    from studies.storage.durability import Durability

SEEDS, SEEDS_OF_REPLICATE = 10, 3
"""Fresh seeds of a winner where nobody asks for another number: of a search that was made once, and of each of several.

The runs of a search tell its winner's mean, and the searches what an optimizer gives: more of those are worth more.
"""

_LOOK_SECONDS = 0.5  # at what else runs
_NOTABLE_CORES = 0.5


def confirm_campaign(
    campaign: str,
    storage: str,
    resources: Resources,
    durability: Durability,
    *,
    seeds: int | None,
    top: int,
    anyway: bool,
    default: bool,
    ablation: bool,
    like_tuning: bool,
    data: Path | None,
    save: Path | None = None,
    save_optimizer: bool = False,
    logs: Sequence[Target],
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
    from studies.commands.save import check_places, save_best
    from studies.commands.tables import print_confirmed

    places = {} if save is None else check_places(resolved, save)
    confirm(
        resolved,
        storage,
        resources,
        console,
        seeds=seeds,
        top=top,
        anyway=anyway,
        beside=beside_winners(resolved, storage, console, path=ablation) if default or ablation else {},
        like_tuning=like_tuning,
        durability=durability,
        logs=logs,
    )
    console.print()
    print_confirmed(plan.campaign.name, storage, console, top)
    if places:
        save_best(
            resolved.study_plans(), places, resolved, storage, resources, durability, console,
            optimizer_state=save_optimizer, like_tuning=like_tuning,
        )  # fmt: skip
    say(console, f"{UNSEEN} Next:")
    print_next_commands(AFTER_CONFIRM, storage, console, campaign=plan.campaign.name)


def confirm(
    resolved: ResolvedCampaign,
    storage: str,
    resources: Resources,
    console: Console,
    *,
    seeds: int | None = None,
    top: int = 1,
    anyway: bool = False,
    beside: Mapping[str, Sequence[str] | None] = MappingProxyType({}),
    like_tuning: bool = False,
    durability: Durability | None = None,
    logs: Sequence[Target] = (),
) -> list[Tally]:
    """Run what is left of a campaign's confirmation runs and show it on ``console``.

    Args:
        resolved: Of the campaign, its test data looked at.
        storage: Database URL.
        resources: Where runs are placed; times are comparable only if ``cpus_per_trial`` is ``None`` or leaves each
            alone on its device. Runs say of themselves whether they were (``exclusive``).
        console: For the live view.
        seeds: Number of fresh seeds of each search; ``None`` for the usual number, see `usual_seeds`.
        top: Number of winners of each study.
        anyway: Whether to confirm what is there of a campaign that is not finished.
        beside: What is run on the same seeds beside winners, see `beside_winners`.
        like_tuning: Whether each run gets a GPU if the winners were tuned on GPUs, whatever ``resources`` say.
        durability: What is done against loss.
        logs: Where else runs are told of.

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
    seeds = usual_seeds(campaign) if seeds is None else seeds
    opened = partial(
        open_confirmation, storage, resolved.plan.stored(), resolved.study_plans(), versions(), seeds=seeds, top=top,
        anyway=anyway, durability=durability, beside=beside,
    )  # fmt: skip
    with logged(opened, logs, console) as ledger:
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
        say(console, _announcement(tallies, seeds, resources, beside) + without_test(resolved))
        if resources.address is None:
            _say_who_else_works(console)
        work_off(ledger, resolved, resources, console)
        return ledger.tallies()


def usual_seeds(campaign: Campaign) -> int:
    """Return how many fresh seeds each winner has where nobody asks for another number."""
    return SEEDS if campaign.replicates == 1 else SEEDS_OF_REPLICATE


def without_test(resolved: ResolvedCampaign) -> str:
    """Return a sentence on the workloads without test data, a blank before it; "" where there are none."""
    names = [name for name in resolved.workloads if name in resolved.untested]
    return f" Without test data: {', '.join(names)}." if names else ""


def beside_winners(
    resolved: ResolvedCampaign, storage: str, console: Console, *, path: bool
) -> dict[str, Sequence[str] | None]:
    """Return what is run beside the winner of the first search of each optimizer, by the search's name.

    Args:
        resolved: Of the campaign.
        storage: Database URL.
        console: Where it is shown that this takes a while.
        path: Whether the steps from the default to the winner are run too, not the default alone.

    Returns:
        ``None`` for the default alone, else the order in which parameters are changed: the one in which a surrogate of
        the trials predicts each change to gain most. Empty where it can tell none, so that they are changed as the
        search space has them.
    """
    firsts = [plan.name for plan in resolved.study_plans() if plan.replicate == 1]
    if not path:
        return dict.fromkeys(firsts)
    from analysis.load import read, studies

    found: dict[str, Sequence[str] | None] = dict.fromkeys(firsts, ())
    with (
        working(console, "Looking for the order of the steps from each default to its winner ..."),
        existing(storage) as opened,
    ):
        searched = studies(opened, resolved.campaign.name)
        frames = read(opened, searched)
    for study in searched:
        found[study.name] = _predicted_order(study, frames)
    return found


def _predicted_order(study: Study, frames: Frames) -> list[str]:
    """Return the parameters of a study in the order of its predicted path; empty where nothing can be predicted."""
    import numpy as np

    from analysis.sensitivity.ablation import START
    from analysis.sensitivity.analyse import analyse

    trials = frames.trials[frames.trials["study"] == study.name]
    parameters, rng = list(study.parameters.values()), np.random.default_rng(0)
    told = analyse(parameters, trials, frames.curves, direction=study.direction, rng=rng, scale=study.scale)
    return [str(name) for name in told.ablation["parameter"] if name != START]


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


def _announcement(
    tallies: list[Tally],
    seeds: int,
    resources: Resources,
    beside: Mapping[str, Sequence[str] | None] = MappingProxyType({}),
) -> str:
    place = "a GPU" if resources.gpus_per_trial else "a node"
    how = f"one at a time on {place}" if resources.cpus_per_trial is None else "placed as you say"
    searches = max((tally.replicate for tally in tallies), default=1)
    of_each = f" for each of {searches} searches" if searches > 1 else ""
    others = ""
    if beside:
        steps = any(order is not None for order in beside.values())
        others = f", and of {'the first search' if searches > 1 else 'each study'} the default"
        others += " and the steps from there to the winner" if steps else ""
    return (
        f"Confirming winners on {number_of(seeds, 'fresh seed')}{of_each}{others}: {runs_asked_for(tallies)}; {how}, "
        "whole budgets, no pruner."
    )
