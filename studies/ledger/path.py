"""From the default to a winner, one parameter after the other: what is run beside a winner, on the same seeds.

The order is given, and the values along it are measured: one configuration a parameter that differs, where racing all
that could be changed next (Fawcett and Hoos 2016) takes the square of that. Whatever the order, each measured step is
what that change gained there; a surrogate only proposes which order to measure (Biedenkapp et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.schema import DEFAULT, STEP
from studies.campaign.plan import StudyPlan
from studies.ledger.repeats import Beside

_ROUNDING = 1e-9  # of a value that was turned into search coordinates and back


def default_of(plan: StudyPlan) -> dict[str, Any]:
    """Return the searched part of the default, as a trial of the search has it."""
    space = plan.space
    return space.decode(space.encode(space.nearest(space.default)))


def differing(default: dict[str, Any], winner: dict[str, Any]) -> list[str]:
    """Return the parameters in which a winner is not the default."""
    return [name for name, value in default.items() if not _same(value, winner.get(name))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return bool(one == other)


def in_order(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return ``names`` as ``order`` has them; those that it lacks come last, as they stand."""
    first = [name for name in dict.fromkeys(order) if name in names]
    return [*first, *(name for name in names if name not in first)]


def from_default(plan: StudyPlan, winner: dict[str, Any], number: int, order: Sequence[str] | None) -> list[Beside]:
    """Return the default, and what lies between it and a winner; nothing where the winner is the default.

    Args:
        plan: Of the search.
        winner: Its stored values.
        number: Of its trial.
        order: In which parameters are changed; ``None`` for the default alone. The last step is the winner itself,
            which has its runs.
    """
    default = default_of(plan)
    changed = differing(default, winner)
    if not changed:
        return []
    found, params = [Beside(DEFAULT, default)], dict(default)
    for step, name in enumerate(in_order(changed, order)[:-1] if order is not None else (), start=1):
        params = {**params, name: winner[name]}
        found.append(Beside(STEP, params, {"step": step, "changed": name, "path_to": number}))
    return found
