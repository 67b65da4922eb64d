"""How all figures look: sizes, and the way from a matplotlib figure to files and into a page."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures._fit import fit
from analysis.figures._fonts import lean

INK = "#1b1f23"
GRID = "#d9dcdf"
FAINT = 0.35  # opacity of what no conclusion rests on
MAP = "viridis"  # light is better, in every map of a metric
WIDTH = 4.0  # inches: still readable on a telephone, where a page shows one figure a line
RASTER_FROM = 400  # points: more of them are one image in an SVG, not a path each
_DPI = 300
_COMPRESSION = 3  # of PNG files: more takes half as long again and saves a tenth
_LONGEST = 24

_RC: dict[str, Any] = {
    "text.parse_math": False,  # names come from outside: $ is no mathematics
    "svg.fonttype": "none",  # text stays text: searched, read aloud, in the reader's colours
    "pdf.fonttype": 42,  # TrueType: journals take no Type 3, and text can be edited
    "svg.hashsalt": "sofim-studies",  # the same report again is the same file
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@contextmanager
def style() -> Iterator[None]:
    """Everything drawn inside looks the house's way, and nothing outside changes."""
    with (
        mpl.rc_context(),
        sns.axes_style("whitegrid"),
        sns.plotting_context("paper"),
        mpl.style.context(_RC),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)  # the reader's font has it
        yield


def canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure of one panel, sizes in inches; known to no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def label(name: object, longest: int = _LONGEST) -> str:
    """Return a name from outside as a label: short, and free of characters that an SVG may not hold.

    Args:
        name: Of anything.
        longest: Letters that there is room for; Chinese ones and the like count twice.
    """
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(name))
    widths = np.array([2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text], int)
    if widths.sum() <= longest:
        return text
    # the middle goes: names that begin alike, as those of files in one directory do, differ at their ends
    begin = int((widths.cumsum() <= longest // 2).sum())
    end = int((widths[::-1].cumsum() < longest - widths[:begin].sum()).sum())
    return f"{text[:begin]}…{text[len(text) - end :]}"


@dataclass(frozen=True, slots=True)
class Files:
    """A figure as the contents of its files."""

    svg: str
    png: bytes
    pdf: bytes


def files(figure: Figure, *, page_only: bool = False) -> Files:
    """Return the figure as an SVG, a PNG on white (300 dots an inch), and a PDF; none of them has a date.

    Args:
        figure: The figure.
        page_only: The SVG alone, which a page has inside it; the others take twice its time.
    """
    vector = svg(figure)
    if page_only:
        return Files(vector, b"", b"")
    figure.set_layout_engine("none")  # every part has its place, which is the same in all three
    pixels = {"dpi": _DPI, "facecolor": "white", "pil_kwargs": {"compress_level": _COMPRESSION}}
    image = _saved(figure, "png", metadata={"Software": None}, **pixels)
    with lean():
        printed = _saved(figure, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return Files(vector, image, printed)


def svg(figure: Figure) -> str:
    """Return the figure as an SVG file."""
    fit(figure)
    return _saved(figure, "svg", metadata={"Date": None}).decode()


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def inline(drawing: str, prefix: str, description: str) -> str:
    """Return an SVG file as an element of a page: its own ids, the page's colours, a description for those who hear it.

    Args:
        drawing: As `svg` gives it.
        prefix: Unique in the page; letters, digits and dashes.
        description: Already escaped for an attribute.
    """
    element = drawing[drawing.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", element)
    element = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _opening(description), element, count=1)
    return element.replace(INK, "var(--ink)").replace(GRID, "var(--grid)")


def _opening(description: str) -> str:
    quoted = description.replace("\\", "\\\\")
    return (
        r'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" '
        rf'role="img" aria-label="{quoted}">'
    )
