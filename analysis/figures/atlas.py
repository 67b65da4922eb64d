"""Figures of an atlas: the factor of SOFIM's step, its near-optimal ρ, and how widely optimizers may be set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.atlas import Atlas
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures._looks import Look

_SHARES = {
    "rho": ("ρ", "x"),
    "lr": ("η", "s"),
    "ratio": ("η/ρ", "^"),
    "factor": ("η/(ρ + c)", "o"),
    "with_rho": ("η/(ρ + c), ρ", "|"),
}
_NAMES = {"rho": "ρ", "lr/rho": "η/ρ", "√rho": "√ρ"}


def steps(atlas: Atlas, looks: Mapping[str, Look]) -> Drawn | None:
    """Draw how well the factor of the step tells how trials rank, and its c, a row a workload."""
    table = atlas.tables["rho_steps"]
    rows = table[(table["optimizer"] == atlas.optimizer) & table["factor"].notna()].to_dict("records")[::-1]
    if not rows:
        return None
    colour = looks[atlas.optimizer].colour
    names = [str(row["workload"]) for row in rows]
    figure, axes = _style.canvas(1.3 + 0.34 * len(rows))
    for name, (label, marker) in _SHARES.items():
        shade = colour if name == "factor" else _style.INK
        told = [100 * row[name] for row in rows]
        axes.plot(told, range(len(rows)), linestyle="", marker=marker, color=shade, label=label, clip_on=False)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the variance of ranks, of trials left out")
    figure.legend(loc="outside lower center", ncols=len(_SHARES), fontsize=7)
    lengths, beside = _style.canvas(0.9 + 0.34 * len(rows))
    least, most = (pick(end for row in rows for end in _ends(row)) for pick in (min, max))
    for place, row in enumerate(rows):
        low, high = row["c_low"] or least / 10, min(row["c_high"], most * 10)
        beside.plot([low, high], [place, place], color=colour, linewidth=1.2, zorder=2)
        beside.plot(row["c"], place, marker="o", linestyle="", color=colour, zorder=3)
    _on_log_scale(beside, "c")
    beside.set_xlim(least / 10, most * 10)
    for own in (axes, beside):
        _a_row_each(own, names)
    return Drawn(
        f"Whether η and ρ of {atlas.optimizer} are one number",
        "First how well a polynomial tells how trials rank that are left out of its fit: of ρ, η, η/ρ or the factor of "
        "the step, η/(ρ + c), alone, and with ρ beside it. Then the c that does best, with 90 % over bootstraps of "
        "trials; a line to the left edge: η/ρ alone may do, to the right edge: η alone. Workloads without a row cannot "
        "be told.",
        [Panel("explained", figure), Panel("c", lengths)],
    )


def _on_log_scale(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _a_row_each(axes: Axes, workloads: Sequence[str]) -> None:
    axes.set_yticks(range(len(workloads)), [_style.label(name) for name in workloads])
    axes.set_ylim(-0.6, len(workloads) - 0.4)
    axes.grid(visible=False, axis="y")


def _ends(row: Mapping[Any, Any]) -> list[float]:
    """Return the values of c of a row that a logarithmic axis has room for."""
    found = [row[name] for name in ("c", "c_low", "c_high") if 0 < row[name] < math.inf]
    return found or [1.0]


def rho(atlas: Atlas, looks: Mapping[str, Look]) -> Drawn | None:
    """Draw a panel a coordinate of the optimizer that the atlas is about, a bar a workload."""
    table = atlas.tables["rho_intervals"]
    table = table[(table["optimizer"] == atlas.optimizer) & table["outer_low"].notna()]
    panels = []
    for name, own in table.groupby("coordinate", sort=False):
        rows = own.to_dict("records")[::-1]
        figure, axes = _style.canvas(0.9 + 0.34 * len(rows))
        colour = looks[atlas.optimizer].colour
        for place, row in enumerate(rows):
            axes.plot([row["outer_low"], row["outer_high"]], [place, place], color=colour, linewidth=1.2, zorder=2)
            if not math.isnan(row["low"]):
                axes.barh(place, row["high"] - row["low"], left=row["low"], height=0.3, color=colour, zorder=3)
            axes.plot([row["best"]] * 2, [place - 0.3, place + 0.3], color=_style.INK, linewidth=1.2, zorder=4)
        _on_log_scale(axes, _NAMES[str(name)])
        _a_row_each(axes, [str(row["workload"]) for row in rows])
        panels.append(Panel(str(name).replace("/", "-over-").replace("√", "root-"), figure))
    if not panels:
        return None
    return Drawn(
        f"Near-optimal ρ of {atlas.optimizer}",
        "What each ρ and η/ρ is predicted to lose against the best, all other parameters tuned again: in a bar all are "
        "within 5 % of what training gains (10 where the surrogate does not resolve 5), outside of the thin line all "
        "are beyond. The intervals behind it hold 95 % on all workloads together. The upright line is the best; √ρ has "
        "the roots of ρ. Workloads without a bar or line cannot be told.",
        panels,
    )


def widths(atlas: Atlas, looks: Mapping[str, Look]) -> Drawn | None:
    """Draw a panel a role of parameters, unit and loss, the near-optimal width of every optimizer on every workload."""
    table = atlas.tables["sensitivity"]
    table = table[table["width"].notna()]
    panels: list[Panel] = []
    before: Counter[str] = Counter()
    for (role, unit, loss), own in table.groupby(["role", "unit", "loss_percent"], sort=False):
        workloads = list(dict.fromkeys(own["workload"]))[::-1]
        names = [name for name in looks if name in set(own["optimizer"])]
        figure, axes = _style.canvas(1.1 + (0.14 + 0.1 * len(names)) * len(workloads))
        for number, name in enumerate(names):
            rows = own[own["optimizer"] == name].to_dict("records")
            at = [workloads.index(row["workload"]) + 0.36 - 0.72 * (number + 0.5) / len(names) for row in rows]
            errors = [
                [max(0.0, row["width"] - row["width_low"]) for row in rows],
                [max(0.0, row["width_high"] - row["width"]) for row in rows],
            ]
            look = looks[name]
            axes.errorbar(
                [row["width"] for row in rows],
                at,
                xerr=errors,
                linestyle="",
                **look.mark(4.5),
                elinewidth=1.0,
                color=look.colour,
            )
        axes.set_xlim(left=0)
        axes.set_xlabel(f"near-optimal width of {role} at {loss:g} % loss, {unit}")
        _a_row_each(axes, workloads)
        handles = [Line2D([], [], linestyle="", **looks[n].mark(4.5), color=looks[n].colour, label=n) for n in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7)
        name = {"η": "lr", "ρ": "rho", "β": "beta"}.get(str(role), str(role))
        before[name] += 1
        panels.append(Panel(name if before[name] == 1 else f"{name}-{before[name]}", figure))
    if not panels:
        return None
    return Drawn(
        "How widely settings may lie",
        "How far a parameter may move alone from the best trial until the predicted loss is 5 % of what training gains "
        "(10 where the surrogate does not resolve 5), with 90 % over refits; farther to the right is less sensitive. "
        "Only widths of one unit and loss compare, so each has a panel of its own. What is missing cannot be told.",
        panels,
    )
