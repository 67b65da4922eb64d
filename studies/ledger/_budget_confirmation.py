"""The ledger of the confirmation that ends a search with a budget: as many seeds as the time allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from analysis.schema import CONFIRM
from studies.campaign.plan import StudyPlan
from studies.ledger._book import Facts
from studies.ledger._budget import OutOfTimeError
from studies.ledger._clock import Clock
from studies.ledger._confirmation import ConfirmationLedger
from studies.ledger._pace import CLOSING_SECONDS, FEWEST_SEEDS
from studies.ledger._seeds import fresh_seeds
from studies.storage.database import find_study
from studies.storage.durability import Durability
from studies.trials import Assignment, Tally

_OVERDRAWN_SHARE = 0.04  # of the budget, at which a run is given up


@dataclass(frozen=True, slots=True)
class Outcome:
    """A winner and its confirmation runs, in plain data.

    Attributes:
        number: of the trial in the search.
        optimizer: its key.
        params: its configuration as the database has it.
        arguments: what the optimizer is called with, and ``batch_size``.
        tuned: its value in the search.
        validation: values of the complete runs, seed by seed.
        test: likewise on test data; empty where there are none.
        broken: runs that diverged or failed.
    """

    number: int
    optimizer: str
    params: Mapping[str, Any]
    arguments: Mapping[str, Any]
    tuned: float
    validation: tuple[float, ...] = ()
    test: tuple[float, ...] = ()
    broken: int = field(default=0)


class BudgetConfirmationLedger(ConfirmationLedger):
    """Asks, reports and tells for the confirmation runs of one study's winner, on fresh seeds until the time is up.

    The fewest seeds that make sense are run whatever the time says. The search has ended by its own rules.

    Args:
        url: of the storage.
        campaign: the whole configuration, as the storage has it.
        plan: that of the search.
        versions: of the software that computes the values.
        clock: the time; it knows what earlier drivers spent.
        seeds: number of fresh seeds, from 1.
        test: whether the workload has test data.
        durability: how long the storage may be away, and where checkpoints are.
    """

    _command = "tune"

    def __init__(
        self,
        url: str,
        campaign: Mapping[str, Any],
        plan: StudyPlan,
        versions: Mapping[str, str],
        *,
        clock: Clock,
        seeds: int,
        test: bool,
        durability: Durability | None = None,
    ) -> None:
        self._clock = clock
        self._plan = plan
        self._began: dict[int, float] = {}  # when a running run was asked for, by number
        self._run_seconds: float | None = None  # of the quickest run: the first one waits for its worker
        super().__init__(url, campaign, [plan], versions, seeds=seeds, test=test, durability=durability)

    def _as_begun(self, plan: StudyPlan) -> StudyPlan:
        self._plan = super()._as_begun(plan)
        return self._plan

    def _judge(self, tallies: Sequence[Tally]) -> None:
        """Nothing: the search is over when this is made."""

    def _kept(self) -> dict[str, Any]:
        return {"spent_seconds": round(self._clock.spent(), 1)}

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask for, or no time for it (runs may still run)."""
        with self._lock:
            return super().finished or (self._enough() and self._is_time_up())

    def ask(self) -> Assignment | None:
        """The next run, or ``None`` when there is nothing left, or no time for it."""
        with self._lock:
            assignment = None if self.finished else super().ask()
            if assignment is not None:
                self._began[assignment.number] = self._clock.now()
            return assignment

    def complete(self, assignment: Assignment, facts: Facts) -> None:
        """The run ran its whole budget."""
        with self._lock:
            took = self._clock.now() - self._began.pop(assignment.number)
            self._run_seconds = took if self._run_seconds is None else min(took, self._run_seconds)
            super().complete(assignment, facts)

    def _enough(self) -> bool:
        [tally] = self.tallies()
        return tally.done + tally.running >= FEWEST_SEEDS

    def _is_time_up(self) -> bool:
        return self._clock.left() - CLOSING_SECONDS < (self._run_seconds or 0.0)

    def look(self) -> None:
        """Looks at the clock.

        Raises:
            OutOfTimeError: the budget is overdrawn, a run still runs, and there are enough without it.
        """
        super().look()
        with self._lock:
            [tally] = self.tallies()
            overdrawn = self._clock.limited and self._clock.left() < -_OVERDRAWN_SHARE * self._clock.budget
            if overdrawn and tally.running and tally.done >= FEWEST_SEEDS:
                raise OutOfTimeError

    def seconds_left(self) -> float | None:
        """Seconds that are left of the budget, or ``None`` where the budget is no time."""
        return max(0.0, self._clock.left()) if self._clock.limited else None

    def outcome(self) -> Outcome:
        """The winner and what its runs gave so far."""
        self.flush()
        [winner] = self._winners[self._plan.name]
        study_id = find_study(self._storage, self._plan.name + CONFIRM)
        assert study_id is not None
        wanted = fresh_seeds(self._plan.seed, self._plan.workload, self._seeds)
        runs = [
            run
            for run in self._stored_trials(study_id)
            if run.user_attrs.get("confirms") == winner.number and run.user_attrs.get("seed") in wanted
        ]
        through = [run for run in runs if run.state == TrialState.COMPLETE and run.value is not None]
        tests = (run.user_attrs.get("test_metric") for run in through)
        [tally] = self.tallies()
        assert winner.value is not None
        return Outcome(
            number=winner.number,
            optimizer=self._plan.space.optimizer_of(winner.params),
            params=winner.params,
            arguments=self._plan.space.arguments(winner.params),
            tuned=winner.value,
            validation=tuple(float(run.value) for run in through if run.value is not None),
            test=tuple(float(test) for test in tests if test is not None),
            broken=tally.diverged + tally.failed,
        )
