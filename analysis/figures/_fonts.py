"""The font of PDF files: that of the figures without what only text in lines and scripts needs.

A PDF holds the letters that it uses. Cutting them out of a font with its tables of ligatures and marks takes five times
as long as without them, which for the hundreds of figures of a report is most of its time.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont, fontManager

_LAYOUT = ("GSUB", "GPOS", "GDEF", "MATH", "FFTM")
_FAMILY_NAMES = (1, 4, 16)  # of a font's table of names: family, full name, typographic family


@contextmanager
def lean() -> Iterator[None]:
    """Text that is drawn inside has the figures' font without its layout tables."""
    name, _ = _lean_copy(findfont(FontProperties(family=["sans-serif"])))
    with mpl.rc_context({"font.sans-serif": [name, *mpl.rcParams["font.sans-serif"]]}):
        yield


@functools.cache
def _lean_copy(path: str) -> tuple[str, tempfile.TemporaryDirectory[str]]:
    """Return the family of a copy of a font, and the directory that keeps it as long as the process lives."""
    folder = tempfile.TemporaryDirectory(prefix="sofim-font-")
    font = TTFont(path, recalcTimestamp=False)
    family = f"{font['name'].getDebugName(1)} Lean"
    for table in _LAYOUT:
        if table in font:
            del font[table]
    for record in font["name"].names:
        if record.nameID in _FAMILY_NAMES:
            record.string = family
    copy = Path(folder.name) / "font.ttf"
    font.save(copy)
    fontManager.addfont(copy)
    return family, folder
