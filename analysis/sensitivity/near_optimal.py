"""Does the best value of a parameter move from workload to workload?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.sensitivity.findings import Findings
from analysis.sensitivity.robustness import ENDS, RIDGE
from analysis.sensitivity.sentences import widths
from analysis.study import Study
from analysis.text import short
from search_spaces.errors import number_of

COLUMNS = ("optimizer", "parameter", "workload", "study", "loss_percent", *ENDS)


def near_optimal(studies: Sequence[Study], findings: Sequence[Findings]) -> pd.DataFrame:
    """Return near-optimal intervals of every parameter, one row a study whose surrogate resolves them.

    Args:
        studies: Of one campaign.
        findings: Theirs, in the same order.

    Returns:
        Columns: ``optimizer``, ``parameter``, ``workload``, ``study``, ``loss_percent`` (5, or 10 where 5 is not
        resolved), and ``best``, ``low``, ``high`` with their ends as
        :func:`analysis.sensitivity.robustness.robustness` has them.
    """
    rows = []
    for study, found in zip(studies, findings, strict=True):
        table = found.robustness
        if not len(table) or not table["resolved"].astype(bool).any():
            continue
        loss, near = widths(table)
        for row in near.to_dict("records"):
            if row["parameter"] != RIDGE:
                ends = (row[name] for name in ENDS)
                rows.append((study.optimizer, row["parameter"], study.workload, study.name, loss, *ends))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ENDS:
        table[name] = table[name].astype(object)
    order = {key: place for place, key in enumerate(dict.fromkeys(study.optimizer for study in studies))}
    return table.sort_values("optimizer", key=lambda keys: keys.map(order), kind="stable").reset_index(drop=True)


def moves(table: pd.DataFrame, optimizers: Sequence[str], num_workloads: int) -> list[str]:
    """Return sentences on each optimizer's numeric parameters: where the intervals meet, and where they do not.

    That it moves is said only where even the outermost ends over the refits do not meet.

    Args:
        table: Of `near_optimal`.
        optimizers: Of the campaign.
        num_workloads: Of the campaign; with one there is nothing to say.
    """
    if num_workloads < 2:
        return []
    said, untold = [], []
    numbers = table[table["low"].notna()]
    for optimizer in optimizers:
        own = numbers[numbers["optimizer"] == optimizer]
        shared: dict[int, list[str]] = {}  # by the number of workloads on which the parameter is known
        moved, unsure = [], []
        count = own["workload"].nunique()
        if count < 2:
            untold.append(optimizer)
            continue
        for name, rows in own.groupby("parameter", sort=False):
            low, high, known = max(rows["low"]), min(rows["high"]), rows["workload"].nunique()
            if known < 2:
                unsure.append(str(name))
            elif low <= high:
                shared.setdefault(known, []).append(f"{name} {short(low)} to {short(high)}")
            elif max(rows["low_low"]) > min(rows["high_high"]):
                moved.append(f"{name} ({_ends(rows)})")
            else:
                unsure.append(str(name))
        parts = []
        for known, texts in sorted(shared.items(), reverse=True):
            on = f"on all {count}" if known == count else f"on the {known} that tell"
            parts.append(f"moved alone, these are near-optimal {on}: {', '.join(texts)}")
        if moved:
            parts.append(f"the best value moves: {', '.join(moved)}")
        if unsure:
            parts.append(f"it cannot be told whether the best value moves: {', '.join(unsure)}")
        whole = number_of(num_workloads, "workload")
        of = whole if count == num_workloads else f"{count} of {whole}"
        said.append(f"{optimizer}, on {of}: {'; '.join(parts)}.")
    if untold:
        said.append(
            f"Whether the best values move from workload to workload cannot be told of {', '.join(untold)}: on fewer "
            "than two workloads the surrogate resolves what is near the best."
        )
    return said


def _ends(rows: pd.DataFrame) -> str:
    """Return the two workloads that are farthest apart."""
    listed = rows.to_dict("records")
    least = min(listed, key=lambda row: row["high"])
    most = max(listed, key=lambda row: row["low"])
    return f"at most {short(least['high'])} on {least['workload']}, at least {short(most['low'])} on {most['workload']}"
