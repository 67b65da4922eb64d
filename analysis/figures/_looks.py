"""How each optimizer looks in every figure: a colour, a mark and a line."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from markupsafe import Markup
from matplotlib.markers import MarkerStyle

from analysis.study import Study
from search_spaces import ANY

# Okabe and Ito's colours (2008), which colour-blind readers tell apart, a brown and a violet.
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#56b4e9", "#cc79a7", "#e69f00", "#8b5e3c", "#783beb")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "d")
_LARGER = {"P": 1.25, "X": 1.25, "*": 1.6, "d": 1.15}  # which of one width look smaller than others
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)))
# A name keeps its place, whatever comes to the table. What stands beside each other most often differs in colour.
_FIRST = (
    "sofim", "sgd", "adam", "adamw", "adahessian", "lbfgs", "nystrom-sgd", "nadamw", "sophia", "shampoo", "muon",
    "soap", "schedule-free-adamw", "lion", "prodigy", "ademamix",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_FIRST)} | {"sofim-gradient": 20, "sofim-tensor": 21}
_PATHS = {1: "M", 2: "L", 3: "Q", 4: "C"}  # what an SVG calls the steps of a path


@dataclass(frozen=True, slots=True)
class Look:
    """The colour, mark and line of an optimizer, the last two as matplotlib takes them."""

    colour: str
    marker: str
    dashes: Any

    @property
    def parts(self) -> tuple[object, ...]:
        """By what it is told from others, the most important first."""
        pairs = ((self.colour, self.dashes), (self.colour, self.marker))
        return (self, *pairs, self.colour, self.marker, self.dashes)

    def mark(self, size: float) -> dict[str, Any]:
        """Return the arguments of a mark about as large as a dot of so many points."""
        return {"marker": self.marker, "markersize": size * _LARGER.get(self.marker, 1.0), "markeredgewidth": 0.0}

    @property
    def line(self) -> Mapping[str, Any]:
        """Arguments of a line through many values, which has a few marks on it."""
        begin = 0.03 * _MARKERS.index(self.marker)  # not one over the other where lines lie close
        few = self.mark(4.0) | {"markevery": (begin, 0.3)}
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": 1.5, **few}

    @property
    def chip(self) -> Markup:
        """The mark beside a name in a page, as SVG."""
        mark = MarkerStyle(self.marker)
        steps = mark.get_path().transformed(mark.get_transform()).iter_segments(curves=True)
        drawn = " ".join(f"{_PATHS[int(code)]}{' '.join(f'{at:.2f}' for at in to)}" for to, code in steps if code < 79)
        box = '<svg class="chip" viewBox="-.55 -.55 1.1 1.1" aria-hidden="true">'
        return Markup(f'{box}<path transform="scale(1 -1)" fill="{self.colour}" d="{drawn}"/></svg>')


def _at(place: int) -> Look:
    # lengths without a common factor: no two of the first 56 places have the same colour and line, or colour and mark
    return Look(PALETTE[place % len(PALETTE)], _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])


NEUTRAL = Look("#0072b2", "o", "-")
"""Of a study of another program, and of one that chose the optimizer too."""


def looks(optimizers: Iterable[str]) -> dict[str, Look]:
    """Return the look of each optimizer of a campaign, no two the same.

    One that is known has its own everywhere. Any other has one that hangs on its name and on who it stands beside,
    neither on their order nor on the campaign: of the looks that are least like theirs the one at which a hash of the
    name points.
    """
    return dict(_looks(frozenset(optimizers)))


@lru_cache
def _looks(names: frozenset[str]) -> Mapping[str, Look]:
    found = {name: _at(place) for name, place in _PLACES.items() if name in names}
    every = range(len(PALETTE) * len(_MARKERS) * len(_DASHES))
    free = [_at(place) for place in every if place not in _PLACES.values()]
    for name in sorted(names - found.keys()):
        start = zlib.crc32(name.encode()) % len(free)
        taken = Counter(part for look in found.values() for part in look.parts)
        found[name] = min((*free[start:], *free[:start]), key=partial(_likeness, taken))
    return found


def _likeness(taken: Mapping[object, int], look: Look) -> list[int]:
    return [taken[part] for part in look.parts]


def campaign_looks(studies: Sequence[Study]) -> dict[str, Look]:
    """Return the look of each optimizer of the campaign whose studies these are, be they all or one of them."""
    listed = {name for study in studies for name in (*study.campaign.get("optimizers", ()), study.optimizer)}
    return looks(listed - {ANY, ""})


def look_of(study: Study) -> Look:
    """Return the look of a study's optimizer, in whatever is shown of it."""
    return campaign_looks([study]).get(study.optimizer, NEUTRAL)
