"""Convergence and importance as figures of Plotly, in its JSON, for a page that draws them itself.

They are plain dictionaries: Plotly's Python package, which would check them, is nothing else's need here. Text is
escaped, for Plotly reads some HTML in it.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures._looks import look_of
from analysis.figures._style import GRID, INK, label
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
    """Draw the metric over the epochs of the best trials, and of the confirmation runs.

    Args:
        study: Which.
        trials: Of it; columns of :func:`analysis.load.trials`.
        curves: Of it; columns of :func:`analysis.load.curves`.
        band: Of the runs of its winner on fresh seeds, columns ``at`` (epochs), ``median``, ``low``, ``high``,
            ``runs``; no rows where it is not confirmed. See :mod:`analysis.comparison.convergence`.
    """
    best = ranked(study, trials)["number"].head(BEST).tolist()
    if not best:
        return message("Convergence", "No trial ran its whole budget yet.")
    others = f"trial{'s' if len(best) > 2 else ''} {', '.join(map(str, best[1:]))}, the next"
    traces = []
    for place, trial in reversed(list(enumerate(best))):  # the best on top
        own = curves[curves["number"] == trial].sort_values("epoch")
        look: Figure = {"hovertemplate": f"trial {trial}, epoch %{{x}}: %{{y:.4g}}<extra></extra>", "legendrank": place}
        look["line"] = {"color": look_of(study).colour, "width": 1 if place else 2.5}
        if place:
            look |= {"name": others, "legendgroup": others, "showlegend": place == 1, "opacity": 0.45}
        else:
            look["name"] = f"trial {trial}, the best"
        traces.append(_line(own["epoch"], own["value"], **look))
    y_title = _escaped(f"{label(study.metric)} ({study.better})")
    layout = _layout("Convergence") | {
        "xaxis": {"title": {"text": "epoch", "standoff": 8}, "automargin": True, "rangemode": "tozero"},
        "yaxis": {"title": {"text": y_title}, "automargin": True},
    }
    return {"data": [*traces, *_band(band)], "layout": layout}


def importance(study: Study, findings: Findings) -> Figure:
    """Draw first-order and total-order shares of the parameters with their intervals, and what a planted one reaches.

    Args:
        study: Which.
        findings: On it, as the report has them.
    """
    table = findings.importance
    regions = [region for region in _REGIONS if (table["region"] == region).any()]
    if not regions:
        return message("Importance", findings.sentences[0])
    most = _MOST // len(regions)
    order = table[table["region"] == "all"].sort_values("total_order")["parameter"].tolist()
    used = number_of(0 if findings.used is None else len(findings.used.trials), "trial")
    layout = _layout("Importance", f"of {used}" + (f"; the {most} most important" if len(order) > most else ""))
    layout["annotations"] = []
    traces = []
    quality = findings.tables["quality"].drop_duplicates("region").set_index("region").to_dict("index")
    for place, region in enumerate(regions):
        rows = table[table["region"] == region].set_index("parameter")
        rows = rows.loc[[name for name in order[-most:] if name in rows.index]]
        fit = quality[region]
        suffix = str(place + 1) if place else ""
        on_panel = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        traces += [
            trace | on_panel | {"showlegend": place == 0}
            for trace in (
                _shares(rows, "total_order", look_of(study).colour, conclusive=bool(fit["conclusive"])),
                _shares(rows, "first_order", look_of(study).colour, conclusive=bool(fit["conclusive"])),
                _noise(float(fit["noise_total_order"]), len(rows)),
            )
        ]
        height, top = 1.0 if len(regions) == 1 else 0.4, 1.0 - place * 0.6
        layout[f"xaxis{suffix}"] = {"range": [0, 1], "tickformat": ".0%", "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = {
            "domain": [top - height, top],
            "range": [-0.6, len(rows) - 0.4],
            "tickvals": list(range(len(rows))),
            "ticktext": [f"{_escaped(label(str(name)))} " for name in rows.index],
            "anchor": f"x{suffix}",
            "automargin": True,
            "zeroline": False,
        }
        r2 = f"{'out-of-bag' if fit['conclusive'] else 'no conclusion,'} R² {fit['r2']:.2f}"
        where = {"xref": f"x{suffix} domain", "yref": f"y{suffix} domain", "x": 0, "xanchor": "left", "y": 1}
        text = {"text": f"{_REGIONS[region]}: {r2}", "showarrow": False, "font": {"size": 11}, "yanchor": "bottom"}
        layout["annotations"].append(where | text)
    layout[f"xaxis{suffix}"]["title"] = {"text": "share of the explained variance", "standoff": 8}
    return {"data": traces, "layout": layout}


def message(title: str, text: str) -> Figure:
    """Return a figure that says why there is none."""
    nothing = {"visible": False, "range": [0, 1], "fixedrange": True}
    wrapped = "<br>".join(_escaped(line) for line in textwrap.wrap(text, 38))
    note = {"x": 0.5, "y": 0.5, "text": wrapped, "showarrow": False, "font": {"size": 13}}
    return {"data": [], "layout": _layout(title) | {"xaxis": nothing, "yaxis": nothing, "annotations": [note]}}


def _line(x: Iterable[float], y: Iterable[float], **look: Any) -> Figure:
    at = _numbers(x)
    mode = "lines" if len(at) > 1 else "markers"  # a single point makes no line
    return {"type": "scatter", "mode": mode, "x": at, "y": _numbers(y), **look}


def _band(band: pd.DataFrame) -> list[Figure]:
    """Draw the middle of the runs and, around it, where there are two ends."""
    if not len(band):
        return []
    name = f"fresh seeds, median of {number_of(int(band['runs'].iloc[0]), 'run')}"
    middle = _line(band["at"], band["median"], name=name, line=_DASHED | {"width": 2}, legendrank=BEST)
    held = band[np.isfinite(band["low"]) & np.isfinite(band["high"])]
    if not len(held):
        return [middle]
    around = _line([*held["at"], *held["at"][::-1]], [*held["low"], *held["high"][::-1]])
    around |= {"fill": "toself", "fillcolor": "rgba(27, 31, 35, 0.15)", "line": {"width": 0}, "hoverinfo": "skip"}
    return [around | {"showlegend": False, "name": "interval for that median"}, middle]


def _shares(rows: pd.DataFrame, order: str, colour: str, *, conclusive: bool) -> Figure:
    total = order == "total_order"
    name, shift = ("with interactions", -0.14) if total else ("alone", 0.14)
    value = rows[order].to_numpy(np.float64)
    low = np.clip(value - rows[f"{order}_low"].to_numpy(np.float64), 0, None)
    high = np.clip(rows[f"{order}_high"].to_numpy(np.float64) - value, 0, None)
    error = {"type": "data", "symmetric": False, "array": _numbers(high), "arrayminus": _numbers(low)}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "x": _numbers(value),
        "y": [place - shift for place in range(len(rows))],
        "error_x": error | {"thickness": 1.2, "width": 0, "color": colour},
        "marker": {"color": colour, "size": 8, "symbol": "circle" if total else "circle-open"},
        "opacity": 1.0 if conclusive else 0.35,
        "hovertext": [
            f"{_escaped(label(at))} {name}: {_percent(share)} [{_percent(share - below)}, {_percent(share + above)}]"
            for at, share, below, above in zip(rows.index, value, low, high, strict=True)
        ],
        "hoverinfo": "text",
    }


def _noise(share: float, num_parameters: int) -> Figure:
    """Draw the line that a planted parameter without effect reaches."""
    hover = f"a planted parameter without effect reaches {_percent(share)}<extra></extra>"
    look = {"name": "reached without any effect", "legendgroup": "noise", "line": _DASHED | {"width": 1}}
    return _line([share, share], [-0.6, num_parameters - 0.4], hovertemplate=hover, **look)


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
    """Return text that Plotly shows as it is."""
    return html.escape(text, quote=False)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Return numbers for JSON, which has no NaN: what is not finite is left out of a line."""
    return [float(value) if math.isfinite(value) else None for value in values]
