"""Standard output and error as they are: of any encoding and width, closed, full, or a pipe that nobody reads."""

from __future__ import annotations

import codecs
import errno
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from typing import IO

    from rich.console import Console
    from rich.status import Status

_WITHOUT_TERMINAL = 160  # columns where nothing says how many there are
_LEAST = 40  # columns for text beside a table; with fewer it goes below the rows
_GAP = 2
_KEPT = ("strict", "surrogateescape", "backslashreplace")  # how Python treats what does not fit, unless somebody asks

_PLAIN = {
    "×": "x", "·": ".", "–": "-", "—": "-", "−": "-", "…": "...", "±": "+-", "→": "->", "≥": ">=", "≤": "<=",
    "∞": "inf", "√": "sqrt ", "α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "η": "eta", "ρ": "rho", "τ": "tau",
    "“": '"', "”": '"', "‘": "'", "’": "'", "\N{NO-BREAK SPACE}": " ", "━": "-", "╸": "-", "╺": "-", "─": "-", "│": "|",
}  # fmt: skip
_RAISED = dict(zip("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789", strict=True))


def plainly(text: str) -> str:
    r"""Text that an encoding cannot hold, in ASCII: signs are spelled, letters of names escaped as Python does it.

    >>> plainly("×"), plainly("⁻³"), plainly("学")
    ('x', '^-3', '\\u5b66')
    """
    found = []
    for before, character in zip(["", *text], text, strict=False):
        if character in _RAISED:
            found.append(f"{'' if before in _RAISED else '^'}{_RAISED[character]}")
        else:
            found.append(_PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode())
    return "".join(found)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plainly(error.object[error.start : error.end]), error.end


codecs.register_error("sofim.plainly", _replaced)


class _Outlet:
    """A standard stream for writing. What cannot be written is dropped, and the reason kept: work goes on without it.

    ``buffer`` is hidden, past which a library would write what the stream's encoding cannot hold.
    """

    def __init__(self, stream: TextIO, complain: Callable[[OSError], None]) -> None:
        self._stream, self._complain = stream, complain
        self.trouble: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        first, self.trouble = self.trouble is None, self.trouble or error
        if not first:
            return
        # what is left in the buffers is written when the process ends: nowhere
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())
        self._complain(error)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


@contextmanager
def standard_streams(complain: Callable[[str], None]) -> Iterator[Callable[[], int]]:
    """Return standard output and error that never raise: neither for a character, nor because they cannot be written.

    Args:
        complain: Called once with a line when standard output cannot be written, but for a pipe that nobody reads.

    Yields:
        A function that writes what is left and returns the exit code that standard output deserves: 0, 1 for a pipe
        that nobody reads any more, 2 where it cannot be written.
    """
    _open_what_is_closed()
    before = sys.stdout, sys.stderr

    def lost(error: OSError) -> None:
        if error.errno != errno.EPIPE:
            complain(f"standard output cannot be written: {error.strerror or error}")

    handlers = [getattr(stream, "errors", None) for stream in before]
    for stream, handler in zip(before, handlers, strict=True):
        _set_errors(stream, "sofim.plainly", handler)
    out, err = _Outlet(sys.stdout, lost), _Outlet(sys.stderr, lambda _: None)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)

    def end() -> int:
        out.flush()
        err.flush()
        return 0 if out.trouble is None else 1 if out.trouble.errno == errno.EPIPE else 2

    try:
        yield end
    finally:
        sys.stdout, sys.stderr = before
        for stream, handler in zip(before, handlers, strict=True):
            _set_errors(stream, handler, handler)


def _open_what_is_closed() -> None:
    """Nowhere in the place of standard streams that are closed, before a database gets their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _set_errors(stream: Any, errors: str | None, before: str | None) -> None:
    if before in _KEPT and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=errors)


def speaks_unicode(stream: IO[str]) -> bool:
    """Whether a stream can hold any text."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")


def make_console(file: TextIO | None = None) -> Console:
    """Return a console on standard output, or on ``file``, as all commands print to it."""
    from rich.console import Console

    width = None if (file or sys.stdout).isatty() else _WITHOUT_TERMINAL
    # what people name is printed as it is: mine:fire is a function, [bold] no style
    return Console(file=file, highlight=False, markup=False, emoji=False, width=width)


def working(console: Console, words: str) -> Status:
    """Say on a terminal, until there is something else to say, what takes seconds."""
    from rich.text import Text

    return console.status(Text(words), spinner="dots" if speaks_unicode(console.file) else "line")


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence: broken between words on a terminal, on one line elsewhere.

    What one copies, a command or a line of code, is to be printed by `verbatim` instead.
    """
    from rich.text import Text

    console.print(Text(sentence, style), soft_wrap=not console.is_terminal, overflow="ignore", crop=False)


def verbatim(console: Console, line: str) -> None:
    """Print a line that one copies: never broken but by the terminal, which knows that it is one."""
    from rich.text import Text

    console.print(Text(line), soft_wrap=True)


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    under: int | None = None,
) -> None:
    """Print a table in which nothing is cut and no number broken, whatever the width.

    Where a row is too wide, the long column moves to lines of its own; where that does not do, each cell has a line.

    Args:
        console: Where to print.
        headings: Of the columns; may have several lines.
        rows: Their cells, of one line each.
        right: Numbers of the columns whose cells stand on the right.
        under: Number of the column that may be broken between words, or go below.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    columns = list(zip(headings, *rows, strict=True))
    widths = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    whole = sum(widths) + _GAP * len(widths)
    words = [cell_len(word) for cell in (columns[under] if under is not None else ()) for word in cell.split()]
    spare = 0 if under is None else max(0, widths[under] - max(_LEAST, *words))
    if whole - spare <= console.width:
        table = Table(box=None, padding=(0, 1), header_style="bold", show_header=any(headings))
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number in right else "left", no_wrap=number != under)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    short = [number for number in range(len(headings)) if number != under]
    fits = whole - (0 if under is None else widths[under] + _GAP) <= console.width
    if fits and any(headings):
        lines = [headings[number].split("\n") for number in short]
        for place in range(most := max(map(len, lines))):
            heads = [([""] * (most - len(parts)) + parts)[place] for parts in lines]
            verbatim(console, _aligned(heads, short, widths, right))
    for row in rows:
        if fits:
            verbatim(console, _aligned([row[number] for number in short], short, widths, right))
            below = [] if under is None else [row[under]]
        else:
            # the name of the row is the first cell that stands on the left, with what is before it
            name = next((number for number in short if number not in right), short[0])
            verbatim(console, " " + " ".join(cell for cell in row[: name + 1] if cell))
            titles = [heading.replace("\n", " ") for heading in headings]
            below = [f"{titles[number]} {row[number]}".strip() for number in short if number > name]
            below += [] if under is None else [row[under]]
        for text in below:
            for line in textwrap.wrap(
                text, max(console.width - 4, 1), break_long_words=False, break_on_hyphens=False, subsequent_indent="  "
            ):
                verbatim(console, f"    {line}")


def _aligned(cells: Sequence[str], numbers: Sequence[int], widths: Sequence[int], right: Collection[int]) -> str:
    from rich.cells import cell_len

    padded = []
    for cell, number in zip(cells, numbers, strict=True):
        space = " " * (widths[number] - cell_len(cell))
        padded.append(space + cell if number in right else cell + space)
    return f" {'  '.join(padded)}".rstrip()
