"""Budgets: what a search with its confirmation may take, what trials cost on the clock, and when it is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search_spaces.errors import number_of
from studies.ledger.counting import is_asked_again
from studies.ledger.ledger import Rule
from studies.ledger.study import Facts, StudyLedger
from studies.trials import Assignment, Outcome

FEWEST_SEEDS = 3  # of a confirmation: below that an interval says nothing
CLOSING_SECONDS = 5.0  # to end Ray and the process, with room to spare
_START_SECONDS = 8.0  # of the first workers, until they have shown how long it takes
_NEXT_START_SHARE = 0.65  # of that, the start of a single worker afterwards: 5.3 of 10.8 s and 6.8 of 11.2 s measured
_HANDOVER_SECONDS = 0.2  # from the end of a run to the beginning of the next
_OVERHEAD = 1.3  # of evaluation and loading on training, until trials have shown it
_ENOUGH = 3  # trials that show it
_MOST_WITHOUT_IMPROVEMENT = 60  # trials without an improvement after which none is expected, at least
SPENT = "spent_seconds"  # of the budget, by all drivers: an attribute of the study
TIME_SPENT = "the time was spent"  # what the reason begins with why a study ended so
_ENDED = "search_ended"  # why, and after how many trials
_EXTENDED = "extended_after"  # trials, when the budget was last changed
_MOST_FOR_CONFIRMING = 0.5  # of the budget, but for the fewest seeds
_PATIENCE_SECONDS = 3.0  # for a trial to come to its next epoch when the time is up, at least
_PATIENCE_SHARE = 0.02  # of the budget
_MOST_FOR_START = 0.2  # of the budget: what machines take beyond that to start is not counted
_LONGEST_START_SECONDS = 300.0  # that are waited for the first epoch, once the budget is over


class OutOfTimeError(Exception):
    """The time is up, and a trial that runs does not come to its next epoch: end it with whatever runs it."""


@dataclass(slots=True)
class Clock:
    """A budget of time that runs from the moment it is made, or from an earlier one.

    Attributes:
        budget: Seconds; infinite where the time does not matter.
        began: When this driver began, in the seconds of ``now``.
        before: Seconds that earlier drivers spent.
        now: Tells the time in seconds.
    """

    budget: float = math.inf
    began: float = field(default_factory=time.monotonic)
    before: float = 0.0
    now: Callable[[], float] = time.monotonic

    @property
    def limited(self) -> bool:
        """Return whether the budget ends."""
        return math.isfinite(self.budget)

    def resume(self, before: Mapping[str, Any], waited: float = 0.0) -> None:
        """Take up what earlier drivers spent.

        Args:
            before: The attributes of the study as they left them.
            waited: Seconds for another driver to end, which has counted them.
        """
        self.before = float(before.get(SPENT) or 0.0)
        self.began += waited

    def spent(self) -> float:
        """Return the seconds that were spent, those of earlier drivers included."""
        return self.before + self.now() - self.began

    def left(self) -> float:
        """Return the seconds that are left; below 0 when the budget is overdrawn."""
        return self.budget - self.spent()


def no_improvement_expected(done: int, since_best: int) -> bool:
    """Return whether so many trials went by without an improvement that a search may end.

    None of the last 60 and none of the last half of all trials was better: were it a coin's toss who of the trials is
    the best, the second half would have it every second time. Searches over all seven optimizers were seen to improve
    after 28, 44, 54 and 55 trials without any (``benchmarks/tune.py``).

    Optuna has ``optuna.terminator`` for this. It was looked at and not taken: its evaluators of improvement fit a
    Gaussian process to the parameters that *all* trials have, which here is the optimizer alone, and compare with a
    cross-validation error that one training run does not give; its ``BestValueStagnationEvaluator`` is this rule with a
    fixed number, and blind to pruned trials.

    Args:
        done: Trials that ended, pruned, diverged and failed ones included.
        since_best: Those of them that ended after the best one.
    """
    return since_best >= max(_MOST_WITHOUT_IMPROVEMENT, done / 2)


@dataclass(slots=True)
class Pace:
    """Seconds that trials, workers and confirmations take.

    Attributes:
        now: Tells the time in seconds.
    """

    now: Callable[[], float] = time.monotonic
    _asked: float | None = None  # when the first trial was asked for
    _start: float | None = None  # seconds until the first of the search's workers trained
    has_begun: bool = False  # whether a trial has reported
    _overheads: list[float] = field(default_factory=list)

    def asked(self) -> None:
        """Hear that a trial was asked for."""
        if self._asked is None:
            self._asked = self.now()

    def reported(self, training_seconds: float) -> None:
        """Hear that a trial reported, having trained so long."""
        self.has_begun = True
        if self._start is None and self._asked is not None:
            waited = self.now() - self._asked - training_seconds
            if waited > 0:  # else it went on from a checkpoint, and trained in an earlier driver
                self._start = waited

    def completed(self, training_seconds: float, busy_seconds: float) -> None:
        """Hear that a trial ran its whole budget."""
        if training_seconds > 0:
            self._overheads.append(max(1.0, busy_seconds / training_seconds))

    def remember(self, trial: FrozenTrial) -> None:
        """Learn from a trial that ran its whole budget in an earlier driver."""
        attributes = trial.user_attrs
        self.completed(float(attributes.get("seconds", 0.0)), float(attributes.get("busy_seconds", 0.0)))

    def excess_of_start(self, most: float) -> float:
        """Return the seconds that the start took beyond ``most``, which is what starts are held to last from now on."""
        taken = self._start or 0.0
        self._start = None if self._start is None else min(taken, most)
        return max(0.0, taken - most)

    @property
    def start_seconds(self) -> float:
        """Return what it takes until the one worker of a confirmation trains."""
        return _NEXT_START_SHARE * (_START_SECONDS if self._start is None else self._start)

    def run_seconds(self, training_seconds: float) -> float:
        """Return what a run takes that trains so long; the first one of a worker, which loads data, takes longer."""
        overhead = median(self._overheads) if len(self._overheads) >= _ENOUGH else _OVERHEAD
        return training_seconds * overhead + _HANDOVER_SECONDS

    def confirmation_seconds(self, seeds: int, training_seconds: float) -> float:
        """Return what it takes to run a configuration on so many seeds, one after the other, and to end."""
        return self.start_seconds + seeds * self.run_seconds(training_seconds) + CLOSING_SECONDS

    def seeds_that_fit(self, seconds: float, seeds: int, training_seconds: float) -> int:
        """Return how many of ``seeds`` runs fit in so many seconds, but at least the fewest that make sense."""
        room = seconds - self.confirmation_seconds(0, training_seconds)
        return max(min(FEWEST_SEEDS, seeds), min(seeds, int(room / self.run_seconds(training_seconds))))


class SearchBudget(Rule):
    """Ends the search of one study when its budget is spent, in time for its winner to be confirmed.

    The time of earlier drivers counts. Of the time, so much is kept back as the confirmation of the present winner
    takes, but for more than half of the budget only if :data:`FEWEST_SEEDS` runs take that long. When the rest is
    spent,

    - no trial is asked for any more, and those that run are stopped at their next epoch, as *interrupted*: neither the
      sampler nor the pruner judged them, and a driver with a larger budget asks them again;
    - before that, a trial is stopped that is so slow that it could not be confirmed even on the fewest seeds if it
      won. It is *pruned* (with the attribute ``too_slow``): the sampler is to learn that.

    Args:
        clock: The time.
        seeds: Of the confirmation.

    Attributes:
        reason: Why the search is over, ``None`` while it goes on.
    """

    _study: StudyLedger

    def __init__(self, clock: Clock, seeds: int) -> None:
        self.clock = clock
        self.reason: str | None = None
        self._seeds, self._fewest = seeds, min(FEWEST_SEEDS, seeds)
        self._pace = Pace(clock.now)
        self._training: dict[int, float] = {}  # seconds that a running trial has trained, by number
        self._whole: dict[int, float] = {}  # and what they will be at its end
        self._slow: set[int] = set()  # trials to be told as too slow
        self._halted: set[int] = set()  # and as interrupted
        self._extended_after = 0
        self._last_words: dict[str, Any] = {}

    # ------------------------------------------------------------------------------------------------- the database

    def kept(self) -> Mapping[str, Any]:
        """Return what was spent, and at the end why the search is over."""
        return {SPENT: round(self.clock.spent(), 1), **self._last_words}

    def resume(
        self, before: Mapping[str, Any], campaign: Mapping[str, Any], trials: Sequence[FrozenTrial]
    ) -> dict[str, Any]:
        """Take up what an earlier driver left: the search is over if it was, unless the budget is another now.

        Args:
            before: The attributes of the study as that driver left them.
            campaign: The whole configuration.
            trials: Of the study.

        Returns:
            What attributes of the study are to be from now on.
        """
        for trial in trials:
            if trial.state == TrialState.COMPLETE:
                self._pace.remember(trial)
        changes: dict[str, Any] = {}
        ended = before.get(_ENDED)
        self._extended_after = int(before.get(_EXTENDED) or 0)
        same = before.get("campaign", {}).get("budget") == campaign.get("budget")
        if ended and same:
            self.reason = str(ended["reason"])
        elif ended:
            self._extended_after = int(ended["trials"])
            changes |= {_ENDED: None, _EXTENDED: self._extended_after}
        now = dict(campaign)
        if "trials" in now:  # what was asked for before stays asked for, as far as it is there
            now["trials"] = max(now["trials"], sum(t.state.is_finished() and not is_asked_again(t) for t in trials))
        if before and before.get("campaign") != now:
            changes["campaign"] = now
        return changes

    def close(self) -> None:
        """Note why the search is over; it is written by who has the lease alone."""
        if self.reason is not None:
            self._last_words = {_ENDED: {"reason": self.reason, "trials": self._study.tally().done}}

    # ------------------------------------------------------------------------------------------------------ trials

    def begin(self, studies: Sequence[StudyLedger]) -> None:
        """Hear which study it is about."""
        [self._study] = studies

    def asked(self, assignment: Assignment) -> None:
        """Hear that a trial was asked for."""
        self._pace.asked()

    def heard(self, assignment: Assignment, record: Mapping[str, float]) -> None:
        """Learn from one epoch of a trial what trials take."""
        number, seconds = assignment.number, float(record["seconds"])
        if not self._pace.has_begun:
            self._pace.reported(seconds)
            # a busy machine starts slowly: that is no reason to end with nothing
            self.clock.began += self._pace.excess_of_start(_MOST_FOR_START * self.clock.budget)
        self._training[number] = seconds
        self._whole[number] = seconds / int(record["epoch"]) * assignment.epochs

    def stops(self, assignment: Assignment, record: Mapping[str, float]) -> bool:
        """Return whether the time is up for a trial, or it is too slow; its last epoch is never cut off."""
        number, epoch = assignment.number, int(record["epoch"])
        if not self.clock.limited or epoch >= assignment.epochs:
            return False
        self._judge()
        return self._is_halted(number, epoch) or self._is_too_slow(number)

    def _is_halted(self, number: int, epoch: int) -> bool:
        """Return whether the time is up, or will be before the next epoch of a trial ends."""
        an_epoch = self._pace.run_seconds(self._training[number] / epoch)
        if self._is_time_up(an_epoch):
            self._halted.add(number)
            return True
        return False

    def _is_too_slow(self, number: int) -> bool:
        """Return whether a trial could not be confirmed in time even on the fewest seeds, if it won."""
        whole, trained = self._whole[number], self._training[number]
        rest = self._pace.run_seconds(whole) - self._pace.run_seconds(trained)
        if rest + self._pace.confirmation_seconds(self._fewest, whole) <= self.clock.left():
            return False
        self._slow.add(number)
        return True

    def ended(self, assignment: Assignment, outcome: Outcome, facts: Facts) -> tuple[Outcome, Facts]:
        """Learn from a trial that ran its whole budget; tell one that the clock stopped as what it is."""
        number = assignment.number
        if outcome == "complete":
            self._pace.completed(self._training.pop(number, 0.0), float(facts.get("busy_seconds", 0.0)))
        elif outcome == "pruned" and number in self._halted:
            return "interrupted", facts
        elif outcome == "pruned" and number in self._slow:
            return outcome, {**facts, "too_slow": True}
        return outcome, facts

    # --------------------------------------------------------------------------------------------------- the clock

    @property
    def is_final(self) -> bool:
        """Return whether the search is over."""
        return self.reason is not None

    def is_over(self) -> bool:
        """Return whether the search is over (trials may still run)."""
        self._judge()
        return self.is_final

    def _judge(self) -> None:
        """Note it when the search is over."""
        if self.reason is not None:
            return
        tally = self._study.tally()
        since = min(tally.since_best, tally.done - self._extended_after)
        hopeful = any(number not in self._slow for number in self._study.running if number in self._training)
        if tally.best is None and len(self._slow) >= len(self._study.plan.initial) > 0 and not hopeful:
            self.reason = "every trial was too slow for the budget"
        elif self._is_time_up():
            self.reason = TIME_SPENT
        elif tally.best is not None and no_improvement_expected(tally.done, since):
            self.reason = f"no improvement in the last {since} of {number_of(tally.done, 'trial')}"
        elif self._study.wants_more:
            return
        elif tally.stopped is not None:
            self.reason = tally.stopped
        elif tally.running == 0:
            if tally.asked_for is not None and tally.done > tally.asked_for:
                self.reason = f"{tally.done} trials are there, more than the {tally.asked_for}"
            else:
                only = tally.asked_for == 1
                self.reason = "the only trial was run" if only else f"all {tally.asked_for} trials were run"

    def _is_time_up(self, ahead: float = 0.0) -> bool:
        """Return whether the confirmation has to begin now, or in ``ahead`` seconds."""
        if not self.clock.limited or self._is_starting():
            return False
        return self.clock.left() - ahead <= self.kept_back_seconds()

    def _is_starting(self) -> bool:
        """Return whether trials were asked for and none has begun, since machines still start; not for ever."""
        waits = bool(self._study.running) and not self._pace.has_begun
        return waits and self.clock.left() > -_LONGEST_START_SECONDS

    def kept_back_seconds(self) -> float:
        """Return what of the budget the confirmation of the present winner takes, and of the runner-up if it fits."""
        training = [float(trial.user_attrs["seconds"]) for trial in self._study.contenders[:2]]
        if not training:
            tried = len(self._whole) >= len(self._study.plan.initial)  # before that, the next may be quicker by far
            quickest = min(self._whole.values(), default=0.0) if tried else 0.0
            return self._pace.confirmation_seconds(self._fewest, quickest)
        most = _MOST_FOR_CONFIRMING * self.clock.budget
        both = sum(training)
        taken = both if self._pace.confirmation_seconds(self._fewest, both) <= most else training[0]
        return self._pace.confirmation_seconds(self._pace.seeds_that_fit(most, self._seeds, taken), taken)

    @property
    def has_room_for_two(self) -> bool:
        """Return whether there is time to confirm the runner-up beside the winner, on the fewest seeds."""
        both = sum(float(trial.user_attrs["seconds"]) for trial in self._study.contenders[:2])
        return not self.clock.limited or self._pace.confirmation_seconds(self._fewest, both) <= self.clock.left()

    def look(self) -> None:
        """Look at the clock.

        Raises:
            OutOfTimeError: The time has been up for a while and a trial still runs.
        """
        self._judge()
        patience = max(_PATIENCE_SECONDS, _PATIENCE_SHARE * self.clock.budget) if self.clock.limited else 0.0
        if self._study.running and self._is_time_up(-patience):
            raise OutOfTimeError

    def seconds_left(self) -> float | None:
        """Return the seconds until the confirmation has to begin, or ``None`` where the budget is no time."""
        return max(0.0, self.clock.left() - self.kept_back_seconds()) if self.clock.limited else None

    @property
    def quickest_seconds(self) -> float | None:
        """Return what a whole run of the quickest trial takes, ``None`` before the first epoch."""
        return self._pace.run_seconds(min(self._whole.values())) if self._whole else None
