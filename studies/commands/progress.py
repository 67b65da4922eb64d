"""The live view of a campaign: one bar per study on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.text import about, format_value
from search_spaces.errors import number_of
from studies.trials import Tally

COUNTS = ("running", "complete", "pruned", "diverged", "failed")
LOOK_SECONDS = 0.5  # between two looks at the tallies where lines are printed
LINE_SECONDS = 15.0  # between two plain lines of a study that moves
_SHORTEST_BAR = 4
_STOPPED_SHOWN = 3  # studies that stopped, while others run
_FEWEST_LINES = 5  # on a terminal of hardly any
_WIDE = 10_000  # columns: what a table wants where there is room


def status_view(tallies: Sequence[Tally], seconds_left: float | None, *, lines: int | None = None) -> ConsoleRenderable:
    """Return a table a workload, of equal columns, with a row a study: bar, counts, best value; then the time left.

    It can be read on a terminal of 80 columns: the workload, whose name may be long, stands above its rows. On a
    narrower one the bar is left out, then counts that are 0 everywhere, and then each study has lines of its own.

    Args:
        tallies: Of the studies.
        seconds_left: Where that is known.
        lines: How many there is room for; where more are needed, the studies whose trials run are shown, and of the
            others as many as fit.
    """
    return _StatusView(tallies, seconds_left, lines)


@dataclass(frozen=True, slots=True)
class _StatusView:
    """What :func:`status_view` shows, made when the terminal's width is known."""

    tallies: Sequence[Tally]
    seconds_left: float | None
    lines: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts = self._parts(self.tallies, console, options)
        if self.lines is None or _height(parts, console, options) <= self.lines:
            yield from parts
            return
        first = sorted(range(len(self.tallies)), key=lambda place: (_urgency(self.tallies[place]), place))
        for most in range(min(len(first), self.lines), 0, -1):
            parts = self._parts([self.tallies[place] for place in sorted(first[:most])], console, options)
            if _height(parts, console, options) <= self.lines:
                break
        yield from parts

    def _parts(self, shown: Sequence[Tally], console: Console, options: ConsoleOptions) -> list[RenderableType]:
        parts = _tables(shown, self.tallies, console, options)
        if len(shown) < len(self.tallies):
            parts.append(Text(_the_others(shown, self.tallies)))
        if self.seconds_left is not None:
            parts.append(Text(f"{about(self.seconds_left)} left", style="italic"))
        return parts


def _height(parts: Sequence[RenderableType], console: Console, options: ConsoleOptions) -> int:
    return sum(len(console.render_lines(part, options, pad=False)) for part in parts)


def _urgency(tally: Tally) -> int:
    """Return what a person wants to see first: what runs, what has begun, what is to come, and what is over."""
    return 3 if is_over(tally) and not tally.running else 0 if tally.running else 1 if tally.done else 2


def _the_others(shown: Sequence[Tally], every: Sequence[Tally]) -> str:
    there = {tally.study for tally in shown}
    others = [tally for tally in every if tally.study not in there]
    over = sum(is_over(tally) for tally in others)
    return f"and {number_of(len(others), 'more study', 'more studies')}, {over} of them over; in all {_totals(every)}"


def _totals(tallies: Sequence[Tally]) -> str:
    """How many trials of how many, of all studies together."""
    done = sum(tally.done for tally in tallies)
    counted = [tally.asked_for for tally in tallies if tally.asked_for is not None]
    kind = tallies[0].runs.removesuffix("s")
    return f"{done}/{number_of(sum(counted), kind)}" if len(counted) == len(tallies) else number_of(done, kind)


def _tables(
    shown: Sequence[Tally], every: Sequence[Tally], console: Console, options: ConsoleOptions
) -> list[RenderableType]:
    """Return the tables of the studies that are shown, of columns that all of them have room in."""
    all_counts = COUNTS, tuple(name for name in COUNTS if any(getattr(tally, name) for tally in every))
    for counts, with_bar in ((all_counts[0], True), (all_counts[0], False), (all_counts[1], False)):
        parts = _as_tables(shown, every, counts, with_bar)
        wanted = [Measurement.get(console, options.update(width=_WIDE), part) for part in parts]
        if max(size.minimum for size in wanted) <= options.max_width:
            return parts
    return _as_lines(shown)


def _by_workload(tallies: Sequence[Tally]) -> dict[str, list[Tally]]:
    found: dict[str, list[Tally]] = {}
    for tally in tallies:
        found.setdefault(tally.workload, []).append(tally)
    return found


def _title(workload: str, first: Tally) -> Text:
    return Text.assemble((workload, "bold"), f", {_summary(first)} {first.metric}" if _summary(first) else "")


def _as_tables(
    shown: Sequence[Tally], every: Sequence[Tally], counts: Sequence[str], with_bar: bool
) -> list[RenderableType]:
    def widest(column: Callable[[Tally], str], least: int) -> int:
        return max((least, *(cell_len(column(tally)) for tally in every)))

    names = widest(lambda tally: tally.label, 0)
    parts: list[RenderableType] = []
    for workload, rows in _by_workload(shown).items():
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_header=not parts)
        table.add_column(min_width=names + 2, no_wrap=True)
        if with_bar:
            table.add_column(min_width=_SHORTEST_BAR, max_width=24)
        table.add_column("done", justify="right", min_width=widest(_done, len("done")), no_wrap=True)
        for name in counts:
            table.add_column(name, justify="right", min_width=len(name), no_wrap=True)
        if summary := _summary(rows[0]):
            best = widest(lambda tally: format_value(tally.best), 9)
            table.add_column(summary, justify="right", min_width=best, no_wrap=True)
        for tally in rows:
            cells = [Text(_count(getattr(tally, name)), style=_style(name, tally)) for name in counts]
            bar = [] if not with_bar else [""] if tally.asked_for is None else [_bar(tally.asked_for, tally.done)]
            value = [format_value(tally.best)] if summary else []
            table.add_row(Text(f"  {tally.label}"), *bar, _done(tally), *cells, *value)
        parts += [_title(workload, rows[0]), table]
    return parts


def _bar(asked_for: int, done: int) -> ProgressBar:
    return ProgressBar(total=asked_for, completed=done)


def _as_lines(shown: Sequence[Tally]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for workload, rows in _by_workload(shown).items():
        parts.append(_title(workload, rows[0]))
        for tally in rows:
            counts = [f"{getattr(tally, name)} {name}" for name in COUNTS if getattr(tally, name)]
            value = f", {_summary(tally)} {format_value(tally.best)}" if _summary(tally) else ""
            parts.append(Text(f"  {tally.label} {_done(tally)}{value}"))
            if counts:
                parts.append(Padding(Text(", ".join(counts)), (0, 0, 0, 4)))
    return parts


def _summary(tally: Tally) -> str:
    """Return what of the runs' values is shown: of evaluation runs, which are of several configurations, nothing."""
    return {"trials": "best", "confirmation runs": "mean"}.get(tally.runs, "")


def _done(tally: Tally) -> str:
    return str(tally.done) if tally.asked_for is None else f"{tally.done}/{tally.asked_for}"


def _style(count: str, tally: Tally) -> str:
    return "bold red" if count == "failed" and tally.failed else ""


def stopped_lines(tallies: Sequence[Tally]) -> list[str]:
    """Return a line for each study that was stopped before its last trial, with the reason; for many of one, one."""
    reasons: dict[str, list[str]] = {}
    for tally in tallies:
        if tally.stopped:
            reasons.setdefault(tally.stopped, []).append(tally.study)
    lines = []
    for reason, names in reasons.items():
        which = names if len(names) <= _STOPPED_SHOWN else [number_of(len(names), "study", "studies")]
        lines += [f"{name} stopped: {reason}" for name in which]
    return lines


def _count(number: int) -> str:
    return str(number) if number else "·"


class Progress:
    """Shows tallies while a campaign runs. A context manager; it draws from a thread of its own.

    Args:
        tallies: Gives the present state; called about four times a second.
        console: Where to draw; on a terminal a live table with a bar a study, otherwise plain lines: one a study when
            it is done, and one for the whole every quarter of a minute.
        time_left: Gives the seconds that are left where a clock says so; otherwise they are told from the pace.
        trouble: Gives what keeps results from the database, ``None`` while nothing does.
        waiting: Gives what has to come before the first trial, ``None`` once it has.
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
        self._finished: set[str] = {tally.study for tally in tallies() if is_over(tally)}
        self._said: set[tuple[str, str, str]] = set()  # of what fails
        self._last_line = time.monotonic()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
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
        from studies.training.failures import failing_lines

        tallies = self._tallies()
        trouble, waiting = self._trouble(), self._waiting()
        lines = [*failing_lines(tallies), *stopped_lines(tallies)]
        below: list[RenderableType] = [Text(line, style="red") for line in lines]
        notes = [Text(waiting, style="italic")] if waiting else []
        left = self._seconds_left(tallies)
        if self._stop.is_set():  # what stays on the screen is all of it
            return Group(status_view(tallies, left), *below, *_in_red(trouble))
        if len(below) > _STOPPED_SHOWN:
            more = Text(f"and {len(below) - _STOPPED_SHOWN} more stopped or failing", style="red")
            below = [*below[:_STOPPED_SHOWN], more]
        below = [*notes, *below, *_in_red(trouble)]
        room = self._console.height - 1 - _height(below, self._console, self._console.options)
        return Group(status_view(tallies, left, lines=max(room, _FEWEST_LINES)), *below)

    def _seconds_left(self, tallies: Sequence[Tally]) -> float | None:
        left = self._clock()
        if left is not None and (self._stop.is_set() or all(is_over(tally) for tally in tallies)):
            return None  # it is over, whatever the clock says
        paced = self._pace.seconds_left(tallies)
        return min((known for known in (left, paced) if known is not None), default=None)

    def _print_lines(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._lines()

    def _lines(self) -> None:
        from studies.training.failures import failing

        tallies = self._tallies()
        left = self._seconds_left(tallies)
        for key, line in failing(tallies):
            if key not in self._said:
                self._said.add(key)
                self._plain(line)
        for tally in tallies:
            if is_over(tally) and tally.study not in self._finished:
                self._finished.add(tally.study)
                value = f", {_summary(tally)} {tally.metric} {format_value(tally.best)}" if _summary(tally) else ""
                self._plain(
                    f"{tally.study}: {_totals([tally])} ({tally.complete} complete, "
                    f"{tally.pruned} pruned, {tally.diverged} diverged, {tally.failed} failed)"
                    + value
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
            running, failed = (sum(getattr(tally, name) for tally in tallies) for name in ("running", "failed"))
            time_left = "" if left is None else f", {about(left)} left"
            self._plain(f"{_totals(tallies)}, {running} running, {failed} failed{time_left}")

    def _plain(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def is_over(tally: Tally) -> bool:
    """Whether a study asks for no more trials, because it has all of them or was stopped."""
    return tally.stopped is not None or (tally.asked_for is not None and tally.done >= tally.asked_for)


def _in_red(line: str | None) -> list[RenderableType]:
    return [Text(line, style="red")] if line else []


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
