"""What a figure is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style
from analysis.figures._looks import look_of
from analysis.figures._metric_axis import scale_for
from analysis.metric_scale import Scale
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.surrogate import Floats
from analysis.study import Study
from analysis.winners import winner

RESAMPLED = (
    "Intervals and bands hold 90 %; the trials were drawn with replacement {refits} times and the surrogate refitted "
    "each time."
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One study and what is known of it."""

    study: Study
    trials: pd.DataFrame
    findings: Findings
    num_refits: int

    @property
    def colour(self) -> str:
        """Of the study's optimizer."""
        return look_of(self.study).colour

    @property
    def resampled(self) -> str:
        """What every caption with an interval ends with."""
        return RESAMPLED.format(refits=self.num_refits)

    @property
    def metric(self) -> str:
        """The metric as an axis names it."""
        return f"{_style.label(self.study.tuned_metric, 30)} ({self.study.better})"

    @property
    def scale(self) -> Scale:
        """On which the metric is drawn."""
        return scale_for(self.study, self.trials.loc[self.trials["outcome"] == "complete", "value"])

    def parameter(self, name: str) -> ParameterInfo:
        """Return how ``name`` was searched."""
        return self.study.parameters[name]


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure file of its own; ``name`` tells the panels of one figure apart (``""`` where there is one alone)."""

    name: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure of one or several panels.

    Attributes:
        title: Of a few words.
        caption: How to read it, and what was resampled.
        panels: At least one.
    """

    title: str
    caption: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        scope: What there is one of each of: ``"study"``, ``"optimizer"``, ``"workload"``, ``"campaign"``, ``"atlas"``.
        draw: Draws it, ``None`` where there is nothing to show. It is given a `Subject`; all subjects of an optimizer
            and the table of near-optimal intervals; a ``View`` of a workload; a ``Comparison``; or an ``Atlas`` and the
            looks of its optimizers.
    """

    scope: Literal["study", "optimizer", "workload", "campaign", "atlas"]
    draw: Callable[..., Drawn | None]


def points(subject: Subject, axes: Axes, across: str, upward: str | Floats, *, on_map: bool = False) -> None:
    """Draw the trials that were used, each outcome with its own mark.

    Args:
        subject: Whose trials.
        axes: With axes as `_axis.set_axis` makes them.
        across: The parameter on the horizontal axis.
        upward: The parameter on the vertical axis, or a height for each trial used.
        on_map: Black on white, whatever the page's colours are.
    """
    used = subject.findings.used
    if used is None or not len(used.trials):
        return
    configurations = list(used.trials["params"])
    x = scales.encode([subject.parameter(across)], configurations)[:, 0]
    y = upward if not isinstance(upward, str) else scales.encode([subject.parameter(upward)], configurations)[:, 0]
    kinds = used.trials["outcome"].to_numpy()
    many = len(kinds) > _style.RASTER_FROM
    ink = "black" if on_map else _style.INK
    for kind, marker, size, width, full in _MARKS:
        here = (kinds == kind) & ~np.isnan(x) & ~np.isnan(y)
        if here.any():
            colours: Any = {"color": ink} if full else {"facecolors": "none", "edgecolors": ink}
            axes.scatter(
                x[here],
                y[here],
                s=size,
                marker=marker,
                **colours,
                linewidths=width,
                alpha=0.75 if full else 0.5,
                rasterized=many,
                clip_on=False,
                zorder=3,
            )


# outcome, marker, size (points²), line width, whether it is full
_MARKS = (
    ("pruned", "o", 9, 0.6, False),
    ("complete", "o", 9, 0.0, True),
    ("infeasible", "+", 16, 0.9, True),
    ("diverged", "x", 14, 0.9, True),
)


def marks_in_words(subject: Subject) -> str:
    """Return what the marks of `points` mean."""
    used = subject.findings.used
    infeasible = used is not None and "infeasible" in used.causes
    known = "Dots are complete trials, rings pruned ones, crosses diverged ones"
    return f"{known}, plus signs infeasible ones" if infeasible else known


def places(subject: Subject, name: str) -> dict[str, float]:
    """Return positions of the default and of the best configuration in one parameter, where its range holds them."""
    parameter = subject.parameter(name)
    found = {}
    if parameter.default is not None:
        found["default"] = scales.position(parameter, parameter.default)
    best = best_params(subject)
    if name in best:
        found["best"] = scales.position(parameter, best[name])
    return {kind: at for kind, at in found.items() if 0 <= at <= 1}


def best_params(subject: Subject) -> Mapping[str, object]:
    """Return the configuration of the best complete trial; empty before the first."""
    best = winner(subject.study, subject.trials)
    return {} if best is None else best["params"]
