"""The live view of a campaign: one bar per study on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from studies.trials import Tally

LINE_SECONDS = 15.0  # between two plain lines of a study that moves


def format_value(value: float | None) -> str:
    """A metric with four significant digits; a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"


def format_duration(seconds: float | None) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``2 h 10 min``; a dash for ``None``."""
    if seconds is None:
        return "–"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def status_table(tallies: Sequence[Tally], seconds_left: float | None, *, bars: bool = True) -> Table:
    """One row per study: bar, counts, best value; the caption has the time left."""
    table = Table(box=None, padding=(0, 1), caption_justify="left", header_style="bold")
    table.add_column("study", no_wrap=True)
    if bars:
        table.add_column("", min_width=10, max_width=24)
    for name in ("done", "running", "complete", "pruned", "diverged", "failed"):
        table.add_column(name, justify="right")
    table.add_column("best", justify="right", no_wrap=True)
    for tally in tallies:
        row: list[RenderableType] = [Text(f"{tally.workload} · {tally.optimizer}")]
        if bars:
            row.append(ProgressBar(total=tally.asked_for, completed=tally.done, width=20))
        row += [
            f"{tally.done}/{tally.asked_for}",
            *(_count(n) for n in (tally.running, tally.complete, tally.pruned, tally.diverged)),
            Text(_count(tally.failed), style="bold red" if tally.failed else ""),
            Text(f"{tally.metric} {format_value(tally.best)}"),
        ]
        table.add_row(*row)
    if seconds_left is not None:
        table.caption = f"about {format_duration(seconds_left)} left"
    return table


def _count(number: int) -> str:
    return str(number) if number else "·"


class Progress:
    """Shows tallies while a campaign runs. A context manager; it draws from a thread of its own.

    Args:
        tallies: gives the present state; called about four times a second.
        console: where to draw; on a terminal a live table, otherwise plain lines.
    """

    def __init__(self, tallies: Callable[[], Sequence[Tally]], console: Console) -> None:
        self._tallies = tallies
        self._console = console
        self._started = time.monotonic()
        self._done_at_start = sum(tally.done for tally in tallies())
        self._stop = threading.Event()
        self._shown: dict[str, tuple[int, float]] = {}  # study -> (done, when), of the last plain line
        self._told: set[str] = set()
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
            self._lines(last=True)

    def seconds_left(self, tallies: Sequence[Tally]) -> float | None:
        """An estimate from the pace since this driver began; ``None`` before the first trial has ended."""
        done = sum(tally.done for tally in tallies)
        left = sum(tally.asked_for - tally.done for tally in tallies if tally.stopped is None)
        ended = done - self._done_at_start
        if not ended:
            return None
        return (time.monotonic() - self._started) / ended * left

    def _render(self) -> RenderableType:
        tallies = self._tallies()
        stopped = [Text(f"{t.study} stopped: {t.stopped}", style="red") for t in tallies if t.stopped]
        return Group(status_table(tallies, self.seconds_left(tallies)), *stopped)

    def _print_lines(self) -> None:
        while not self._stop.wait(0.5):
            self._lines()

    def _lines(self, *, last: bool = False) -> None:
        tallies = self._tallies()
        now = time.monotonic()
        for tally in tallies:
            done, when = self._shown.get(tally.study, (0, self._started))
            moved = tally.done != done
            finished = tally.done >= tally.asked_for
            if moved and (last or finished or now - when >= LINE_SECONDS):
                self._shown[tally.study] = (tally.done, now)
                left = format_duration(self.seconds_left(tallies))
                self._plain(
                    f"{tally.study}: {tally.done}/{tally.asked_for} trials ({tally.complete} complete, "
                    f"{tally.pruned} pruned, {tally.diverged} diverged, {tally.failed} failed), "
                    f"{tally.running} running, best {tally.metric} {format_value(tally.best)}, {left} left"
                )
            if tally.stopped and tally.study not in self._told:
                self._told.add(tally.study)
                self._plain(f"{tally.study} stopped: {tally.stopped}")

    def _plain(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
