"""Training functions in a campaign: search spaces without an optimizer, and what a person's own loop cannot be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError, shown, suggestion

if TYPE_CHECKING:
    from sofim import OptimizerSpec
    from studies.campaign.model import Campaign
    from studies.workloads import TrainingFunction, Workload


def without_optimizer(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of search spaces that are nobody's but a training function's: no optimizer is called so.

    Whether the workloads are training functions only their modules tell; one's own must be among them.

    Args:
        fields: Of a campaign, as a person or the database has them.
    """
    spaces, tables, workloads = (fields.get(key) for key in ("search_space", "optimizer", "workloads"))
    if not (isinstance(spaces, Mapping) and isinstance(workloads, list | tuple)):
        return ()
    if not any(isinstance(name, str) and ":" in name for name in workloads):
        return ()
    known = {*SEARCH_SPACES, *(tables if isinstance(tables, Mapping) else ())}
    listed = fields.get("optimizers")
    names = listed if isinstance(listed, list | tuple) else ()
    return tuple(name for name, table in spaces.items() if table and name in names and name not in known)


def spaces_without_optimizer(campaign: Campaign) -> tuple[str, ...]:
    """Return what `without_optimizer` does, of a campaign that was read."""
    return without_optimizer(
        {key: getattr(campaign, key) for key in ("search_space", "optimizer", "workloads", "optimizers")}
    )


def check_functions(
    campaign: Campaign, workloads: Mapping[str, Workload | TrainingFunction], rows: Mapping[str, OptimizerSpec]
) -> list[str]:
    """Refuse a campaign that asks of a training function, or of a search space without an optimizer, what it cannot do.

    Args:
        campaign: Which.
        workloads: By their names in the campaign.
        rows: Of its optimizers.

    Returns:
        What the person should know before it runs, a line each.

    Raises:
        UserError: It does.
    """
    from studies.workloads import TrainingFunction, check_function

    alone = spaces_without_optimizer(campaign)
    functions = {name: workload for name, workload in workloads.items() if isinstance(workload, TrainingFunction)}
    others = [name for name in workloads if name not in functions]
    known = (*SEARCH_SPACES, *(name for name, table in campaign.optimizer.items() if table))
    if alone and others:
        raise UserError(
            f"optimizers: {alone[0]} is no optimizer that is known, and its search space alone is for a training "
            f"function, which {others[0]} is not{suggestion(alone[0], known)}; known are "
            f"{', '.join(known)}; your own needs a table [optimizer.{alone[0]}]"
        )
    for key in ("schedule", "warmup") if alone else ():
        asked = getattr(campaign, key)
        if asked not in ("constant", 0.0):
            raise UserError(
                f"{key} = {shown(list(asked) if isinstance(asked, tuple) else asked)}: {alone[0]} is a search space "
                "without an optimizer, whose learning rate could follow it; leave it out, and let the training "
                "function do it"
            )
    for key in ("amp", "resplit") if functions else ():
        if getattr(campaign, key):
            raise UserError(
                f"{key} = true: {next(iter(functions))} is a training function, which computes and reads its data "
                "itself; leave it out"
            )
    for name, workload in functions.items():
        check_function(workload)
        _check_loop(name, workload, [row for key, row in rows.items() if key not in alone])
    meant = [(name, suggestion(name, known)) for name in alone]
    return [f"{name}: no optimizer is called so, only a search space{near}" for name, near in meant if near] + [
        f"{name}: a training function; that it yields the metric is seen in the first epoch of its first trial, "
        "nothing of it is run before."
        for name in functions
    ]


def _check_loop(name: str, workload: TrainingFunction, rows: Sequence[OptimizerSpec]) -> None:
    """Refuse optimizers that need of a loop what the person does not say that theirs does."""
    from studies.workloads._function import NEEDS

    lacking = {row.key: [need for need in NEEDS if getattr(row, need) and need not in workload.serves] for row in rows}
    needs = {key: found for key, found in lacking.items() if found}
    if needs:
        key, found = next(iter(needs.items()))
        rest = [row.key for row in rows if row.key not in needs]
        remedy = f"leave out what needs more than a plain loop: --optimizers {','.join(rest)}; or " if rest else ""
        raise UserError(
            f"workload {name}: {key} needs {' and '.join(NEEDS[need] for need in found)}, which a plain loop does not "
            f"have; {remedy}have the loop do it and say so in its TrainingFunction: serves = "
            f"({', '.join(map(repr, found))},)"
        )
