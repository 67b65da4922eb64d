"""``sofim check``: what an optimizer must do to be tuned, one line a check."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search_spaces import OF_TRAINING, SEARCH_SPACES, SearchSpace
from search_spaces.errors import UserError, number_of
from studies.called import command_line
from studies.commands.screen import make_console, print_table, say, verbatim, working

if TYPE_CHECKING:
    from rich.console import Console

    from sofim import OptimizerSpec
    from sofim.contract import Outcome
    from studies.campaign.plan import CampaignPlan

EVERY = "all"


def check_optimizers(names: Sequence[str], campaign: str | None) -> int:
    """Do what ``sofim check`` says.

    Args:
        names: Keys of optimizers, or ``"module:spec"``; ``"all"``, or none with a campaign: all there are.
        campaign: A file that has tables of one's own optimizers, and ranges for all.

    Returns:
        The exit code: 1 where something fails that tuning needs.

    Raises:
        UserError: An optimizer is not there or cannot be made.
    """
    console = make_console()
    with working(console, "Loading torch ..."):
        import torch

        from sofim import OPTIMIZERS
        from studies.campaign.reading import load
        from studies.campaign.resolve import custom_tables
        from studies.optimizers import resolve

        plan = None if campaign is None else load(campaign)
        tables = {} if plan is None else {**plan.campaign.optimizer, **custom_tables(plan.campaign)}
        alone = [name for name, table in tables.items() if not table]
        known = tuple(OPTIMIZERS) if plan is None else tuple(n for n in plan.campaign.optimizers if n not in alone)
        for name in alone if not known else [name for name in names if name in alone]:
            raise UserError(f"{name} is a search space of a training function: there is no optimizer to check")
        if not names and plan is None:
            raise UserError(
                f"which optimizer? one of {', '.join(OPTIMIZERS)}, module:spec or {EVERY}; "
                f"for instance: {command_line('check', 'sgd')}"
            )
        wanted = known if EVERY in names or not names else tuple(dict.fromkeys(names))
        rows = {name: resolve(name, tables) for name in wanted}
    code, threads = 0, torch.get_num_threads()
    torch.set_num_threads(1)  # as training does
    try:
        for name, row in rows.items():
            code |= _check(console, name, row, _arguments(row, plan))
    finally:
        torch.set_num_threads(threads)
    return code


def _check(console: Console, name: str, row: OptimizerSpec, arguments: Mapping[str, object]) -> int:
    """Print what the checks say of one optimizer, and return the exit code."""
    from rich.text import Text

    from sofim.contract import CHECKS, MADE, Verdict, examine

    outcomes = []
    with working(console, f"Checking {name} ...") as status, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what an optimizer warns of is no fault
        for outcome in examine(row, arguments):
            outcomes.append(outcome)
            status.update(Text(f"Checking {name}: {len(outcomes)} of {len(CHECKS)} ..."))
    *_, last = outcomes
    if last.check == MADE and last.verdict is Verdict.FAIL:
        raise UserError(f"optimizer {name}: {last.reason}; {last.remedy}")
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    say(console, f"{name}: {given or 'the defaults of its factory'}", "bold")
    for title, needed in (("Tuning needs that it", True), ("Others rely on that it", False)):
        told = [outcome for outcome in outcomes if outcome.needed is needed]
        if told:
            _print(console, title, [_told(outcome) for outcome in told])
            console.print()
    failed = [outcome for outcome in outcomes if outcome.verdict is Verdict.FAIL]
    broken, others = ([outcome for outcome in failed if outcome.needed is needed] for needed in (True, False))
    if broken:
        sentence = f"{number_of(len(broken), 'check')} that tuning needs failed"
    else:
        sentence = "all that tuning needs is there"
    if outcomes[-1].check != CHECKS[-1].name:
        sentence += "; no other was made, as none makes sense before"
    elif others:
        sentence += f"; of what others rely on, {number_of(len(others), 'check')} failed"
    say(console, f"{name}: {sentence}.", "red" if broken else "")
    console.print()
    return 1 if broken else 0


def _print(console: Console, title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a table, each row on one line where no terminal is too narrow for it."""
    if console.is_terminal:
        print_table(console, (title, "", ""), rows, under=2)
        return
    width = max(len(name) for name, _, _ in rows)
    for line in (
        title,
        *(f"{name:{width}}  {verdict:{len('not applicable')}}  {text}" for name, verdict, text in rows),
    ):
        verbatim(console, line.rstrip())


def _told(outcome: Outcome) -> tuple[str, str, str]:
    text = "; ".join(part for part in (outcome.reason, outcome.remedy) if part)
    return f"  {outcome.check}", outcome.verdict.value, text


def _arguments(row: OptimizerSpec, plan: CampaignPlan | None) -> dict[str, object]:
    """Return the default configuration of its search space, with which a search begins; nothing where there is none."""
    space = {**SEARCH_SPACES, **(plan.spaces if plan is not None else {})}.get(row.key, row.space)
    if not isinstance(space, SearchSpace):
        return {}
    return {name: value for name, value in space.arguments(space.default).items() if name not in OF_TRAINING}
