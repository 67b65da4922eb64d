"""``sofim report``: which studies, where to, and what is said of it on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.text import Text

from studies.errors import UserError
from studies.views import number_of

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from analysis.report import Report
    from analysis.sensitivity.outcomes import Method


def make_report(
    storage: BaseStorage,
    shown: str,
    *,
    campaign: str | None,
    study: str | None,
    out: Path | None,
    publish: bool,
    stopped: str,
    seed: int,
    console: Console,
) -> None:
    """Write the report of a campaign or of one study, and say where it is.

    Raises:
        UserError: there is no such campaign or study, it cannot be analysed, or the directory cannot be written.
    """
    from analysis import report
    from analysis.errors import AnalysisError
    from analysis.load import campaigns, studies
    from analysis.load import study as study_called
    from search_spaces import ANY
    from search_spaces.errors import suggestion
    from studies.allowance import cpus

    name = campaign or study or ""
    try:
        found = [study_called(storage, name)] if study is not None else studies(storage, name)
        if not found:
            names = campaigns(storage)
            there = f"there are: {', '.join(names)}" if names else "there is none"
            raise UserError(
                f"no campaign '{name}' in {shown}; {there}{suggestion(name, names)}; one study is named by --study"
            )
        # a study that chooses the optimizer itself has nothing beside it to be compared with
        together = study is None and not any(one.optimizer == ANY for one in found)
        with console.status(f"{number_of(len(found), 'study', 'studies')} …") as status:
            left = len(found)

            def tell(done: str) -> None:
                nonlocal left
                left -= 1
                status.update(f"{number_of(left, 'study', 'studies')} left …")
                console.print(Text(f"{done}: done"), soft_wrap=True)

            written = report.write(
                storage,
                found,
                out or Path("reports") / report.slug(name),
                title=f"{name}: which optimizer, how sensitive?" if together else f"{name}: how sensitive?",
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
    except AnalysisError as error:
        raise UserError(str(error)) from None
    console.print()
    print_findings(written, console)
    console.print(Text(f"Report: {written.index}"), soft_wrap=True)
    if publish:
        console.print("The findings are on the studies as notes: sofim dashboard")


def print_findings(written: Report, console: Console) -> None:
    """The summary of a report."""
    from analysis.sensitivity.sentences import headline

    for sentence in (*written.verdict, *written.across):
        console.print(Text(sentence))
    for chapter in written.chapters:
        console.print(Text(chapter.study.name, style="bold"), soft_wrap=True)
        for sentence in headline(chapter.findings):
            console.print(Text(f"  {sentence}"), soft_wrap=True)
    console.print()
