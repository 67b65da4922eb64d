"""Convergence and importance as figures of Plotly, in its JSON, for a page that draws them itself.

They are written as plain dictionaries: Plotly's Python package, which would check them, is nothing else's need here.
Text is escaped, for Plotly reads some HTML in it.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures._style import GRID, INK, label
from analysis.figures._style import colour as _colour_of
from analysis.load import Study
from analysis.sensitivity.findings import Findings
from analysis.winners import ranked
from search_spaces.errors import number_of

Figure = dict[str, Any]
BEST = 5  # trials whose curves are shown
_REGIONS = {"all": "whole space", "good": "good configurations"}
_MOST = 16  # parameters there is room for, in one panel or shared by two
_DASHED = {"color": INK, "dash": "dash"}


def convergence(study: Study, trials: pd.DataFrame, curves: pd.DataFrame, band: pd.DataFrame) -> Figure:
    """The metric over the epochs of the best trials, and of the confirmation runs.

    Args:
        study: which.
        trials: of it; columns of :func:`analysis.load.trials`.
        curves: of it; columns of :func:`analysis.load.curves`.
        band: of the runs of its winner on fresh seeds, columns ``at`` (epochs), ``median``, ``low``, ``high``,
            ``runs``; no rows where it is not confirmed. See :mod:`analysis.comparison.convergence`.
    """
    best = ranked(study, trials)["number"].head(BEST).tolist()
    if not best:
        return message("Convergence", "No trial ran its whole budget yet.")
    traces = []
    others = f"trial{'s' if len(best) > 2 else ''} {', '.join(map(str, best[1:]))}, the next"
    for place, trial in reversed(list(enumerate(best))):  # the best on top
        own = curves[curves["number"] == trial].sort_values("epoch")
        told = f"trial {trial}"
        if place == 0:
            look: Figure = {"name": f"{told}, the best", "line": {"color": _colour_of(study.optimizer), "width": 2.5}}
        else:
            look = {"name": others, "legendgroup": others, "showlegend": place == 1, "opacity": 0.45}
            look |= {"line": {"color": _colour_of(study.optimizer), "width": 1}}
        hover = f"{told}, epoch %{{x}}: %{{y:.4g}}<extra></extra>"
        traces.append(_line(own["epoch"], own["value"], legendrank=place, hovertemplate=hover, **look))
    if len(band):
        traces += _band(band)
    layout = _layout("Convergence")
    layout["xaxis"] = {"title": {"text": "epoch", "standoff": 8}, "automargin": True, "rangemode": "tozero"}
    layout["yaxis"] = {"title": {"text": _escaped(f"{label(study.metric)} ({study.better})")}, "automargin": True}
    return {"data": traces, "layout": layout}


def importance(study: Study, findings: Findings) -> Figure:
    """First-order and total-order shares of the parameters with their intervals, and what a planted one reaches.

    Args:
        study: which.
        findings: on it, as the report has them.
    """
    table, quality = findings.importance, findings.tables["quality"]
    lines = {str(line["region"]): line for line in reversed(quality.to_dict("records"))}
    regions = [region for region in _REGIONS if (table["region"] == region).any()]
    if not regions:
        return message("Importance", findings.sentences[0])
    most = _MOST // len(regions)
    order = table[table["region"] == "all"].sort_values("total_order")["parameter"].tolist()
    shown = order[-most:]
    used = 0 if findings.used is None else len(findings.used.trials)
    layout = _layout(
        "Importance", f"of {number_of(used, 'trial')}" + (f"; the {most} most important" if len(order) > most else "")
    )
    layout["annotations"] = []
    traces, suffix = [], ""
    for place, region in enumerate(regions):
        rows = table[(table["region"] == region) & table["parameter"].isin(shown)].set_index("parameter").loc[shown]
        suffix = "" if place == 0 else str(place + 1)
        conclusive = bool(lines[region]["conclusive"])
        traces += _shares(rows, suffix, _colour_of(study.optimizer), conclusive=conclusive, legend=place == 0)
        traces.append(_noise(float(lines[region]["noise_total_order"]), len(rows), suffix, legend=place == 0))
        _panel(layout, suffix, [str(name) for name in rows.index], lines[region], region, place, len(regions))
    layout[f"xaxis{suffix}"]["title"] = {"text": "share of the explained variance", "standoff": 8}
    return {"data": traces, "layout": layout}


def message(title: str, text: str) -> Figure:
    """A figure that says why there is none."""
    layout = _layout(title)
    nothing = {"visible": False, "range": [0, 1], "fixedrange": True}
    layout |= {"xaxis": nothing, "yaxis": nothing}
    wrapped = "<br>".join(_escaped(line) for line in textwrap.wrap(text, 38))
    layout["annotations"] = [{"x": 0.5, "y": 0.5, "text": wrapped, "showarrow": False, "font": {"size": 13}}]
    return {"data": [], "layout": layout}


def _line(x: Iterable[float], y: Iterable[float], **look: Any) -> Figure:
    at = _numbers(x)
    mode = "lines" if len(at) > 1 else "markers"  # a single point makes no line
    return {"type": "scatter", "mode": mode, "x": at, "y": _numbers(y), **look}


def _band(band: pd.DataFrame) -> list[Figure]:
    """The middle of the runs and, around it, where there are two ends."""
    held = band[np.isfinite(band["low"]) & np.isfinite(band["high"])]
    name = f"fresh seeds, median of {number_of(int(band['runs'].iloc[0]), 'run')}"
    around = {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers([*held["at"], *held["at"][::-1]]),
        "y": _numbers([*held["low"], *held["high"][::-1]]),
        "fill": "toself",
        "fillcolor": "rgba(27, 31, 35, 0.15)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "name": "interval for that median",
    }
    middle = _line(band["at"], band["median"], name=name, line=_DASHED | {"width": 2}, legendrank=BEST)
    return [around, middle] if len(held) else [middle]


def _shares(rows: pd.DataFrame, suffix: str, colour: str, *, conclusive: bool, legend: bool) -> list[Figure]:
    traces = []
    for order, name, shift, full in (
        ("total_order", "with interactions", -0.14, True),
        ("first_order", "alone", 0.14, False),
    ):
        value = rows[order].to_numpy(np.float64)
        low = np.clip(value - rows[f"{order}_low"].to_numpy(np.float64), 0, None)
        high = np.clip(rows[f"{order}_high"].to_numpy(np.float64) - value, 0, None)
        told = [
            f"{_escaped(label(at))} {name}: {_percent(share)} [{_percent(share - below)}, {_percent(share + above)}]"
            for at, share, below, above in zip(rows.index, value, low, high, strict=True)
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "legendgroup": name,
                "showlegend": legend,
                "x": _numbers(value),
                "y": [place - shift for place in range(len(rows))],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": _numbers(high),
                    "arrayminus": _numbers(low),
                    "thickness": 1.2,
                    "width": 0,
                    "color": colour,
                },
                "marker": {"color": colour, "size": 8, "symbol": "circle" if full else "circle-open"},
                "opacity": 1.0 if conclusive else 0.35,
                "hovertext": told,
                "hoverinfo": "text",
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
            }
        )
    return traces


def _noise(share: float, num_parameters: int, suffix: str, *, legend: bool) -> Figure:
    """The line that a planted parameter without effect reaches."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "reached without any effect",
        "legendgroup": "noise",
        "showlegend": legend,
        "x": _numbers([share, share]),
        "y": [-0.6, num_parameters - 0.4],
        "line": _DASHED | {"width": 1},
        "hovertemplate": f"a planted parameter without effect reaches {_percent(share)}<extra></extra>",
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
    }


def _panel(
    layout: Figure, suffix: str, names: Sequence[str], quality: Mapping[Any, Any], region: str, place: int, panels: int
) -> None:
    """Axes and title of the panel at ``place`` from above."""
    height = 1.0 if panels == 1 else 0.4
    top = 1.0 - place * 0.6
    layout[f"xaxis{suffix}"] = {"range": [0, 1], "tickformat": ".0%", "anchor": f"y{suffix}"}
    layout[f"yaxis{suffix}"] = {
        "domain": [top - height, top],
        "range": [-0.6, len(names) - 0.4],
        "tickvals": list(range(len(names))),
        "ticktext": [f"{_escaped(label(name))} " for name in names],
        "anchor": f"x{suffix}",
        "automargin": True,
        "zeroline": False,
    }
    r2 = f"out-of-bag R² {quality['r2']:.2f}"
    where = {"xref": f"x{suffix} domain", "yref": f"y{suffix} domain", "x": 0, "y": 1, "yanchor": "bottom"}
    text = (
        f"{_REGIONS[region]}: {r2}"
        if quality["conclusive"]
        else f"{_REGIONS[region]}: no conclusion, R² {quality['r2']:.2f}"
    )
    layout["annotations"].append(where | {"xanchor": "left", "text": text, "showarrow": False, "font": {"size": 11}})


def _layout(title: str, under: str = "") -> Figure:
    text = f"<b>{_escaped(title)}</b>" + (f" <span style='font-size: 12px'>{_escaped(under)}</span>" if under else "")
    axis = {"gridcolor": GRID, "linecolor": INK, "zerolinecolor": GRID}
    return {
        "title": {"text": text, "x": 0.02, "xanchor": "left", "font": {"size": 16}},
        "font": {"color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "template": {"layout": {"xaxis": axis, "yaxis": axis}},
        "margin": {"l": 50, "r": 20, "t": 60, "b": 40},
        "legend": {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"},
        "hoverlabel": {"namelength": -1},
    }


def _escaped(text: str) -> str:
    """Text that Plotly shows as it is."""
    return html.escape(text, quote=False)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    """JSON has no NaN; what is not finite is left out of a line."""
    return float(value) if math.isfinite(value) else None
