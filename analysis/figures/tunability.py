"""What tuning gains over the default."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.sensitivity.tunability import ALL

_MOST = 20


def draw(subject: Subject) -> Drawn | None:
    """Draw what tuning all parameters together gained, and each change on the way, where they were run."""
    table, path = subject.findings.tunability, subject.findings.ablation
    if not len(table):
        return None
    steps = path[path["gain"].notna()].head(_MOST)[::-1]
    rows = [*steps.to_dict("records"), *table[table["parameter"] == ALL].to_dict("records")]
    used = subject.findings.used
    decades = used is not None and used.scale == "log"
    figure, axes = _style.canvas(0.8 + 0.28 * len(rows))
    for place, row in enumerate(rows):
        errors = [[max(0.0, row["gain"] - row["gain_low"])], [max(0.0, row["gain_high"] - row["gain"])]]
        axes.errorbar(
            [row["gain"]],
            [place],
            xerr=errors,
            fmt="D" if row["parameter"] == ALL else "o",
            markersize=5 if row["parameter"] == ALL else 4.5,
            elinewidth=1.2,
            color=subject.colour,
        )
    if decades:
        axes.set_xscale("log")
    axes.axvline(1.0 if decades else 0.0, color=_style.INK, linewidth=0.8)
    names = ["all together" if row["parameter"] == ALL else _style.label(row["parameter"]) for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    what = "factor gained" if decades else "gain"
    axes.set_xlabel(f"{what} in {_style.label(subject.study.tuned_metric, 30)}, measured\n(right is better)")
    return Drawn(
        "Tunability",
        "What tuning gained over the default (all together), and what each change on the way gained over the step "
        f"before, measured on the same fresh seeds. Intervals are of 95 % (Welch): one that reaches "
        f"{'1' if decades else '0'} shows no gain.",
        [Panel("", figure)],
    )
