"""The live view of a campaign: one bar per study on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from studies.trials import Tally

COUNTS = ("running", "complete", "pruned", "diverged", "failed")
LOOK_SECONDS = 0.5  # between two looks at the tallies where lines are printed
LINE_SECONDS = 15.0  # between two plain lines of a study that moves


def format_value(value: float | None) -> str:
    """A metric with four significant digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def format_duration(seconds: float | None) -> str:
    """Seconds as ``under 1 s``, ``42 s``, ``3 min 05 s`` or ``2 h 10 min``; a dash for ``None``."""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.5:
        return "under 1 s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def status_view(tallies: Sequence[Tally], seconds_left: float | None) -> Group:
    """A table a workload, of equal columns, with a row a study: bar, counts, best value; then the time left.

    It can be read on a terminal of 80 columns: the workload, whose name may be long, stands above its rows.
    """
    by_workload: dict[str, list[Tally]] = {}
    for tally in tallies:
        by_workload.setdefault(tally.workload, []).append(tally)
    names = max((len(tally.label) for tally in tallies), default=0)
    done = max((len("done"), *(len(_done(tally)) for tally in tallies)))
    parts: list[RenderableType] = []
    for workload, rows in by_workload.items():
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_header=not parts)
        table.add_column(min_width=names + 2, no_wrap=True)
        table.add_column(max_width=24)
        table.add_column("done", justify="right", min_width=done, no_wrap=True)
        for name in COUNTS:
            table.add_column(name, justify="right", min_width=len(name), no_wrap=True)
        table.add_column(_summary(rows[0]), justify="right", min_width=9, no_wrap=True)
        for tally in rows:
            counts = [Text(_count(getattr(tally, name)), style=_style(name, tally)) for name in COUNTS]
            bar = "" if tally.asked_for is None else ProgressBar(total=tally.asked_for, completed=tally.done)
            table.add_row(Text(f"  {tally.label}"), bar, _done(tally), *counts, format_value(tally.best))
        parts += [Text.assemble((workload, "bold"), f", {_summary(rows[0])} {rows[0].metric}"), table]
    if seconds_left is not None:
        parts.append(Text(f"about {format_duration(seconds_left)} left", style="italic"))
    return Group(*parts)


def _summary(tally: Tally) -> str:
    """What of the trials' values is shown."""
    return "best" if tally.runs == "trials" else "mean"


def _done(tally: Tally) -> str:
    return str(tally.done) if tally.asked_for is None else f"{tally.done}/{tally.asked_for}"


def _style(count: str, tally: Tally) -> str:
    return "bold red" if count == "failed" and tally.failed else ""


def stopped_lines(tallies: Sequence[Tally]) -> list[Text]:
    """A line for each study that was stopped before its last trial, with the reason."""
    return [Text(f"{tally.study} stopped: {tally.stopped}", style="red") for tally in tallies if tally.stopped]


def _count(number: int) -> str:
    return str(number) if number else "·"


class Progress:
    """Shows tallies while a campaign runs. A context manager; it draws from a thread of its own.

    Args:
        tallies: gives the present state; called about four times a second.
        console: where to draw; on a terminal a live table with a bar a study, otherwise plain lines: one a study when
            it is done, and one for the whole every quarter of a minute.
        time_left: gives the seconds that are left where a clock says so; otherwise they are told from the pace.
        trouble: gives what keeps results from the database, ``None`` while nothing does.
        waiting: gives what has to come before the first trial, ``None`` once it has.
    """

    def __init__(
        self,
        tallies: Callable[[], Sequence[Tally]],
        console: Console,
        time_left: Callable[[], float | None] = lambda: None,
        trouble: Callable[[], str | None] = lambda: None,
        waiting: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._tallies = tallies
        self._console = console
        self._clock = time_left
        self._trouble = trouble
        self._waiting = waiting
        self._troubled = False  # whether the last line said so
        self._pace = _Pace(sum(tally.done for tally in tallies()))
        self._stop = threading.Event()
        self._finished: set[str] = {tally.study for tally in tallies() if _is_over(tally)}
        self._last_line = time.monotonic()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4)
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._print_lines, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()
            self._lines()

    def _render(self) -> RenderableType:
        tallies = self._tallies()
        trouble, waiting = self._trouble(), self._waiting()
        view = status_view(tallies, self._seconds_left(tallies))
        notes = [Text(waiting, style="italic")] if waiting else []
        return Group(view, *notes, *stopped_lines(tallies), *([Text(trouble, style="red")] if trouble else []))

    def _seconds_left(self, tallies: Sequence[Tally]) -> float | None:
        left = self._clock()
        return self._pace.seconds_left(tallies) if left is None else left

    def _print_lines(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._lines()

    def _lines(self) -> None:
        tallies = self._tallies()
        left = self._seconds_left(tallies)
        for tally in tallies:
            if _is_over(tally) and tally.study not in self._finished:
                self._finished.add(tally.study)
                self._plain(
                    f"{tally.study}: {_done(tally)} {tally.runs} ({tally.complete} complete, "
                    f"{tally.pruned} pruned, {tally.diverged} diverged, {tally.failed} failed), "
                    f"{_summary(tally)} {tally.metric} {format_value(tally.best)}"
                    + (f"; stopped: {tally.stopped}" if tally.stopped else "")
                )
        trouble = self._trouble()
        if bool(trouble) != self._troubled:
            self._troubled = bool(trouble)
            self._plain(trouble or "The storage answers again, and has all results.")
        if time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            if waiting := self._waiting():
                self._plain(waiting)
                return
            done, running, failed = (
                sum(getattr(tally, name) for tally in tallies) for name in ("done", "running", "failed")
            )
            counted = [tally.asked_for for tally in tallies if tally.asked_for is not None]
            asked_for = f"/{sum(counted)}" if len(counted) == len(tallies) else ""
            time_left = "" if left is None else f", about {format_duration(left)} left"
            self._plain(f"{done}{asked_for} {tallies[0].runs}, {running} running, {failed} failed{time_left}")

    def _plain(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def _is_over(tally: Tally) -> bool:
    return tally.stopped is not None or (tally.asked_for is not None and tally.done >= tally.asked_for)


class _Pace:
    """Time left at the pace since the first trial of this driver ended, so that the start of workers does not count."""

    def __init__(self, done: int) -> None:
        self._done = done
        self._since: float | None = None

    def seconds_left(self, tallies: Sequence[Tally]) -> float | None:
        """Seconds, or ``None`` while too few trials have ended to say, and when none is left."""
        done = sum(tally.done for tally in tallies)
        if self._since is None:
            if done > self._done:
                self._done, self._since = done, time.monotonic()
            return None
        ended = done - self._done
        if ended < 3:
            return None
        left = sum(tally.missing for tally in tallies)
        return (time.monotonic() - self._since) / ended * left or None
