"""Figures of an atlas: SOFIM's near-optimal ρ across workloads, and how widely optimizers may be set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.atlas import Atlas
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures._looks import Look

_NAMES = {"rho": "ρ", "lr/rho": "η/ρ", "√rho": "√ρ"}


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
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(_NAMES[str(name)])
        axes.set_yticks(range(len(rows)), [_style.label(row["workload"]) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(visible=False, axis="y")
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
        axes.set_yticks(range(len(workloads)), [_style.label(name) for name in workloads])
        axes.set_ylim(-0.6, len(workloads) - 0.4)
        axes.grid(visible=False, axis="y")
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
