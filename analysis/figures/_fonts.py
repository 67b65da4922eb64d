"""The font of PDF files: that of the figures without what only text in lines and scripts needs.

A PDF holds the letters that it uses. Cutting them out of a font with its tables of ligatures and marks takes five times
as long as without them, which for the hundreds of figures of a report is most of its time.
"""

from __future__ import annotations

import functools
import os
import zlib
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
    name = _lean_family(findfont(FontProperties(family=["sans-serif"])))
    with mpl.rc_context({"font.sans-serif": [name, *mpl.rcParams["font.sans-serif"]]}):
        yield


@functools.cache
def _lean_family(path: str) -> str:
    """Return the family of a copy of a font, which stays in matplotlib's cache for the next report."""
    key = zlib.crc32(f"{path} {Path(path).stat().st_size}".encode())
    family, copy = f"Lean {key:08x}", Path(mpl.get_cachedir()) / f"lean-{key:08x}.ttf"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}.partial")
        with TTFont(path, recalcTimestamp=False) as font:
            for table in _LAYOUT:
                if table in font:
                    del font[table]
            for record in font["name"].names:
                if record.nameID in _FAMILY_NAMES:
                    record.string = family
            font.save(partial)
        partial.replace(copy)
    fontManager.addfont(copy)
    return family
