"""The configurations that a search begins with, before the sampler has learned anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces import ConditionalSpace, SearchSpace
from search_spaces.errors import UserError


def recommended(spaces: Mapping[str, SearchSpace], workload: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what to try, best bet first: pairs of an optimizer and a stored configuration of its own space.

    The portfolio that ships with the package comes first (``sofim.recommended``), without what this very workload
    recommended: a search there would be told its own answer. Then comes the default of each optimizer's space, what
    everybody would try.

    Args:
        spaces: Those to choose from, by the optimizer's key.
        workload: What is to be trained.
    """
    from sofim.recommended import shipped

    known = shipped()
    portfolio = [
        (optimizer, known["optimizers"][optimizer]["workloads"][origin]["params"])
        for optimizer, origin in ((member["optimizer"], member["workload"]) for member in known["portfolio"])
        if optimizer in spaces and origin != workload
    ]
    return [*portfolio, *((optimizer, space.default) for optimizer, space in spaces.items())]


def initial_configurations(space: ConditionalSpace, workload: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the configurations of ``space`` to begin with, and a note on each left out since it lies outside."""
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    for optimizer, params in recommended(space.spaces, workload):
        try:
            start = _inside(space, optimizer, params)
        except UserError as error:
            notes.append(f"A recommended configuration of {optimizer} is left out: {error}.")
            continue
        if start not in found:
            found.append(start)
    return found, notes


def _inside(space: ConditionalSpace, optimizer: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without its fixed values.

    Raises:
        UserError: It lies outside ``space``.
    """
    if optimizer not in space.spaces:
        raise UserError("it is not among the optimizers")
    whole = space.of(optimizer, params)
    space.encode(whole)  # looks at every value
    return {name: whole[name] for name in space.stored_distributions(whole)}
