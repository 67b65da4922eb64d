"""``sofim tune``: what :func:`studies.tune` does, on the screen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from studies.commands.next_commands import print_next_commands
from studies.commands.screen import make_console, print_table, say, verbatim, working

if TYPE_CHECKING:
    from rich.console import Console

    from studies.commands.tuning import Tuned
    from studies.storage.durability import Durability
    from studies.trials import Resources


def tune_workload(
    workload: str,
    storage: str,
    resources: Resources,
    durability: Durability,
    *,
    budget: str,
    optimizers: str,
    custom: tuple[str, ...],
    **search: Any,
) -> None:
    """Do what ``sofim tune`` says.

    Args:
        workload: Key in ``studies.workloads.WORKLOADS``, or ``"package.module:factory"``.
        storage: Database URL.
        resources: Where trials run.
        durability: What is done against loss.
        budget: A time or a number of trials.
        optimizers: Those to choose from, separated by commas.
        custom: Paths of rows that are one's own, to choose from besides.
        search: The other keywords of :func:`studies.tune`.
    """
    console = make_console()
    with working(console, f"Reading {workload} and its data ..."):
        from studies.commands.tuning import tune_within
    among = ",".join((optimizers, *custom))
    found = tune_within(
        workload, budget, storage, resources, durability, optimizers=among, console=console,
        show=partial(_show, console), **search,
    )  # fmt: skip
    console.print()
    console.print("Next:")
    campaign = found.study.partition("/")[0]
    print_next_commands(["report", "dashboard"], storage, console, campaign=campaign, report="how sensitive it is")


def _show(console: Console, found: Tuned) -> None:
    console.print()
    for line in found.told():
        say(console, line)
    console.print()
    print_table(console, found.headings(), found.rows(), right={1, 2})
    for sentence in found.compared:
        say(console, sentence)
    console.print()
    for line in found.code.splitlines():
        verbatim(console, line)
