"""``sofim report``: which studies, where to, and what is said of it on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.text import Text

from search_spaces.errors import UserError
from studies.commands.screen import say, speaks_unicode, verbatim
from studies.commands.tables import print_next_commands

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from analysis.load import Study
    from analysis.report import Report
    from analysis.sensitivity.outcomes import Method


def make_report(
    storage: BaseStorage,
    shown: str,
    *,
    campaign: str | None,
    study: str | None,
    objective: int | None,
    out: Path | None,
    publish: bool,
    stopped: str,
    seed: int,
    again: str,
    console: Console,
) -> None:
    """Write the report of a campaign or of one study, and say where it is.

    Raises:
        UserError: there is no such campaign or study, it cannot be analysed, or the directory cannot be written.
    """
    from analysis import report
    from analysis.load import campaigns, studies
    from analysis.load import study as study_called
    from search_spaces import ANY
    from search_spaces.errors import number_of, suggestion
    from studies.training.allowance import cpus

    name = campaign or study or ""
    found = [study_called(storage, name, objective)] if study is not None else studies(storage, name)
    if not found:
        names = campaigns(storage)
        there = f"there are: {', '.join(names)}" if names else "there is none"
        raise UserError(
            f"no campaign '{name}' in {shown}; {there}{suggestion(name, names)}; one study is named by --study"
        )
    titled = found[0].title if study is not None else name
    # a study that chooses the optimizer itself has nothing beside it to be compared with
    together = study is None and not any(one.optimizer == ANY for one in found)
    spinner = "dots" if speaks_unicode(console.file) else "line"
    with console.status(f"{number_of(len(found), 'study', 'studies')} …", spinner=spinner) as status:
        left = len(found)

        def tell(done: str) -> None:
            nonlocal left
            left -= 1
            status.update(
                f"{number_of(left, 'study', 'studies')} left …" if left else "Comparing, and writing the page …"
            )
            say(console, f"{report.printable(done)}: done")

        written = report.write(
            storage,
            found,
            out or Path("reports") / report.slug(titled),
            title=f"{name}: which optimizer, how sensitive?" if together else f"{titled}: how sensitive?",
            together=together,
            source=shown,
            options=report.Options(
                seed=seed,
                method=cast("Method", stopped),  # click has checked it
                workers=cpus(),
            ),
            tell=tell,
        )
    if publish:
        for chapter in written.chapters:
            report.publish(storage, chapter)
    console.print()
    print_findings(written, console)
    verbatim(console, f"Report: {written.index}")
    if publish:
        say(console, "The findings are on the studies as notes, which the dashboard shows.")
    _print_next(found, again, console, confirmed=written.confirmed)


def _print_next(found: Sequence[Study], storage: str, console: Console, *, confirmed: bool | None) -> None:
    """What one may type after the report: of studies that no campaign has there is nothing but to look."""
    from search_spaces import ANY

    console.print()
    console.print("Next:")
    if not found[0].own or found[0].optimizer == ANY:
        print_next_commands(["dashboard"], storage, console)
        return
    commands = [*(["confirm"] if confirmed is False else []), "export", "dashboard"]
    print_next_commands(commands, storage, console, campaign=str(found[0].campaign["name"]))


def print_findings(written: Report, console: Console) -> None:
    """The summary of a report."""
    from analysis.report import printable
    from analysis.sensitivity.sentences import headline

    for sentence in (*written.verdict, *written.across):
        say(console, sentence)
    for chapter in written.chapters:
        console.print(Text(printable(chapter.study.title), style="bold"), soft_wrap=True)
        for sentence in headline(chapter.findings):
            say(console, f"  {printable(sentence)}")
    console.print()
