"""One optimizer against each other by kind of task: how probably it is ahead there, and counts of the verdicts.

The verdicts are those of `analysis.comparison.pairwise`: Holm's correction runs over all pairs of all workloads, so the
probability that any of these counts has a difference that is not there is at most 5 %. Where searches were not repeated
there is no verdict on optimizers, and the workload counts as undecided.

Three searches a workload are too few for that correction to leave much. All workloads of a kind together say more: the
mean over them of the probability that a search of one optimizer does better than one of the other, whose intervals
hold 95 % together for the optimizers that the one is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.comparison.limits import limit
from analysis.comparison.pairwise import BETTER, NOT_SHOWN, WORSE, between, chance
from analysis.comparison.searches import ENOUGH, RUNS, repeated
from analysis.comparison.verdict import told
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import LEVEL, UNKNOWN
from analysis.text import listing, percent
from search_spaces.errors import number_of

COLUMNS = (
    "kind", "optimizer", "baseline", "workloads", "better", "worse", "undecided", "better_on", "worse_on",
    "undecided_on", "few_searches_on", "cancelled_on", "chance", "chance_low", "chance_high", "searched_on",
    "chance_cancelled",
)  # fmt: skip
IMAGE = "image"
UNKNOWN_KIND = "kind not told"
_EVEN = "not told apart from"
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
        one did better, but is a case of the other, whose search was then too small (with the gain, and of which limit);
        ``chance`` (that a search of the optimizer does better than one of the baseline, on the mean of workloads),
        ``chance_low``, ``chance_high`` (95 % together for the baselines of a kind); ``searched_on``: the number of
        workloads where enough searches of all were confirmed, which it is of (NaN where there is none);
        ``chance_cancelled``: in which limit the one that is behind is the other, so that its search was too small.
    """
    rivals = dict.fromkeys(s.optimizer for contest in contests for s in contest.studies if s.optimizer != optimizer)
    kinds = dict.fromkeys(map(kind_of, contests))
    groups = {ALL: [*contests]}
    beyond = [contest for contest in contests if kind_of(contest) not in (IMAGE, UNKNOWN_KIND)]
    if beyond:
        groups[BEYOND_IMAGES] = beyond
    groups |= {kind: [contest for contest in contests if kind_of(contest) == kind] for kind in kinds}
    rows = [
        (kind, optimizer, rival, *_counts(own, pairs, optimizer, rival), *_chance(own, optimizer, rival, len(rivals)))
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


def _chance(contests: Sequence[WorkloadRuns], optimizer: str, rival: str, rivals: int) -> tuple[object, ...]:
    """Return the columns of `by_kind` on all workloads of a kind together."""
    inside = []
    for contest in contests:
        both = [study for study in contest.confirmed() if study.optimizer in (optimizer, rival)]
        if len(both) == 2 and repeated(contest):
            inside.append(contest)
    found = chance(inside, optimizer, rival, 1 - (1 - LEVEL) / rivals) if inside else (math.nan, *UNKNOWN)
    larger, smaller = (rival, optimizer) if found[1] > 0.5 else (optimizer, rival)
    decided = found[1] > 0.5 or found[2] < 0.5
    limits = {limit(contest, larger, smaller) for contest in inside}
    return *found, len(inside), limits.pop() if decided and len(limits) == 1 else ""


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
    even: list[str] = []  # kinds of one workload, where nothing is told apart
    for kind in told_apart if beyond == kinds or len(kinds) < 2 else [ALL, *told_apart]:
        rows = table[(table["kind"] == kind) & (table["workloads"] > 0)].to_dict("records")
        heading = f"On {kind} tasks"
        if kind == ALL:
            heading = "On all workloads"
        elif kind == BEYOND_IMAGES or beyond == [kind]:
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
        undecided = all(row["workloads"] == 1 and not _decided(row) for row in rows)
        if undecided and len(beyond) > 1 and not _cancelled(rows):
            even.append(kind)
        else:
            said.append(f"{heading}, {_chances(rows)}{once if single else ''}{_cancelled(rows)}")
    if even:
        each = ", of one workload each" if len(even) > 1 else ", of one workload"
        said.append(f"On {listing(even)} tasks{each}, {optimizer} is {_EVEN} any of the others.")
    return said


def _cancelled(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Return which differences count for nothing, since one optimizer is a case of the other that lost to it."""
    listed = [f"{row['baseline']} on {name} ({why})" for row in rows for name, why in row["cancelled_on"]]
    listed += [
        f"{row['baseline']} on the mean ({_ends(row)}, {row['chance_cancelled']})"
        for row in rows
        if row["chance_cancelled"] and row["searched_on"] > 1
    ]
    return (
        f" Not counted, for the search of what contains the other was too small: {listing(listed)}." if listed else ""
    )


def _ends(row: Mapping[Any, Any]) -> str:
    return percent(row["chance"], row["chance_low"], row["chance_high"])


def _chances(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Return whom the optimizer is ahead of and behind on the mean of workloads, and where a verdict fell by itself."""
    optimizer = str(rows[0]["optimizer"])
    groups: dict[str, list[str]] = {"ahead of": [], "behind": [], _EVEN: []}
    for row in rows:
        word = "ahead of" if row["chance_low"] > 0.5 else "behind" if row["chance_high"] < 0.5 else _EVEN
        told_here = not math.isnan(row["chance"]) and not row["chance_cancelled"]
        groups[word if told_here else _EVEN].append(f"{row['baseline']}{f' ({_ends(row)})' if told_here else ''}")
    alone = [text for row in rows for text in _decided(row)]
    if (most := max(row["searched_on"] for row in rows)) < 2:  # of one workload its own verdict is to be had
        even = [row["baseline"] for row in rows if not _decided(row)]
        return f"{optimizer} is {'; '.join([*alone, *([f'{_EVEN} {listing(even)}'] if even else [])])}."
    parts = [f"{word} {listing(names)}" for word, names in groups.items() if names]
    fewest = min(row["searched_on"] for row in rows if row["searched_on"])
    between = f"{fewest} to " if fewest < most else ""
    where = f"on the mean of {between}{number_of(most, 'workload')}"
    over = f"how probably a search of it does better than one of theirs, {where}, 95 % for all of these together"
    told_alone = f" On workloads by themselves it is {'; '.join(alone)}." if alone else ""
    return f"{optimizer} is {'; '.join(parts)} (in brackets: {over}).{told_alone}"


def _decided(row: Mapping[Any, Any]) -> list[str]:
    """Return on which workloads, taken by themselves, it is better and worse than a baseline."""
    return [
        f"{word} than {row['baseline']} on {row[word]} of {row['workloads']} ({', '.join(on)})"
        for word in (BETTER, WORSE)
        if (on := [f"{name}: {gain}" for name, gain in row[f"{word}_on"]])
    ]
