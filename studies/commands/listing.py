"""What there is: presets, workloads, optimizers and campaigns.

Nothing of it needs torch, which takes longer to load than all else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from analysis.optimizers import custom_optimizers, described
from analysis.text import format_value
from search_spaces.errors import number_of
from studies.called import DEFAULT_STORAGE, command_line
from studies.commands.facts import WorkloadFacts, optimizers, presets, workloads
from studies.commands.find import existing, without_password
from studies.commands.options import storage_again
from studies.commands.screen import make_console, print_table

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def list_all(storage: str) -> list[str]:
    """Print what ``sofim list`` says, and return a line for each study in the storage that is damaged.

    Raises:
        UserError: The storage cannot be read.
    """
    shown, console = without_password(storage), make_console()
    if storage == DEFAULT_STORAGE and not Path("sofim.db").exists():
        print_list(None, shown, [], console)
        return []
    from analysis.load import damaged

    with existing(storage) as opened:
        print_list(opened, shown, storage_again(storage), console)
        return [line for lines in damaged(opened).values() for line in lines]


def print_list(storage: BaseStorage | None, shown: str, option: Sequence[str], console: Console) -> None:
    """Presets, workloads, optimizers, and the campaigns in ``storage``, which ``option`` names on a command line."""
    _section(
        console,
        f"Presets ({command_line('launch', 'NAME')})",
        (
            (
                name,
                f"{number_of(counts[0], 'workload')} × {number_of(counts[1], 'optimizer')} × "
                f"{number_of(counts[2], 'trial')}",
            )
            for name, counts in presets().items()
        ),
    )
    _section(
        console,
        "Workloads",
        (
            (
                name,
                f"{facts.metric}{f' ({facts.meaning})' if facts.meaning else ''}, {facts.direction}, "
                f"target {format_value(facts.target)}{_origin(facts)}, {number_of(facts.epochs, 'epoch')}",
            )
            for name, facts in workloads().items()
        ),
    )
    _section(console, "Optimizers", optimizers().items())
    if storage is not None:
        from analysis.load import studies

        found = studies(storage, replicates=True)
        custom = [(name, described(name, s.campaign)) for s in found for name in custom_optimizers(s.campaign)]
        if custom:
            _section(console, f"Optimizers of your own in {shown}", dict.fromkeys(custom))
        names = dict.fromkeys(str(study.campaign["name"]) for study in found)
        counts = {name: sum(study.campaign["name"] == name for study in found) for name in names}
        start = command_line("launch", "quickstart", *option)
        rows = [(name, number_of(count, "study", "studies")) for name, count in counts.items()]
        _section(
            console,
            f"Campaigns in {shown}",
            rows or [("none yet", f"start one: {start}")],
        )


def _origin(facts: WorkloadFacts) -> str:
    """Return in brackets how a target came about: all of it where it was measured, else of what kind it is."""
    kind, _, _ = facts.origin.partition(":")
    told = facts.origin if kind == "measured" else kind
    return f" ({told})" if told else ""


def _section(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    console.print(Text(title, style="bold"), soft_wrap=True)
    print_table(console, ("", ""), [(f"  {name}", text) for name, text in rows], under=1)
    console.print()
