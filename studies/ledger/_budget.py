"""The ledger of a search with a budget: it ends in time for its winner to be confirmed, or when that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from optuna.trial import TrialState

from search_spaces.errors import number_of
from studies.campaign.plan import StudyPlan
from studies.ledger._book import Facts
from studies.ledger._clock import Clock
from studies.ledger._ledger import Ledger
from studies.ledger._pace import FEWEST_SEEDS, Pace, no_improvement_expected
from studies.storage.database import find_study
from studies.storage.durability import Durability
from studies.trials import Assignment

_SPENT = "spent_seconds"  # of the budget, by all drivers: an attribute of the study
_ENDED = "search_ended"  # why, and after how many trials
_EXTENDED = "extended_after"  # trials, when the budget was last changed
_MOST_FOR_CONFIRMING = 0.5  # of the budget, but for the fewest seeds
_PATIENCE_SECONDS = 3.0  # for a trial to come to its next epoch when the time is up, at least
_PATIENCE_SHARE = 0.02  # of the budget


class OutOfTimeError(Exception):
    """The time is up, and a trial that runs does not come to its next epoch: end it with whatever runs it."""


class BudgetLedger(Ledger):
    """Asks, reports and tells for one study until its budget is spent; otherwise used as a :class:`Ledger` is.

    The time of earlier drivers counts. Of the time, so much is kept back as the confirmation of the present winner
    takes, but for more than half of the budget only if :data:`FEWEST_SEEDS` runs take that long. When the rest is
    spent,

    - no trial is asked for any more, and those that run are stopped at their next epoch, as *interrupted*: neither the
      sampler nor the pruner judged them, and a driver with a larger budget asks them again;
    - before that, a trial is stopped that is so slow that it could not be confirmed even on the fewest seeds if it
      won. It is *pruned* (with the attribute ``too_slow``): the sampler is to learn that.

    Args:
        url: of the storage.
        campaign: the whole configuration; of ``budget``, ``trials``, ``seeds`` and ``starts`` a driver may bring
            others, the starts excepted once there are trials: those in the storage stay.
        plan: the study.
        versions: of the software that computes the values.
        clock: the time.
        seeds: of the confirmation.
        durability: how long the storage may be away, and where checkpoints are.

    Attributes:
        ended: why the search is over, ``None`` while it goes on.
    """

    _command = "tune"
    _free = frozenset({"budget", "trials", "seeds", "starts"})

    def __init__(
        self,
        url: str,
        campaign: Mapping[str, Any],
        plan: StudyPlan,
        versions: Mapping[str, str],
        *,
        clock: Clock,
        seeds: int,
        durability: Durability | None = None,
    ) -> None:
        self._clock, self._seeds = clock, seeds
        self._pace = Pace(clock.now)
        self._training: dict[int, float] = {}  # seconds that a running trial has trained, by number
        self._whole: dict[int, float] = {}  # and what they will be at its end
        self._slow: set[int] = set()  # trials to be told as too slow
        self._halted: set[int] = set()  # and as interrupted
        self._extended_after = 0
        self.ended: str | None = None
        self._last_words: dict[str, Any] = {}
        super().__init__(url, campaign, [plan], versions, durability=durability)

    def _open(self, shown: str, plans: Sequence[StudyPlan], versions: Mapping[str, str], undo: ExitStack) -> None:
        [plan] = plans
        study_id = find_study(self._storage, plan.name)
        before = {} if study_id is None else self._storage.get_study_user_attrs(study_id)
        self._clock.before = float(before.get(_SPENT, 0.0))
        if study_id is not None and "campaign" in before and self._storage.get_n_trials(study_id):
            # what was begun with stays, whatever is recommended by now
            starts = before["campaign"].get("starts", [])
            self._campaign["starts"] = starts
            plan = replace(plan, initial=tuple(starts))
        super()._open(shown, [plan], versions, undo)
        self._study_id = find_study(self._storage, plan.name)
        assert self._study_id is not None
        self._book = self._books[plan.name]
        for trial in self._storage.get_all_trials(self._study_id):
            if trial.state == TrialState.COMPLETE:
                self._pace.remember(trial)
        self._go_on(before)

    def _go_on(self, before: Mapping[str, Any]) -> None:
        """Takes up what an earlier driver left: the search is over if it was, unless the budget is another now."""
        ended = before.get(_ENDED)
        self._extended_after = int(before.get(_EXTENDED) or 0)
        same = before.get("campaign", {}).get("budget") == self._campaign.get("budget")
        if ended and same:
            self.ended = str(ended["reason"])
        elif ended:
            self._extended_after = int(ended["trials"])
            self._note(_ENDED, None)
            self._note(_EXTENDED, self._extended_after)
        if before and before.get("campaign") != self._campaign:
            self._note("campaign", self._campaign)

    def _note(self, name: str, value: Any) -> None:
        assert self._study_id is not None
        self._storage.set_study_user_attr(self._study_id, name, value)

    def _kept(self) -> dict[str, Any]:
        return {_SPENT: round(self._clock.spent(), 1), **self._last_words}

    # ------------------------------------------------------------------------------------------------- the budget

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask for (trials may still run)."""
        with self._lock:
            self._judge_progress()
            return self.ended is not None or super().finished

    def ask(self) -> Assignment | None:
        """The next trial, or ``None`` when the search is over."""
        with self._lock:
            if self.finished:
                return None
            self._pace.asked()
            return super().ask()

    def report(self, assignment: Assignment, record: Mapping[str, float]) -> bool:
        """Hears of one epoch of a trial; says whether the trial is to stop, as the pruner or the clock has it."""
        with self._lock:
            number, epoch = assignment.number, int(record["epoch"])
            self._pace.reported(float(record["seconds"]))
            self._training[number] = float(record["seconds"])
            self._whole[number] = float(record["seconds"]) / epoch * assignment.epochs
            if super().report(assignment, record):
                return True
            if not self._clock.limited or epoch >= assignment.epochs:
                return False
            self._judge_progress()
            return self._is_halted(number, epoch) or self._is_too_slow(number)

    def _is_too_slow(self, number: int) -> bool:
        """Whether a trial could not be confirmed in time even on the fewest seeds, if it won."""
        whole, trained = self._whole[number], self._training[number]
        rest = self._pace.run_seconds(whole) - self._pace.run_seconds(trained)
        seeds = min(FEWEST_SEEDS, self._seeds)
        if rest + self._pace.confirmation_seconds(seeds, whole) <= self._clock.left():
            return False
        self._slow.add(number)
        return True

    def _is_halted(self, number: int, epoch: int) -> bool:
        """Whether the time is up, or will be before the next epoch of a trial ends."""
        an_epoch = self._pace.run_seconds(self._training[number] / epoch)
        if self._is_time_up(an_epoch):
            self._halted.add(number)
            return True
        return False

    def _judge_progress(self) -> None:
        """Notes it when the search is over."""
        if self.ended is not None:
            return
        tally = self._book.tally()
        since = min(tally.since_best, tally.done - self._extended_after)
        hopeful = any(number not in self._slow for number in self._book.running if number in self._training)
        if tally.best is None and len(self._slow) >= len(self._book.plan.initial) > 0 and not hopeful:
            self.ended = "every trial was too slow for the budget"
        elif self._is_time_up():
            self.ended = "the time was spent"
        elif tally.best is not None and no_improvement_expected(tally.done, since):
            self.ended = f"no improvement in the last {since} of {number_of(tally.done, 'trial')}"
        elif not super().finished:
            return
        elif tally.stopped is not None:
            self.ended = tally.stopped
        elif tally.running == 0:
            self.ended = "the only trial was run" if tally.asked_for == 1 else f"all {tally.asked_for} trials were run"

    def _is_time_up(self, ahead: float = 0.0) -> bool:
        """Whether the confirmation has to begin now, or in ``ahead`` seconds."""
        return self._clock.limited and self._clock.left() - ahead <= self._kept_back()

    def _kept_back(self) -> float:
        """Seconds of the budget that the confirmation of the present winner takes."""
        best = self._book.best
        if best is None:
            tried = len(self._whole) >= len(self._book.plan.initial)  # before that, the next may be quicker by far
            quickest = min(self._whole.values(), default=0.0) if tried else 0.0
            return self._pace.confirmation_seconds(min(FEWEST_SEEDS, self._seeds), quickest)
        training = float(best.user_attrs["seconds"])
        most = _MOST_FOR_CONFIRMING * self._clock.budget
        return self._pace.confirmation_seconds(self._pace.seeds_that_fit(most, self._seeds, training), training)

    def look(self) -> None:
        """Looks at the clock.

        Raises:
            OutOfTimeError: the time has been up for a while and a trial still runs.
        """
        super().look()
        with self._lock:
            self._judge_progress()
            patience = max(_PATIENCE_SECONDS, _PATIENCE_SHARE * self._clock.budget) if self._clock.limited else 0.0
            if self._book.tally().running and self._is_time_up(-patience):
                raise OutOfTimeError

    def seconds_left(self) -> float | None:
        """Seconds until the confirmation has to begin, or ``None`` where the budget is no time."""
        with self._lock:
            return max(0.0, self._clock.left() - self._kept_back()) if self._clock.limited else None

    @property
    def quickest_seconds(self) -> float | None:
        """What a whole run of the quickest trial takes, as far as it is known; ``None`` before the first epoch."""
        with self._lock:
            return self._pace.run_seconds(min(self._whole.values())) if self._whole else None

    def last_failure(self) -> str | None:
        """What broke the last trial that broke, ``None`` where none did."""
        self.flush()
        assert self._study_id is not None
        failures = [trial.user_attrs.get("failure") for trial in self._stored_trials(self._study_id)]
        return next((str(failure) for failure in reversed(failures) if failure is not None), None)

    # ------------------------------------------------------------------------------------------------------- ends

    def complete(self, assignment: Assignment, facts: Facts) -> None:
        """The trial ran its whole budget."""
        with self._lock:
            training = self._training.pop(assignment.number, 0.0)
            self._pace.completed(training, float(facts.get("busy_seconds", 0.0)))
            super().complete(assignment, facts)

    def prune(self, assignment: Assignment, facts: Facts) -> None:
        """The trial was stopped, as :meth:`report` had said."""
        with self._lock:
            if assignment.number in self._halted:
                self._book.interrupt(assignment.number, facts)
            else:
                super().prune(assignment, {**facts, "too_slow": True} if assignment.number in self._slow else facts)

    def _tidy(self) -> None:
        """Removes checkpoints; when the search is over, those of trials that its clock stopped too."""
        super()._tidy()
        if self.ended is not None and self._writer.up_to_date:
            self._writer.sweep(self._book.folder, ())

    def close(self) -> None:
        """Closes running trials as interrupted, notes why the search is over, gives the lease back."""
        with self._lock:
            if self.ended is not None:  # written by who has the lease alone
                self._last_words = {_ENDED: {"reason": self.ended, "trials": self._book.tally().done}}
        super().close()
