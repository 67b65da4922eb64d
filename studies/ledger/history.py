"""What a trial told, epoch by epoch, as it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def columns(history: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Return a column for each thing that a record tells, an entry an epoch: ``None`` where it is not told."""
    names = dict.fromkeys(name for record in history for name in record)
    return {name: [jsonable(record.get(name, math.nan)) for record in history] for name in names}


def evaluations(history: Sequence[Mapping[str, float]]) -> int | None:
    """Return the gradient evaluations of a trial, ``None`` of a training function, which does not tell them."""
    if not history:
        return 0
    return int(history[-1]["gradient_evaluations"]) if "gradient_evaluations" in history[-1] else None


def jsonable(entry: float) -> float | None:
    """Return ``entry``; JSON has no NaN and no infinity, a history has ``None`` there."""
    return entry if math.isfinite(entry) else None
