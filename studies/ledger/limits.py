"""What ends a campaign's search before its last trial: a time for all of it, trials without an improvement in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.schema import ENDED_BY
from analysis.text import in_short
from search_spaces.errors import number_of
from studies.ledger.budget import SPENT, TIME_SPENT, Clock, OutOfTimeError
from studies.ledger.ledger import Rule
from studies.ledger.study import Facts, StudyLedger
from studies.trials import Assignment, Outcome

_GRACE_SECONDS = 3.0  # for trials to come to their next epoch when the time is up, at least
_GRACE_SHARE = 0.02  # of the budget


class Limits(Rule):
    """Ends the search of a campaign when its time is spent, and that of a study when nothing improves any more.

    When the time is spent, which that of earlier drivers is part of, with a budget or without, no trial is asked for,
    and those that run are stopped at their next epoch as *interrupted*: a driver with a larger budget asks for them
    again. Trials are asked for study by study in turn, so that what is cut is cut evenly. A study that has had
    ``patience`` trials without an improvement ends alone; its trials that run go on to their end. These are counted in
    the order in which they were asked for: a study ends after the same trial however many run at once, and through any
    restart.

    Args:
        clock: The time.
        patience: Trials of a study, without limit where it is ``None``.
    """

    def __init__(self, clock: Clock, patience: int | None = None) -> None:
        self.clock, self.patience = clock, patience
        self.reasons: dict[str, str] = {}  # by study, once the driver ends
        self.limiting: list[str] = []  # the options that a study would go on with larger ones of, likewise
        self._studies: Sequence[StudyLedger] = ()
        self._has_asked = False
        self._halted: set[tuple[str, int]] = set()

    def kept(self) -> Mapping[str, Any]:
        """Return what was spent, which a later budget counts, and at the end why studies are over."""
        spent = {SPENT: round(self.clock.spent(), 1)} if self._has_asked else {}
        return {**spent, **({ENDED_BY: self.reasons} if self.reasons else {})}

    def begin(self, studies: Sequence[StudyLedger]) -> None:
        """Hear which studies it is about."""
        self._studies = studies

    def asked(self, assignment: Assignment) -> None:
        """Hear that a trial was asked for."""
        self._has_asked = True

    def why_over(self, study: StudyLedger) -> str | None:
        """Return why no more trials of a study are asked for, ``None`` while they are."""
        best = self._fruitless_after(study)
        if best is not None:
            return f"no improvement in {number_of(self.patience or 0, 'trial')} after trial {best}"
        return f"{TIME_SPENT} ({in_short(self.clock.budget)})" if self._is_time_up() else None

    def _fruitless_after(self, study: StudyLedger) -> int | None:
        """Return after which trial a study saw no improvement for so long, once what has begun has ended."""
        if self.patience is None or study.has_lost:  # a driver that lives would let it go on to its end
            return None
        return study.fruitless_after(self.patience)

    def _is_time_up(self) -> bool:
        return self.clock.limited and self.clock.left() <= 0

    def stops(self, assignment: Assignment, record: Mapping[str, float]) -> bool:
        """Return whether the time is up for a trial; its last epoch is never cut off."""
        if int(record["epoch"]) >= assignment.epochs or not self._is_time_up():
            return False
        self._halted.add((assignment.study, assignment.number))
        return True

    def ended(self, assignment: Assignment, outcome: Outcome, facts: Facts) -> tuple[Outcome, Facts]:
        """Tell a trial that the clock stopped as one that is to be asked for again."""
        halted = (assignment.study, assignment.number) in self._halted
        return "interrupted" if outcome == "pruned" and halted else outcome, facts

    def look(self) -> None:
        """Look at the clock.

        Raises:
            OutOfTimeError: The time has been up for a while and a trial still runs.
        """
        grace = max(_GRACE_SECONDS, _GRACE_SHARE * self.clock.budget)
        if self.clock.limited and self.clock.left() < -grace and any(study.running for study in self._studies):
            raise OutOfTimeError

    def seconds_left(self) -> float | None:
        """Return the seconds until the time is spent, or ``None`` where there is no budget."""
        return max(0.0, self.clock.left()) if self.clock.limited else None

    def close(self) -> None:
        """Note which studies end before their last trial, and why."""
        for study in self._studies:
            tally, reason = study.tally(), self.why_over(study)
            if reason is not None and tally.missing:
                self.reasons[study.plan.name] = reason
                both = (("--patience", self._fruitless_after(study) is not None), ("--budget", self._is_time_up()))
                self.limiting += [option for option, ends in both if ends and option not in self.limiting]
