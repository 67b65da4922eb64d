"""What a campaign would run, and what it would cost."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analysis.schema import study_name
from analysis.text import about, format_duration
from search_spaces.errors import number_of
from studies.commands.screen import print_table, say

if TYPE_CHECKING:
    from rich.console import Console

    from studies.campaign.model import Campaign
    from studies.campaign.resolve import ResolvedCampaign
    from studies.workloads import Workload

_PROBE_EXAMPLES = 1024


def print_dry_run(
    resolved: ResolvedCampaign,
    console: Console,
    slots: int,
    address: str | None = None,
    *,
    left: Mapping[str, int] = MappingProxyType({}),
    cores: int | None = None,
) -> None:
    """Print what a campaign would run, and what is left of it would cost.

    Args:
        resolved: The campaign.
        console: Where to print.
        slots: How many trials run at once.
        address: Of a cluster, else here.
        left: How many trials of a study that was begun are left.
        cores: How many trials could run at once with a core each, where that is what each was timed with and has less.
    """
    campaign = resolved.campaign
    rows = []
    trials: list[tuple[float, int]] = []  # seconds of each of so many
    times = f"{campaign.replicates} × " if campaign.replicates > 1 else ""
    for row in estimate(resolved):
        _, workload, optimizer = row.study.split("/")
        number = sum(
            left.get(study_name(campaign.name, workload, optimizer, replicate), campaign.trials)
            for replicate in range(1, campaign.replicates + 1)
        )
        whole = row.seconds_per_trial * number
        trials.append((row.seconds_per_trial, number))
        rows.append(
            (
                row.study.removeprefix(f"{campaign.name}/"),
                f"{times}{campaign.trials}",
                str(resolved.epochs(workload)),
                *(
                    "not run" if math.isnan(seconds) else format_duration(seconds)
                    for seconds in (row.seconds_per_trial, whole)
                ),
            )
        )
    summary = (
        f"Campaign {campaign.name}: sampler {campaign.sampler}, pruner {campaign.pruner}, "
        f"schedule {campaign.schedule}{_warmup(campaign)}, seed {campaign.seed}. Nothing was run or stored."
    )
    for line in (summary, *resolved.notes, *_found_apart(campaign)):
        say(console, line)
    is_begun = any(number < campaign.trials for number in left.values())
    left_of = "what is left,\nat most" if is_begun else "the study,\nat most"
    print_table(console, ("study", "trials", "epochs", "a trial,\nat most", left_of), rows, right=range(1, 5))
    if any(math.isnan(seconds) for seconds, _ in trials):
        say(
            console,
            f"What it costs is not known: nothing of a training function is run. {number_of(slots, 'trial')} at once.",
        )
        return
    place = "this machine" if address is None else "the cluster, were its nodes like this machine"
    if not any(number for _, number in trials):
        say(console, "Nothing is left to run.")
        return
    shared = cores is not None and cores < slots
    most = about(at_most(trials, cores if shared and cores else slots))
    on_cores = f" on {number_of(cores or 0, 'core')}" if shared else ""
    say(
        console,
        f"Training on {place}, {number_of(slots, 'trial')} at once{on_cores}: at most {most} "
        f"(default configurations, timed on a part of an epoch; pruning makes it less, a dear configuration more).",
    )


def at_most(trials: Sequence[tuple[float, int]], slots: int) -> float:
    """Return the seconds within which trials end, as many at once as there are slots, in whatever order they begin.

    Args:
        trials: Seconds of one, and how many of these there are.
        slots: How many run at once.

    >>> at_most([(60.0, 40)], 4), at_most([(600.0, 2)], 16), at_most([(60.0, 4), (30.0, 4)], 2)
    (600.0, 600.0, 210.0)
    """
    trials = [(seconds, number) for seconds, number in trials if number]
    longest = max(seconds for seconds, _ in trials)
    if len({seconds for seconds, _ in trials}) == 1:
        return math.ceil(sum(number for _, number in trials) / slots) * longest
    total = sum(seconds * number for seconds, number in trials)
    return total / slots + (1 - 1 / slots) * longest  # Graham 1966, Bell System Technical Journal 45, 1563


def _found_apart(campaign: Campaign) -> list[str]:
    """Return how far apart optimizers must be for the comparison to show it; nothing where it is not over searches.

    >>> from types import SimpleNamespace
    >>> campaign = SimpleNamespace(purpose="comparison", optimizers="abc", workloads="uv", replicates=5)
    >>> print(*_found_apart(campaign))
    6 comparisons over 5 searches of each: a difference of 3.1 standard deviations of a search is found in at \
least 80 % of campaigns; over 10 searches, one of 1.8.
    >>> campaign = SimpleNamespace(purpose="comparison", optimizers=["sofim", "sgd"], workloads="u", replicates=5)
    >>> print(_found_apart(campaign)[1])
    Of two of which one contains the other, it is found where the larger is the better.
    """
    from analysis.comparison.limits import INCLUSIONS
    from analysis.comparison.power import ONE_SIDED
    from analysis.comparison.searches import ENOUGH
    from analysis.intervals import CHANCE, found_apart

    number = len(campaign.optimizers)
    pairs = number * (number - 1) // 2 * len(campaign.workloads)
    if campaign.purpose != "comparison" or campaign.replicates < ENOUGH or not pairs:
        return []
    few, many = (math.ceil(10 * found_apart(n, pairs)) / 10 for n in (campaign.replicates, 2 * campaign.replicates))
    return [
        f"{number_of(pairs, 'comparison')} over {campaign.replicates} searches of each: a difference of {few:.1f} "
        f"standard deviations of a search is found in at least {100 * CHANCE:.0f} % of campaigns; over "
        f"{2 * campaign.replicates} searches, one of {many:.1f}.",
        *([ONE_SIDED] if any({one.larger, one.smaller} <= {*campaign.optimizers} for one in INCLUSIONS) else []),
    ]


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
    """What one study would cost: seconds of training for one trial of the default configuration, never pruned.

    NaN of a training function, which is not run for it.
    """

    study: str
    seconds_per_trial: float


def estimate(resolved: ResolvedCampaign) -> list[Estimate]:
    """Measure a part of an epoch of each study's default configuration on this machine's CPU, and extrapolates.

    Pruning makes a campaign cheaper than this, and configurations other than the default make it dearer or cheaper.
    """
    import torch

    from studies.optimizers import resolve
    from studies.training.run import train
    from studies.workloads import TrainingFunction, load
    from studies.workloads.user_errors import blaming

    torch.set_num_threads(1)
    estimates = []
    for key, workload in resolved.workloads.items():
        if isinstance(workload, TrainingFunction):  # what of it is a part of an epoch it alone knows
            names = (f"{resolved.campaign.name}/{key}/{optimizer}" for optimizer in resolved.campaign.optimizers)
            estimates += [Estimate(name, math.nan) for name in names]
            continue
        data = load(workload, resolved.data_directory)
        examples = workload.num_examples(data)
        most = min(examples, _PROBE_EXAMPLES)
        share = most / examples
        probe, part = _first(workload, data, share)
        for optimizer in resolved.campaign.optimizers:
            space = resolved.space(optimizer, key)
            arguments = space.arguments(space.default)
            arguments["batch_size"] = int(min(int(str(arguments["batch_size"])), most))
            with blaming(f"workload {key}: training", workload.model, workload.place):
                row = resolve(optimizer, resolved.campaign.optimizer)
                run = train(probe, row, arguments, resolved.campaign.seed, 2, data=part)
                times, trained = [time.perf_counter()], [0.0]
                for record in run:
                    times.append(time.perf_counter())
                    trained.append(record.seconds)
            # the first epoch pays for what torch sets up; a run that diverges has no second
            training, whole = trained[-1] - trained[-2], times[-1] - times[-2]
            rest = whole - training  # an evaluation of the workload's own is not cut
            seconds = training / share + (rest if workload.evaluate is not None else rest / share)
            estimates.append(Estimate(f"{resolved.campaign.name}/{key}/{optimizer}", seconds * resolved.epochs(key)))
    return estimates


def _first(workload: Workload, data: Any, share: float) -> tuple[Workload, Any]:
    """Return a workload, and its data, with a share of the examples that it trains on and is evaluated on."""
    from studies.workloads import Data, Split

    if workload.sample is not None:
        workload = replace(workload, examples=round(share * workload.num_examples(data)))
    if not isinstance(data, Data):
        return workload, data

    def cut(split: Split) -> Split:
        most = max(1, round(share * len(split)))
        return Split(split.inputs[:most], split.targets[:most])

    train = cut(data.train) if workload.sample is None else data.train
    validation = cut(data.validation) if workload.evaluate is None else data.validation
    return workload, Data(train, validation, data.test if data.has_test else None)
