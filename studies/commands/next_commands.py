"""What one may type next, and what of a result to keep in mind before that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from studies.called import command_line
from studies.commands.options import storage_again
from studies.commands.screen import verbatim

if TYPE_CHECKING:
    from rich.console import Console

ONE_SEED = "These values are of one seed, chosen by the search: good for choosing, too good to expect."
UNSEEN = "No search saw these seeds or test data."
_PURPOSES = {
    "launch": "what is missing of it",
    "confirm": "the winners on fresh seeds, and on test data if there are any",
    "report": "which optimizer is better, and how sensitive each is",
    "export": "recommended hyperparameters, as TOML, JSON, YAML or Python",
    "status": "how the trials ended",
    "dashboard": "every trial in Optuna's dashboard",
}
AFTER_LAUNCH = ("confirm", "report", "export", "status", "dashboard")
AFTER_CONFIRM = ("report", "export", "status", "dashboard")
OF_WHOLE = ("confirm", "export")
"""What refuses where no trial ran its whole budget."""


def print_next_commands(
    commands: Sequence[str],
    storage: str,
    console: Console,
    *,
    campaign: str = "",
    again: Sequence[str] = (),
    report: str = _PURPOSES["report"],
) -> None:
    """Print what one may type next, as the program was called, with what it is for.

    Args:
        commands: Keys of the purposes.
        storage: URL of the database that they are to find.
        console: Where to print.
        campaign: What the commands are about.
        again: The words that launch it again.
        report: What a report of it says.
    """
    purposes = _PURPOSES | {"report": report}
    option = storage_again(storage)
    words = {"launch": again, "dashboard": ["dashboard"]}
    lines = {command_line(*words.get(name, [name, campaign]), *option): purposes[name] for name in commands}
    widest = max(map(len, lines))
    beside = not console.is_terminal or widest + 5 + max(map(len, lines.values())) <= console.width
    for command, purpose in lines.items():
        verbatim(console, f"  {command:{widest}}   {purpose}" if beside else f"  {command}")
        if not beside:
            verbatim(console, f"      {purpose}")
