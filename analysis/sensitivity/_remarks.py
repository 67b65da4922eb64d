"""What was done with the trials of a study, and what is unusual about their values, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FAR = 100.0  # times what training moved, or what the better values span: values beyond are of another kind
_CLUSTER = 3  # values that lie close together not by chance


def sentence(counts: Mapping[str, int], moved: int, left: int, how: str) -> str:
    """Return what was done, for a reader."""
    complete = counts["complete"] + counts["infinite"] + counts["penalty"]
    infeasible = f", {counts['infeasible']} infeasible" if counts["infeasible"] else ""
    listed = f"{complete} complete, {counts['pruned']} pruned{infeasible} and {counts['diverged']} diverged"
    parts = [f"{listed} trial is used" if sum(counts.values()) == 1 else f"{listed} trials are used"]
    if how:
        parts.append(how)
    if counts["diverged"]:
        parts.append("a diverged trial counts as the worst there is")
    if left:
        others = (
            "1 other (failed, lost, running or without a value) is"
            if left == 1
            else (f"{left} others (failed, lost, running or without a value) are")
        )
        parts.append(f"{others} left out")
    if moved:
        parts.append(f"{moved} extremely bad value(s) count as the worst of the others")
    return "; ".join(parts) + "."


def remarks(
    counts: Mapping[str, int], perfect: int, values: Floats, sign: float, penalties: Sequence[float]
) -> Iterator[str]:
    """Return what is unusual about the values; ``values`` are the ordinary ones."""
    valued = ", and counted as the worst of the others" if len(values) else ""
    if number := counts["infeasible"]:
        yield (
            f"{number} {_trials(number)} infeasible (a constraint is above 0 or NaN; without constraints a trial is "
            f"feasible, as in Optuna): never the best{valued}."
        )
    if number := counts["infinite"]:
        yield f"{number} complete {_trials(number)} infinitely bad ({-sign * math.inf:g}){valued}."
    if perfect:
        yield (
            f"{perfect} complete {_trials(perfect)} infinitely good ({sign * math.inf:g}), and the best to Optuna and "
            "here; no scale holds such a value, so that for the sensitivity it is that of the best of the others."
        )
    if number := counts["penalty"]:
        shared = " or ".join(f"{penalty:.3g}" for penalty in reversed(penalties))
        yield (
            f"{number} complete trials are far worse than all others, and several have the same value ({shared}), as a "
            "penalty or a model that learns nothing gives. They count as the worst of the others."
        )
    ordered = np.sort(values)[::-1]
    with np.errstate(over="ignore"):  # then it is far
        spans, gaps = ordered[:1] - ordered[:-1], ordered[:-1] - ordered[1:]
    far = 1 + np.flatnonzero((spans > 0) & (gaps / FAR > spans))
    if len(far := far[far >= _CLUSTER]):
        good = int(far[0])
        yield (
            f"The values are of two kinds far apart: {good} between {sign * ordered[0]:.3g} and "
            f"{sign * ordered[good - 1]:.3g}, {len(ordered) - good} at {sign * ordered[good]:.3g} and worse. What is "
            "said here is of which kind a configuration is; differences among the good ones cannot be told beside that."
        )


def _trials(number: int) -> str:
    return "trial is" if number == 1 else "trials are"
