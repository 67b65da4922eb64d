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
from analysis.comparison.searches import ENOUGH, RUNS
from analysis.comparison.verdict import told
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.text import listing
from search_spaces.errors import number_of

COLUMNS = (
    "kind", "optimizer", "baseline", "workloads", "better", "worse", "undecided", "better_on", "worse_on",
    "undecided_on", "few_searches_on", "cancelled_on",
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
        ``few_searches_on``: those of the undecided where too few searches were confirmed; ``cancelled_on``: those where
        one did better, but is a case of the other, whose search was then too small (with the gain, and of which limit).
    """
    rivals = dict.fromkeys(s.optimizer for contest in contests for s in contest.studies if s.optimizer != optimizer)
    kinds = dict.fromkeys(map(kind_of, contests))
    groups = {ALL: [*contests]}
    beyond = [contest for contest in contests if kind_of(contest) not in (IMAGE, UNKNOWN_KIND)]
    if beyond:
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
    once, cancelled = [], []
    for contest in contests:
        row = between(pairs, contest.workload, optimizer, rival)
        if row is not None:
            found[str(row["verdict"])].append((contest.workload, told(row)))
            once += [contest.workload] if row["unit"] == RUNS else []
            cancelled += [(contest.workload, f"{told(row)}, {row['cancelled']}")] if row["cancelled"] else []
    groups = list(found.values())
    return (sum(map(len, groups)), *map(len, groups), *map(tuple, groups), tuple(once), tuple(cancelled))


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
    kinds = [kind for kind in dict.fromkeys(table["kind"]) if kind not in (ALL, BEYOND_IMAGES)]
    beyond = [kind for kind in kinds if kind not in (IMAGE, UNKNOWN_KIND)]
    said = []
    if not beyond:
        why = "their kind is not stored" if kinds == [UNKNOWN_KIND] else "no workload is known to be"
        said.append(f"What holds beyond images cannot be told: {why}.")
    told_apart = [BEYOND_IMAGES, *kinds] if len(beyond) > 1 else kinds
    for kind in told_apart:
        rows = table[(table["kind"] == kind) & (table["workloads"] > 0)].to_dict("records")
        heading = f"On {kind} tasks"
        if kind == BEYOND_IMAGES or beyond == [kind]:
            heading = f"Beyond images ({listing(beyond)})"
        elif kind == UNKNOWN_KIND:
            heading = "Where the kind of task is not told"
        if not rows:
            said.append(f"{heading}: cannot be told, for no winner of {optimizer} and of another was confirmed.")
            continue
        single = list(dict.fromkeys(name for row in rows for name in row["few_searches_on"]))
        few = f"fewer than {ENOUGH} searches of each were confirmed on {listing(single)}"
        if all(row["workloads"] == len(row["few_searches_on"]) for row in rows):
            said.append(f"{heading}: cannot be told, for {few}.{_cancelled(rows)}")
            continue
        once = f" Of these, {few}, which tells nothing of optimizers."
        said.append(f"{heading}, {optimizer} is {'; '.join(_against(rows))}.{once if single else ''}{_cancelled(rows)}")
    return said


def _cancelled(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Return which differences count for nothing, since one optimizer is a case of the other that lost to it."""
    listed = [f"{row['baseline']} on {name} ({why})" for row in rows for name, why in row["cancelled_on"]]
    return (
        f" Not counted, for the search of what contains the other was too small: {listing(listed)}." if listed else ""
    )


def _against(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Return whom it is better and worse than, and of whom no difference is shown on any workload."""
    parts, even = [], []
    for row in rows:
        decided = [
            f"{word} than {row['baseline']} on {row[word]} of {row['workloads']} ({', '.join(on)})"
            for word in (BETTER, WORSE)
            if (on := [f"{name}: {gain}" for name, gain in row[f"{word}_on"]])
        ]
        if not decided:
            even.append(f"{row['baseline']} ({number_of(row['workloads'], 'workload')})")
            continue
        open_ones = f", undecided on {row['undecided']}" if row["undecided"] else ""
        parts.append(f"{' and '.join(decided)}{open_ones}")
    return [*parts, *([f"not told apart from {listing(even)}"] if even else [])]
