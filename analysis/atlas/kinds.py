"""One optimizer against each other by kind of task: counts of the verdicts of the report, and nothing else.

The verdicts are those of `analysis.comparison.pairwise`: Holm's correction runs over all pairs of all workloads, so the
probability that any of these counts has a difference that is not there is at most 5 %. Where searches were not repeated
there is no verdict on optimizers, and the workload counts as undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.comparison.pairwise import BETTER, NOT_SHOWN, WORSE, between
from analysis.comparison.searches import RUNS
from analysis.comparison.verdict import told
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.text import listing
from search_spaces.errors import number_of

COLUMNS = (
    "kind", "optimizer", "baseline", "workloads", "better", "worse", "undecided", "better_on", "worse_on",
    "undecided_on", "one_search_on",
)  # fmt: skip
IMAGE = "image"
UNKNOWN_KIND = "kind not told"
ALL, BEYOND_IMAGES = "all", "beyond images"


def kind_of(contest: WorkloadRuns) -> str:
    """Return the kind of task of a workload."""
    return contest.studies[0].kind or UNKNOWN_KIND


def by_kind(contests: Sequence[WorkloadRuns], pairs: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    """Return how often one optimizer is better and worse than each other, by kind of task.

    Args:
        contests: Of a campaign.
        pairs: Of `analysis.comparison.pairwise.comparisons`.
        optimizer: Whose view it is.

    Returns:
        A row a kind and baseline, those of all workloads and of all beyond images (whose kind is told) first. Columns:
        ``kind``, ``optimizer``, ``baseline``, ``workloads`` (on which both were confirmed), ``better``, ``worse``,
        ``undecided``, and each with ``…_on``: tuples of (workload, gain with its interval in words);
        ``one_search_on``: those of the undecided where only one search was confirmed.
    """
    rivals = dict.fromkeys(s.optimizer for contest in contests for s in contest.studies if s.optimizer != optimizer)
    kinds = dict.fromkeys(map(kind_of, contests))
    groups = {ALL: [*contests]}
    beyond = [contest for contest in contests if kind_of(contest) not in (IMAGE, UNKNOWN_KIND)]
    if 0 < len(beyond) < len(contests):
        groups[BEYOND_IMAGES] = beyond
    groups |= {kind: [contest for contest in contests if kind_of(contest) == kind] for kind in kinds}
    rows = [
        (kind, optimizer, rival, *_counts(own, pairs, optimizer, rival))
        for kind, own in groups.items()
        for rival in rivals
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _counts(contests: Sequence[WorkloadRuns], pairs: pd.DataFrame, optimizer: str, rival: str) -> tuple[object, ...]:
    found: dict[str, list[tuple[str, str]]] = {BETTER: [], WORSE: [], NOT_SHOWN: []}
    once = []
    for contest in contests:
        row = between(pairs, contest.workload, optimizer, rival)
        if row is not None:
            found[str(row["verdict"])].append((contest.workload, told(row)))
            once += [contest.workload] if row["unit"] == RUNS else []
    groups = list(found.values())
    return (sum(map(len, groups)), *map(len, groups), *map(tuple, groups), tuple(once))


def sentences(table: pd.DataFrame) -> list[str]:
    """Return what the counts say: a sentence a kind, all of what is beyond images and every kind of it by itself.

    Args:
        table: Of `by_kind`.
    """
    if not len(table):
        return ["There is one optimizer, and nothing to compare it with."]
    optimizer = str(table["optimizer"].iloc[0])
    if not table["workloads"].sum():
        return [
            f"Cannot be told: no winner of {optimizer} and of another was confirmed on fresh seeds (sofim confirm)."
        ]
    kinds = [kind for kind in dict.fromkeys(table["kind"]) if kind != ALL]
    said = []
    if BEYOND_IMAGES not in kinds:
        if kinds == [UNKNOWN_KIND]:
            said.append(
                "Of what kind the workloads are is not stored, so that what holds beyond images cannot be told."
            )
        elif set(kinds) <= {IMAGE, UNKNOWN_KIND}:
            said.append("No workload is known to be beyond images, so that what holds there cannot be told.")
    for kind in kinds:
        rows = table[(table["kind"] == kind) & (table["workloads"] > 0)].to_dict("records")
        if not rows:
            said.append(f"{_heading(kind)}: cannot be told, for no winners were confirmed.")
            continue
        single = sorted({name for row in rows for name in row["one_search_on"]})
        more = (
            f" Only one search was confirmed on {listing(single)}, which tells nothing of optimizers." if single else ""
        )
        said.append(f"{_heading(kind)}, {optimizer} {'; '.join(map(_against, rows))}.{more}")
    return said


def _heading(kind: str) -> str:
    if kind == BEYOND_IMAGES:
        return "Beyond images, all kinds together"
    return "Where the kind of task is not told" if kind == UNKNOWN_KIND else f"On tasks of kind {kind}"


def _against(row: Mapping[Any, Any]) -> str:
    parts = [
        f"{word} on {row[word]} ({', '.join(f'{name}: {gain}' for name, gain in row[f'{word}_on'])})"
        for word in ("better", "worse")
        if row[word]
    ]
    parts += [f"undecided on {row['undecided']}"] if row["undecided"] else []
    return f"against {row['baseline']} on {number_of(row['workloads'], 'workload')}: {', '.join(parts)}"
