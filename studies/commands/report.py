"""``sofim report``: which studies, where to, and what is said of it on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.text import Text

from analysis.schema import PROTOCOL
from search_spaces import ANY
from search_spaces.errors import UserError, number_of, suggestion
from studies.called import place_to_write, shown_place
from studies.campaign.reading import launched_again
from studies.commands.find import campaign_name, existing, without_password
from studies.commands.next_commands import print_next_commands
from studies.commands.screen import make_console, say, verbatim, working
from studies.commands.status import tallies

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from analysis.load import Study
    from analysis.report import Options, Report
    from analysis.sensitivity.outcomes import Method


def make_report(
    campaign: str | None,
    study: str | None,
    storage: str,
    *,
    objective: int | None,
    out: Path | None,
    page_only: bool,
    publish: bool,
    stopped: str,
    seed: int,
    about: str | None,
) -> None:
    """Do what ``sofim report`` says, see there for the options.

    Raises:
        UserError: There is no such campaign or study, it cannot be analysed, or the directory cannot be written.
    """
    from analysis.report import Options
    from studies.training.allowance import cpus

    if campaign is not None and study is not None:
        raise UserError("a campaign and one study with --study exclude each other; name one of them")
    if campaign is None and study is None:
        raise UserError("name a campaign, or one study with --study NAME; sofim list shows the campaigns")
    if about is not None and study is not None:
        raise UserError("--about is of a campaign, over whose workloads the questions are answered")
    if objective is not None and study is None:
        raise UserError("--objective is of one study; name it with --study NAME")
    name, one = study or campaign_name(campaign or ""), study is not None
    console = make_console()
    with existing(storage, written=publish) as opened:
        studies = _studies(opened, without_password(storage), name, objective, one=one)
        options = Options(
            seed=seed,
            method=cast("Method", stopped),  # click has checked it
            workers=cpus(),
            about=about,
            page_only=page_only,
        )
        written = _write(opened, without_password(storage), studies, name, out, options, console, one=one)
        if publish:
            from analysis import report

            for chapter in written.chapters:
                report.publish(opened, chapter)
        then = _next(opened, studies, confirmed=written.confirmed)
    console.print()
    print_findings(written, console)
    if written.answers is not None:
        verbatim(console, f"Answers: {shown_place(written.answers)}")
    verbatim(console, f"Report: {shown_place(written.index)}")
    if publish:
        say(console, "The findings are on the studies as notes, which the dashboard shows.")
    console.print()
    console.print("Next:")
    stored = studies[0].campaign
    again = launched_again(stored) if "launch" in then else ()
    print_next_commands(then, storage, console, campaign=str(stored.get("name", "")), again=again)


def _studies(storage: BaseStorage, shown: str, name: str, objective: int | None, *, one: bool) -> list[Study]:
    """Return the one study of that name, or those of the campaign."""
    from analysis.load import campaigns, studies, study

    found = [study(storage, name, objective)] if one else studies(storage, name)
    if not found:
        names = campaigns(storage)
        there = f"there are: {', '.join(names)}" if names else "there is none"
        raise UserError(
            f"no campaign '{name}' in {shown}; {there}{suggestion(name, names)}; one study is named by --study"
        )
    return found


def _write(
    storage: BaseStorage,
    shown: str,
    studies: Sequence[Study],
    name: str,
    out: Path | None,
    options: Options,
    console: Console,
    *,
    one: bool,
) -> Report:
    """Write the report, and say how far it is."""
    from analysis import report

    title = studies[0].title if one else name
    # a study that chooses the optimizer itself has nothing beside it to be compared with
    together = not one and not any(study.optimizer == ANY for study in studies)
    place = out or _usual_place(title)
    with working(console, f"{number_of(len(studies), 'study', 'studies')} …") as status:
        left = len(studies)

        def tell(done: str) -> None:
            nonlocal left
            left -= 1
            status.update(
                f"{number_of(left, 'study', 'studies')} left …" if left else "Comparing, and writing the page …"
            )
            say(console, f"{report.printable(done)}: done")

        return report.write(
            storage,
            studies,
            place,
            title=f"{name}: which optimizer, how sensitive?" if together else f"{title}: how sensitive?",
            together=together,
            source=shown,
            options=options,
            tell=tell,
        )


def _usual_place(title: str) -> Path:
    """Return where the report on a campaign or study goes if nobody says where.

    Raises:
        UserError: It has the report on another, whose name differs in what a directory's name leaves out.
    """
    from analysis import report

    place = place_to_write("--out", Path("reports") / report.folder(title))
    if report.is_of(place / "index.html", title) is False:
        raise UserError(f"'{shown_place(place)}' has the report on another campaign; choose a directory with --out")
    return place


def _next(storage: BaseStorage, found: Sequence[Study], *, confirmed: bool | None) -> list[str]:
    """Return what one may do after the report: with studies that no campaign has there is nothing but to look.

    Trials that are missing come before what refuses without them.
    """
    if not found[0].own or found[0].optimizer == ANY:
        return ["dashboard"]
    driver, counted = tallies(storage, str(found[0].campaign["name"]))
    whole = any(tally.complete for tally in counted)
    commands = ["export"] if whole else ["status"]
    if found[0].attributes.get("protocol") == PROTOCOL:  # else nothing is added to it
        if any(tally.missing for tally in counted):
            commands.insert(0, "status" if driver.startswith("running") else "launch")
        elif whole and confirmed is False:
            commands.insert(0, "confirm")
    return [*dict.fromkeys(commands), "dashboard"]


def print_findings(written: Report, console: Console) -> None:
    """Print the summary of a report."""
    from analysis.report import printable
    from analysis.sensitivity.sentences import headline

    for sentence in (*written.verdict, *written.across):
        say(console, sentence)
    for chapter in written.chapters:
        console.print(Text(printable(chapter.study.title), style="bold"), soft_wrap=True)
        for sentence in headline(chapter.findings):
            say(console, f"  {printable(sentence)}")
    console.print()
