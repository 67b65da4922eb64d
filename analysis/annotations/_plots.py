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

from analysis.figures._style import COLOURS, INK, NEUTRAL, label
from analysis.load import Study
from analysis.sensitivity.findings import Findings
from analysis.winners import ranked

Figure = dict[str, Any]
BEST = 5  # trials whose curves are shown
_REGIONS = {"all": "over the whole space", "good": "among good configurations"}
_MOST = 16  # parameters there is room for, in one panel or shared by two
_DASHED = {"color": INK, "width": 1, "dash": "dash"}


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
    colour = COLOURS.get(study.optimizer, NEUTRAL)
    traces = []
    for place, trial in reversed(list(enumerate(best))):  # the best on top
        own = curves[curves["number"] == trial].sort_values("epoch")
        name = f"trial {trial}, the best" if place == 0 else f"trial {trial}"
        line = {"color": colour, "width": 2.5 if place == 0 else 1}
        traces.append(
            _line(name, own["epoch"], own["value"], line, opacity=1.0 if place == 0 else 0.45, legendrank=place)
        )
    if len(band):
        traces += _band(band)
    layout = _layout("Convergence")
    layout["xaxis"] = {"title": {"text": "epoch"}, "automargin": True, "rangemode": "tozero"}
    layout["yaxis"] = {"title": {"text": _escaped(f"{label(study.metric)} ({study.better})")}, "automargin": True}
    return {"data": traces, "layout": layout}


def importance(findings: Findings) -> Figure:
    """First-order and total-order shares of the parameters with their intervals, and what a planted one reaches.

    Args:
        findings: on the study, as the report has them.
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
    layout = _layout("Importance", f"of {used} trials" + (f"; the {most} most important" if len(order) > most else ""))
    layout |= {"shapes": [], "annotations": []}
    traces = []
    for place, region in enumerate(regions):
        rows = table[(table["region"] == region) & table["parameter"].isin(shown)].set_index("parameter").loc[shown]
        suffix = "" if place == 0 else str(place + 1)
        traces += _shares(rows, suffix, conclusive=bool(lines[region]["conclusive"]), legend=place == 0)
        _panel(layout, suffix, [str(name) for name in rows.index], lines[region], region, place, len(regions))
    return {"data": traces, "layout": layout}


def message(title: str, text: str) -> Figure:
    """A figure that says why there is none."""
    layout = _layout(title)
    nothing = {"visible": False, "range": [0, 1], "fixedrange": True}
    layout |= {"xaxis": nothing, "yaxis": nothing}
    wrapped = "<br>".join(_escaped(line) for line in textwrap.wrap(text, 38))
    layout["annotations"] = [{"x": 0.5, "y": 0.5, "text": wrapped, "showarrow": False, "font": {"size": 13}}]
    return {"data": [], "layout": layout}


def _line(
    name: str, x: Iterable[float], y: Iterable[float], line: Mapping[str, Any], mode: str = "lines", **more: Any
) -> Figure:
    if mode == "lines" and len(list(x)) == 1:
        mode = "markers"  # a single epoch makes no line
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": _numbers(x),
        "y": _numbers(y),
        "line": dict(line),
        **more,
    }


def _band(band: pd.DataFrame) -> list[Figure]:
    """The middle of the runs and, around it, where there are two ends."""
    held = band[np.isfinite(band["low"]) & np.isfinite(band["high"])]
    name = f"fresh seeds, median of {int(band['runs'].iloc[0])} runs"
    grey = {"color": INK, "width": 2, "dash": "dash"}
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
    middle = _line(name, band["at"], band["median"], grey, legendrank=BEST)
    return [around, middle] if len(held) else [middle]


def _shares(rows: pd.DataFrame, suffix: str, *, conclusive: bool, legend: bool) -> list[Figure]:
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
                    "color": NEUTRAL,
                },
                "marker": {"color": NEUTRAL, "size": 8, "symbol": "circle" if full else "circle-open"},
                "opacity": 1.0 if conclusive else 0.35,
                "hovertext": told,
                "hoverinfo": "text",
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
            }
        )
    return traces


def _panel(
    layout: Figure, suffix: str, names: Sequence[str], quality: Mapping[Any, Any], region: str, place: int, panels: int
) -> None:
    """Axes, title and noise line of the panel at ``place`` from above."""
    height = 1.0 if panels == 1 else 0.4
    top = 1.0 - place * 0.6
    r2 = f"out-of-bag R² {quality['r2']:.2f}"
    below = f"share of the explained variance ({r2})" if quality["conclusive"] else f"no conclusion: {r2}"
    layout[f"xaxis{suffix}"] = {
        "range": [0, 1],
        "tickformat": ".0%",
        "anchor": f"y{suffix}",
        "title": {"text": below, "font": {"size": 11}},
    }
    layout[f"yaxis{suffix}"] = {
        "domain": [top - height, top],
        "range": [-0.6, len(names) - 0.4],
        "tickvals": list(range(len(names))),
        "ticktext": [_escaped(label(name)) for name in names],
        "anchor": f"x{suffix}",
        "automargin": True,
        "zeroline": False,
    }
    noise = _number(quality["noise_total_order"])
    layout["shapes"].append(
        {
            "type": "line",
            "xref": f"x{suffix}",
            "yref": f"y{suffix} domain",
            "x0": noise,
            "x1": noise,
            "y0": 0,
            "y1": 1,
            "line": _DASHED,
        }
    )
    where = {"xref": f"x{suffix} domain", "yref": f"y{suffix} domain", "x": 0, "y": 1, "yanchor": "bottom"}
    text = f"{_REGIONS[region]}; dashed: what a parameter without effect reaches"
    layout["annotations"].append(where | {"xanchor": "left", "text": text, "showarrow": False, "font": {"size": 11}})


def _layout(title: str, under: str = "") -> Figure:
    text = f"<b>{_escaped(title)}</b>" + (f" <span style='font-size: 12px'>{_escaped(under)}</span>" if under else "")
    axis = {"gridcolor": "#d9dcdf", "linecolor": INK, "zerolinecolor": "#d9dcdf"}
    return {
        "title": {"text": text, "x": 0.02, "xanchor": "left", "font": {"size": 16}},
        "font": {"color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "template": {"layout": {"xaxis": axis, "yaxis": axis}},
        "margin": {"l": 50, "r": 20, "t": 60, "b": 40},
        "legend": {"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
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
