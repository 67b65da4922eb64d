"""What a search found, once its winner is confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.optimizers import custom_optimizers
from search_spaces import BATCH_SIZE, OF_TRAINING
from studies.commands.find import existing
from studies.commands.tuning._tuned import Estimate, Tried, Tuned, code_lines, outcomes

if TYPE_CHECKING:
    from analysis.comparison.tuned import Tuned as TunedOptimizers
    from studies.commands.tuning._plan import Search
    from studies.ledger import ConfirmedWinner
    from studies.trials import Tally


def tuned_of(search: Search, storage: str, found: ConfirmedWinner, tally: Tally, ended: str, seconds: float) -> Tuned:
    """Return what a search found, all of it from the storage.

    Args:
        search: That has ended.
        storage: Its URL.
        found: The winner and its confirmation runs.
        tally: How the trials ended.
        ended: Why there are no more.
        seconds: Spent, by all drivers.
    """
    plan = search.plan()
    tried = _tried(plan.name, storage)
    winner = tried.table.set_index("optimizer").loc[found.optimizer]
    of_function = search.resolved.plan.spaces[found.optimizer].of_function
    return Tuned(
        study=plan.name,
        workload=search.workload,
        optimizer=found.optimizer,
        arguments={key: value for key, value in found.arguments.items() if of_function or key not in OF_TRAINING},
        batch_size=None if of_function else int(found.arguments[BATCH_SIZE]),
        metric=plan.metric,
        direction=plan.direction,
        metric_split=plan.metric_split,
        validation=_estimate(winner, "validation", found.validation),
        test=_estimate(winner, "test", found.test) if found.test else None,
        searched=found.tuned,
        seeds=search.seeds,
        broken=found.broken,
        trials=outcomes(tally),
        ended=ended,
        seconds=seconds,
        code=code_lines(found, custom_optimizers(search.stored()), of_function=of_function, schedule=search.schedule),
        optimizers=tuple(_row(row) for row in tried.table.to_dict("records")),
        compared=tried.sentences,
    )


def _estimate(row: Any, name: str, values: tuple[float, ...]) -> Estimate:
    return Estimate(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]), values)


def _tried(study: str, storage: str) -> TunedOptimizers:
    """Return what the search found of each optimizer, from the storage."""
    from analysis.comparison.tuned import tuned
    from analysis.load import confirmations, trials
    from analysis.load import study as study_called

    with existing(storage) as opened:
        found = study_called(opened, study)
        return tuned(found, trials(opened, [found]), confirmations(opened, [found]))


def _row(row: Mapping[Any, Any]) -> Tried:
    return Tried(
        optimizer=str(row["optimizer"]),
        best=float(row["best"]),
        trials=int(row["trials"]),
        complete=int(row["complete"]),
        seeds=int(row["runs"]),
        broken=int(row["runs_broken"]),
        validation=Estimate(row["validation"], row["validation_low"], row["validation_high"]),
        test=Estimate(row["test"], row["test_low"], row["test_high"]),
        params=row["params"],
    )
