"""From a campaign to a tuned database: check everything, open the ledger, run the engine, show how it goes."""

from __future__ import annotations

import platform
import threading
import time
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from rich.console import Console

from studies.campaign.resolve import ResolvedCampaign, user_code
from studies.commands import screen
from studies.commands.progress import Progress, stopped_lines
from studies.commands.screen import say
from studies.modules import search_path
from studies.training.worker import TrainingOptions
from studies.trials import Tally

if TYPE_CHECKING:
    from studies.engine import Resources
    from studies.ledger import Ledger
    from studies.storage.durability import Durability
    from studies.workloads import Data, Split

_PACKAGES = ("torch", "torchvision", "ray", "optuna", "pytorch_optimizer", "numpy", "sofim-studies")
_PROBE_EXAMPLES = 1024


def launch(
    resolved: ResolvedCampaign,
    storage: str,
    resources: Resources,
    console: Console,
    *,
    durability: Durability | None = None,
    extend: bool = False,
) -> list[Tally]:
    """Runs what is left of a campaign and shows it on ``console``.

    Args:
        resolved: of the campaign.
        storage: database URL.
        resources: where trials run.
        console: for the live view.
        durability: what is done against loss.
        extend: whether the campaign of this name in the storage is made this one.

    Returns:
        How far each study is at the end.

    Raises:
        UserError: the storage or the cluster cannot be used, or the storage holds another campaign of this name.
        KeyboardInterrupt: Ctrl-C; running trials are closed and will be asked again.
    """
    from studies.ledger import open_search

    campaign = resolved.campaign
    plans = resolved.study_plans()
    made = open_search(storage, resolved.plan.stored(), plans, versions(), durability=durability, extend=extend)
    with made as ledger:
        if ledger.finished:
            _say_finished(campaign.name, ledger.tallies(), console)
        else:
            if not any(tally.done for tally in ledger.tallies()):  # what was begun keeps its search spaces
                for note in resolved.notes:
                    say(console, note)
            work_off(ledger, resolved, resources, console)
        return ledger.tallies()


def work_off(ledger: Ledger, resolved: ResolvedCampaign, resources: Resources, console: Console) -> None:
    """Runs all that ``ledger`` has to ask for, on view."""
    from studies.engine import execute, session

    options = TrainingOptions(
        schedule=resolved.campaign.schedule,
        amp=resolved.campaign.amp,
        data_directory=resolved.data_directory,
        use_gpu=resources.gpus_per_trial > 0,
        checkpoint_every=ledger.durability.every,
        modules=search_path() if resources.address is None else (),
        carried=resolved.carried,
    )

    def say(line: str) -> None:
        screen.say(console, line)

    resources = replace(resources, code=user_code(resolved))
    begun = threading.Event()

    def waiting() -> str | None:
        return None if begun.is_set() else "Workers are starting; training begins when they have."

    with (
        session(resources, say),  # nothing is shown of trials before there can be one
        Progress(ledger.tallies, console, ledger.seconds_left, lambda: ledger.trouble, waiting),
    ):
        execute(ledger, options, resources, say, begun.set)


def _say_finished(name: str, tallies: list[Tally], console: Console) -> None:
    stopped = stopped_lines(tallies)
    if not stopped:
        screen.say(console, f"Nothing left to run: every trial of {name} is in the storage.")
        return
    for line in stopped:
        screen.say(console, line, "red")
    screen.say(
        console, f"Nothing left to run in {name}; once the cause is mended, run it under another name with --name."
    )


def versions() -> dict[str, str]:
    """Versions of Python and of every package that the values depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one study would cost: ``seconds`` of training for one trial of the default configuration, never pruned."""

    study: str
    seconds_per_trial: float


def estimate(resolved: ResolvedCampaign) -> list[Estimate]:
    """Measures a part of an epoch of each study's default configuration on this machine's CPU, and extrapolates.

    Pruning makes a campaign cheaper than this, and configurations other than the default make it dearer or cheaper.
    """
    import torch

    from sofim import OPTIMIZERS
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
                run = train(workload, OPTIMIZERS[optimizer], arguments, resolved.campaign.seed, 2, data=probe)
                times = [time.perf_counter(), *(time.perf_counter() for _ in run)]
            # the first epoch pays for what torch sets up; a run that diverges has no second
            seconds = (times[-1] - times[-2]) / share * resolved.epochs(key)
            estimates.append(Estimate(f"{resolved.campaign.name}/{key}/{optimizer}", seconds))
    return estimates


def _first(data: Data, examples: int) -> Data:
    """The first ``examples`` training examples of ``data``, and the same share of the validation ones."""
    share = max(1.0, len(data.train.targets) / examples)
    validation = max(1, int(len(data.validation.targets) / share))

    from studies.workloads import Data, Split

    def cut(split: Split, most: int) -> Split:
        return Split(split.inputs[:most], split.targets[:most])

    return Data(cut(data.train, examples), cut(data.validation, validation), data.test)
