"""A winner and its confirmation runs, in plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from studies.ledger.counting import is_asked_again
from studies.ledger.ledger import Ledger
from studies.ledger.repeats import CONFIRMS


@dataclass(frozen=True, slots=True)
class ConfirmedWinner:
    """A winner and its confirmation runs, in plain data.

    Attributes:
        number: Of the trial in the search.
        optimizer: Its key.
        params: Its configuration as the database has it.
        arguments: What the optimizer is called with, and ``batch_size``.
        tuned: Its value in the search.
        validation: Values of the complete runs, seed by seed.
        test: Likewise on test data; empty where there are none.
        broken: Runs that diverged or failed.
    """

    number: int
    optimizer: str
    params: Mapping[str, Any]
    arguments: Mapping[str, Any]
    tuned: float
    validation: tuple[float, ...] = ()
    test: tuple[float, ...] = ()
    broken: int = 0


def confirmed_winner(ledger: Ledger) -> ConfirmedWinner:
    """Return the winner of the one study that ``ledger`` confirms, and what its runs gave so far."""
    [study], winner = ledger.studies.values(), ledger.winners[0]
    every = [run for run in ledger.stored_trials(study.plan.name) if study.source.counts(run)]
    runs = [run for run in every if run.user_attrs.get(CONFIRMS) == winner.number and not is_asked_again(run)]
    through = [run for run in runs if run.state == TrialState.COMPLETE and run.value is not None]
    tests = (run.user_attrs.get("test_metric") for run in through)
    broken = [run for run in runs if run.state in (TrialState.PRUNED, TrialState.FAIL)]
    assert winner.value is not None
    return ConfirmedWinner(
        number=winner.number,
        optimizer=study.plan.space.optimizer_of(winner.params),
        params=winner.params,
        arguments=study.plan.space.arguments(winner.params),
        tuned=winner.value,
        validation=tuple(float(run.value) for run in through if run.value is not None),
        test=tuple(float(test) for test in tests if test is not None),
        broken=len(broken),
    )
