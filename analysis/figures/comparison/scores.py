"""Aggregate scores over all workloads."""

from __future__ import annotations

from analysis.comparison import Comparison
from analysis.comparison.aggregate import takes_part
from analysis.comparison.searches import SEARCHES, units
from analysis.comparison.workload_runs import WorkloadRuns, start
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import forest, looks_in
from analysis.text import listing


def draw(comparison: Comparison) -> Drawn | None:
    """Draw interquartile means of normalized scores, best first."""
    table = comparison.tables["aggregate"]
    if not len(table):
        return None
    rows = table.to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.34 * len(rows))
    names, looks = [row["optimizer"] for row in rows], looks_in(comparison)
    forest(axes, rows, "iqm", ("low", "high"), names=names, looks=[looks[name] for name in names])
    axes.set_xlabel("interquartile mean of normalized scores\n(higher is better)")
    first = rows[0]
    of = "All searches" if first["unit"] == SEARCHES else "All runs of the configurations that one search each found"
    fallback = [contest.workload for contest in takes_part(comparison.contests)[0] if not _improves(contest)]
    zero = (
        f" (on {listing(fallback)}: its worst {'search' if first['unit'] == SEARCHES else 'run'})" if fallback else ""
    )
    return Drawn(
        "Scores",
        f"{of}, on all workloads: the middle half, averaged (interquartile mean, Agarwal et al. 2021). A score of 1 is "
        f"the mean of a workload's best optimizer, 0 what training starts from{zero}. The intervals hold "
        f"{100 * first['level']:.1f} % each, 95 % all together; what was repeated was drawn with replacement within "
        "each workload (stratified bootstrap). Who is better is told by the figure of differences.",
        [Panel("", figure)],
    )


def _improves(contest: WorkloadRuns) -> bool:
    """Return whether an optimizer is better than what training starts from, which then has a score of 0."""
    values = [contest.sign * units(contest, study) for study in contest.studies]
    return any(float(one.mean()) > start(contest) for one in values if len(one))
