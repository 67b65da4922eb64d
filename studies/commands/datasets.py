"""``sofim data``: which data sets are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from search_spaces.errors import UserError
from studies.called import command_line
from studies.commands.screen import make_console
from studies.data import DATASETS, DatasetStatus, dataset, fetch, status


def show_datasets(names: Sequence[str], directory: Path | None, *, download: bool) -> None:
    """Print for each data set whether it is there and where it is looked for.

    Args:
        names: Of the data sets; all without any.
        directory: Where they are looked for; ``None``: the usual places.
        download: Whether to fetch what is missing.

    Raises:
        UserError: One that is named is not known, or is missing or damaged.
    """
    rows = []
    for name in names or tuple(DATASETS):
        dataset(name)
        rows.append(fetch(name, directory) if download else status(name, directory))
    print_datasets(rows, make_console())
    problems = {row.name: row.problem for row in rows if row.problem}
    if not names or not problems:
        return
    if len(problems) == 1:
        raise UserError(*problems.values())
    again = command_line("data", *problems, "--download", *(["--data", str(directory)] if directory else []))
    raise UserError(f"{', '.join(problems)}: missing or damaged; fetch them with: {again}")


def print_datasets(rows: Iterable[DatasetStatus], console: Console) -> None:
    """Whether each data set is there, and what to do where it is not."""
    for row in rows:
        state = ("there", "green") if row.present else ("missing", "red")
        where = f", in {row.folder}" if row.folder else f", in {row.package}, nothing to fetch" if row.package else ""
        console.print(Text.assemble((row.name, "bold"), ": ", state, where), soft_wrap=True)
        console.print(Text(f"  {row.source} ({row.licence})"), soft_wrap=True)
        if row.note:
            console.print(Text(f"  {row.note}"), soft_wrap=True)
        for problem in dict.fromkeys(p for p in (row.problem, row.test_problem) if p):
            console.print(Text(f"  {problem}"), soft_wrap=True)
        if row.present and row.looked_in:
            console.print(Text(f"  looked in {', '.join(map(str, row.looked_in))}"), soft_wrap=True)
