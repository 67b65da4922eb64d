"""Room for what is written in a figure: no two labels of an axis over each other, nothing cut at the border."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator

from matplotlib.axis import Axis, Tick
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator
from matplotlib.transforms import Bbox

_ROUNDS = 20  # each mends something; most figures need none
_APART = 3.0  # points between two labels
_GROWTH = 1.12
_LINE = 1.2  # height of a line after the first, times that of a letter
_NUMBER = re.compile(r"[−-]?[0-9.,]+(e[+-]?[0-9]+)?[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]* ?%?")


def fit(figure: Figure) -> None:
    """Give labels room, whatever they say and however many there are.

    Numbers on an axis become fewer. Names of categories are broken at their hyphens, or stand upright where that does
    not do. A label of an axis that is longer than the figure gets a second line. Where nothing else helps, the figure
    grows.
    """
    for _ in range(_ROUNDS):
        if not _lay_out(figure):
            figure.set_size_inches(*(_GROWTH * figure.get_size_inches()))
            continue
        mended = [_separate(figure, axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        if not any(mended) and not _inside(figure):
            return


def _lay_out(figure: Figure) -> bool:
    """Give each part of a figure its place; whether there was one for the axes beside all that is written."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    return not any("collapsed" in str(warning.message) for warning in caught)


def drawn_ticks(axis: Axis) -> list[Tick]:
    """Return the ticks of an axis that are drawn and have a label."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick for tick in ticks if _is_shown(tick.label1) and low - slack <= tick.get_loc() <= high + slack]


def overlaps(figure: Figure, axis: Axis, apart: float = 0.0) -> bool:
    """Return whether two labels of the ticks of an axis are less than ``apart`` points from each other."""
    pad = apart / 2 * figure.dpi / 72
    boxes = [tick.label1.get_window_extent().padded(pad) for tick in drawn_ticks(axis)]
    return any(one.overlaps(two) for place, one in enumerate(boxes) for two in boxes[place + 1 :])


def cut(figure: Figure) -> list[Text]:
    """Return what is written and reaches over the figure's border."""
    border = figure.bbox.padded(1.0)
    return [text for text in _texts(figure) if not _contains(border, text.get_window_extent())]


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return bool(outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1)


def _texts(figure: Figure) -> Iterator[Text]:
    for axes in figure.axes:
        legend = axes.get_legend()
        found = [axes.title, *axes.texts, *(legend.get_texts() if legend is not None else [])]
        for axis in (axes.xaxis, axes.yaxis):
            found += [axis.label, axis.get_offset_text(), *(tick.label1 for tick in drawn_ticks(axis))]
        yield from (text for text in found if _is_shown(text))
    for own in figure.legends:
        yield from (text for text in own.get_texts() if _is_shown(text))


def _is_shown(text: Text) -> bool:
    return bool(text.get_visible() and text.get_text().strip())


def _separate(figure: Figure, axis: Axis) -> bool:
    """Mend an axis whose labels touch; whether there was something to mend."""
    if not overlaps(figure, axis, _APART):
        return False
    locator = axis.get_major_locator()
    ticks = drawn_ticks(axis)
    labels = [tick.label1.get_text() for tick in ticks]
    if not isinstance(locator, FixedLocator):
        _fewer(axis, len(ticks))
    elif all(_NUMBER.fullmatch(label) for label in labels):
        axis.set_ticks([tick.get_loc() for tick in ticks][::2], labels=labels[::2])
    elif axis is axis.axes.yaxis:
        figure.set_figheight(figure.get_figheight() * _GROWTH)
    elif any(tick.label1.get_rotation() for tick in ticks):
        axis.set_ticks([tick.get_loc() for tick in ticks][::2], labels=labels[::2])
    else:
        _break_or_turn(figure, axis, ticks, labels)
    return True


def _fewer(axis: Axis, count: int) -> None:
    locator = axis.get_major_locator()
    if isinstance(locator, LogLocator):
        axis.set_major_locator(LogLocator(numticks=max(2, count - 1)))
    else:
        axis.set_major_locator(MaxNLocator(max(1, count - 2)))


def _break_or_turn(figure: Figure, axis: Axis, ticks: list[Tick], labels: list[str]) -> None:
    """Names in lines between their neighbours if their longest parts fit there, else upright; the figure grows."""
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    letter = max(box.width / max(map(len, label.split("\n"))) for box, label in zip(boxes, labels, strict=True))
    slot = axis.axes.get_window_extent().width / len(ticks) / letter - 1
    broken = [_broken(label, math.floor(slot)) for label in labels]
    height = max(box.height for box in boxes)
    if all(len(line) <= slot for label in broken for line in label.split("\n")):
        axis.set_ticks([tick.get_loc() for tick in ticks], labels=broken)
        more = height * _LINE * max(label.count("\n") for label in broken)
    else:
        axis.set_tick_params(labelrotation=90)
        more = max(box.width for box in boxes) - height
    figure.set_figheight(figure.get_figheight() + more / figure.dpi)


def _broken(label: str, width: int) -> str:
    """Return a name in lines of at most ``width`` letters, as far as it can be broken after a hyphen or the like.

    >>> _broken("resnet50-imagenet-pretrained", 12).split()
    ['resnet50-', 'imagenet-', 'pretrained']
    """
    lines = [""]
    for part in re.findall(r"[^-_ /.:]*[-_ /.:]?", label):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _inside(figure: Figure) -> bool:
    """Mend what the border cuts; whether there was something to mend."""
    beyond = cut(figure)
    if not beyond:
        return False
    labels = [axis.label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    long = [text for text in beyond if text in labels and " " in text.get_text() and "\n" not in text.get_text()]
    for text in long:
        text.set_text(_in_halves(text.get_text()))
    if not long:
        extents = [text.get_window_extent() for text in beyond]
        if any(box.x0 < figure.bbox.x0 - 1 or box.x1 > figure.bbox.x1 + 1 for box in extents):
            figure.set_figwidth(figure.get_figwidth() * _GROWTH)
        if any(box.y0 < figure.bbox.y0 - 1 or box.y1 > figure.bbox.y1 + 1 for box in extents):
            figure.set_figheight(figure.get_figheight() * _GROWTH)
    return True


def _in_halves(text: str) -> str:
    r"""Two lines, broken at the space nearest to the middle.

    >>> _in_halves("accuracy (higher is better)")
    'accuracy (higher\nis better)'
    """
    spaces = [place for place, letter in enumerate(text) if letter == " "]
    middle = min(spaces, key=lambda place: abs(place - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"
