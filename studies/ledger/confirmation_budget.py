"""When the confirmation of a search with a budget is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies.ledger.budget import CLOSING_SECONDS, FEWEST_SEEDS, SPENT, Clock, OutOfTimeError
from studies.ledger.ledger import Rule
from studies.ledger.study import Facts, StudyLedger
from studies.trials import Assignment, Outcome

_OVERDRAWN_SHARE = 0.04  # of the budget, at which a confirmation run is given up


class ConfirmationBudget(Rule):
    """Ends the confirmation of one study's winners when the time is up, but not before the fewest seeds were run.

    Args:
        clock: The time; it knows what earlier drivers spent.
        seeds: That were asked for of each winner; without them there is one winner.
    """

    _study: StudyLedger
    _fewest = FEWEST_SEEDS  # runs, of all winners

    def __init__(self, clock: Clock, seeds: int | None = None) -> None:
        self.clock = clock
        self._seeds = seeds
        self._began: dict[int, float] = {}  # when a running run was asked for, by number
        self._run_seconds: float | None = None  # of the quickest run: the first one waits for its worker

    def kept(self) -> Mapping[str, Any]:
        """Return what was spent."""
        return {SPENT: round(self.clock.spent(), 1)}

    def begin(self, studies: Sequence[StudyLedger]) -> None:
        """Hear which study it is about."""
        [self._study] = studies
        asked_for = self._study.plan.trials or 0
        winners = max(1, asked_for // self._seeds) if self._seeds else 1
        self._fewest = min(FEWEST_SEEDS, self._seeds or FEWEST_SEEDS) * winners

    def is_over(self) -> bool:
        """Return whether there is no time for another run, and enough were run."""
        tally = self._study.tally()
        enough = tally.done + tally.running >= self._fewest
        return enough and self.clock.left() - CLOSING_SECONDS < (self._run_seconds or 0.0)

    def asked(self, assignment: Assignment) -> None:
        """Note when a run was asked for."""
        self._began[assignment.number] = self.clock.now()

    def ended(self, assignment: Assignment, outcome: Outcome, facts: Facts) -> tuple[Outcome, Facts]:
        """Learn what a run takes."""
        if outcome == "complete":
            took = self.clock.now() - self._began.pop(assignment.number)
            self._run_seconds = took if self._run_seconds is None else min(took, self._run_seconds)
        return outcome, facts

    def look(self) -> None:
        """Look at the clock.

        Raises:
            OutOfTimeError: The budget is overdrawn, a run still runs, and there are enough without it.
        """
        tally = self._study.tally()
        overdrawn = self.clock.limited and self.clock.left() < -_OVERDRAWN_SHARE * self.clock.budget
        if overdrawn and tally.running and tally.done >= self._fewest:
            raise OutOfTimeError

    def seconds_left(self) -> float | None:
        """Return the seconds that are left of the budget, or ``None`` where the budget is no time."""
        return max(0.0, self.clock.left()) if self.clock.limited else None
