"""What a campaign would run, and what it would cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.text import about, format_duration
from search_spaces.errors import number_of
from studies.commands.screen import print_table, say

if TYPE_CHECKING:
    from rich.console import Console

    from studies.campaign.model import Campaign
    from studies.campaign.resolve import ResolvedCampaign
    from studies.workloads import Data, Split

_PROBE_EXAMPLES = 1024


def print_dry_run(resolved: ResolvedCampaign, console: Console, slots: int, address: str | None = None) -> None:
    """Print what a campaign would run, and what it would cost with so many trials at once here or on that cluster."""
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
        f"schedule {campaign.schedule}{_warmup(campaign)}, seed {campaign.seed}. Nothing was run or stored."
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


def _warmup(campaign: Campaign) -> str:
    """Return the warm-up in words, nothing where there is none.

    >>> from types import SimpleNamespace
    >>> _warmup(SimpleNamespace(warmup=0.05)), _warmup(SimpleNamespace(warmup=(0.0, 0.1)))
    (' with warm-up 5 %', ' with warm-up searched from 0 to 10 %')
    """
    if isinstance(campaign.warmup, tuple):
        low, high = (100 * share for share in campaign.warmup)
        return f" with warm-up searched from {low:g} to {high:g} %"
    return f" with warm-up {100 * campaign.warmup:g} %" if campaign.warmup else ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one study would cost: ``seconds`` of training for one trial of the default configuration, never pruned."""

    study: str
    seconds_per_trial: float


def estimate(resolved: ResolvedCampaign) -> list[Estimate]:
    """Measure a part of an epoch of each study's default configuration on this machine's CPU, and extrapolates.

    Pruning makes a campaign cheaper than this, and configurations other than the default make it dearer or cheaper.
    """
    import torch

    from studies.optimizers import resolve
    from studies.training.run import train
    from studies.workloads import load
    from studies.workloads.user_errors import blaming

    torch.set_num_threads(1)
    estimates = []
    for key, workload in resolved.workloads.items():
        data = load(workload, resolved.data_directory)
        examples = len(data.train.targets)
        probe = _first(data, _PROBE_EXAMPLES)
        share = len(probe.train.targets) / examples
        for optimizer in resolved.campaign.optimizers:
            space = resolved.space(optimizer, key)
            arguments = space.arguments(space.default)
            arguments["batch_size"] = int(min(int(str(arguments["batch_size"])), len(probe.train.targets)))
            with blaming(f"workload {key}: training", workload.model, workload.place):
                row = resolve(optimizer, resolved.campaign.optimizer)
                run = train(workload, row, arguments, resolved.campaign.seed, 2, data=probe)
                times = [time.perf_counter(), *(time.perf_counter() for _ in run)]
            # the first epoch pays for what torch sets up; a run that diverges has no second
            seconds = (times[-1] - times[-2]) / share * resolved.epochs(key)
            estimates.append(Estimate(f"{resolved.campaign.name}/{key}/{optimizer}", seconds))
    return estimates


def _first(data: Data, examples: int) -> Data:
    """Return the first ``examples`` training examples of ``data``, and the same share of the validation ones."""
    share = max(1.0, len(data.train.targets) / examples)
    validation = max(1, int(len(data.validation.targets) / share))

    from studies.workloads import Data, Split

    def cut(split: Split, most: int) -> Split:
        return Split(split.inputs[:most], split.targets[:most])

    return Data(cut(data.train, examples), cut(data.validation, validation), data.test)
