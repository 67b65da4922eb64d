"""What launching, confirming, evaluating and tuning share: a ledger is worked off, on view."""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from search_spaces.errors import number_of
from studies.commands.screen import say, working
from studies.loggers import Logging, Target
from studies.modules import search_path
from studies.trials import Resources, Tally

if TYPE_CHECKING:
    from rich.console import Console

    from studies.campaign.resolve import ResolvedCampaign
    from studies.ledger import Ledger
    from studies.training.worker import TrainingOptions

_PACKAGES = ("torch", "torchvision", "ray", "optuna", "pytorch_optimizer", "numpy", "sofim-studies")


@contextmanager
def logged(open_ledger: Callable[[], Ledger], logs: Sequence[Target], console: Console) -> Iterator[Ledger]:
    """Open a ledger whose trials are told to logs too, which are open before and hear of its end.

    Raises:
        UserError: A log cannot be opened, or the ledger.
    """
    with ExitStack() as stack:
        with working(console, "Opening logs ...") if logs else nullcontext():
            logging = stack.enter_context(Logging(logs, lambda line: say(console, line, "yellow")))
        ledger = stack.enter_context(open_ledger())
        if logs:
            ledger.listen(logging)
        yield ledger


def training_options(resolved: ResolvedCampaign, resources: Resources, checkpoint_every: int) -> TrainingOptions:
    """Return what all runs of a campaign share.

    Args:
        resolved: Of the campaign.
        resources: Where they run.
        checkpoint_every: Epochs between two checkpoints; 0: none.
    """
    from studies.campaign.resolve import custom_tables
    from studies.training.worker import TrainingOptions

    return TrainingOptions(
        schedule=resolved.campaign.schedule,
        warmup=resolved.campaign.fixed_warmup,
        amp=resolved.campaign.amp,
        data_directory=resolved.data_directory,
        use_gpu=resources.gpus_per_trial > 0,
        checkpoint_every=checkpoint_every,
        modules=search_path() if resources.address is None else (),
        carried=resolved.carried,
        optimizers=json.dumps(custom_tables(resolved.campaign)),
    )


def work_off(ledger: Ledger, resolved: ResolvedCampaign, resources: Resources, console: Console) -> None:
    """Run all that ``ledger`` has to ask for, on view."""
    from studies.campaign.resolve import user_code
    from studies.commands.progress import Progress
    from studies.engine import execute, session

    options = training_options(resolved, resources, ledger.durability.every)

    def tell(line: str) -> None:
        say(console, line)

    resources = replace(resources, code=user_code(resolved))
    begun = threading.Event()

    def waiting() -> str | None:
        return None if begun.is_set() else "Workers are starting; training begins when they have."

    with (
        session(resources, tell, ledger.shown),  # nothing is shown of trials before there can be one
        Progress(ledger.tallies, console, ledger.seconds_left, lambda: ledger.trouble, waiting),
    ):
        execute(ledger, options, resources, tell, begun.set)


def runs_asked_for(tallies: Sequence[Tally]) -> str:
    """Return how many runs there are to be, and how many of them there are.

    >>> runs_asked_for([])
    '0 runs'
    """
    asked_for, done = sum(tally.asked_for or 0 for tally in tallies), sum(tally.done for tally in tallies)
    there = f", {done} {'is' if done == 1 else 'are'} there" if done else ""
    return f"{number_of(asked_for, 'run')}{there}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that the values depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
