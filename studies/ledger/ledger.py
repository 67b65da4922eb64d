"""The ledger of a campaign: which trial next, what became of it, and who may write."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from studies.ledger.study import Facts, StudyLedger
from studies.ledger.telling import Telling
from studies.storage.backend import Backend
from studies.storage.durability import Durability
from studies.storage.lease import Lease
from studies.storage.refusals import REFUSALS, refused
from studies.storage.writer import TrialWriter
from studies.trials import Assignment, Listener, Outcome, Tally


class Rule:
    """When a run ends besides having nothing left to ask for: this one, never. Budgets override what they need."""

    @property
    def is_final(self) -> bool:
        """Return whether the run has ended for good, so that no driver asks for what it interrupted."""
        return False

    def kept(self) -> Mapping[str, Any]:
        """Return what is kept up to date in the database, as attributes beside the lease; called by its writer."""
        return {}

    def begin(self, studies: Sequence[StudyLedger]) -> None:
        """Hear which studies it is about, before the first trial."""

    def is_over(self) -> bool:
        """Return whether no trial is asked for any more."""
        return False

    def why_over(self, study: StudyLedger) -> str | None:
        """Return why no more trials of one study are asked for, ``None`` while they are."""
        return None

    def asked(self, assignment: Assignment) -> None:
        """Hear that a trial was asked for."""

    def heard(self, assignment: Assignment, record: Mapping[str, float]) -> None:
        """Hear of one epoch of a trial."""

    def stops(self, assignment: Assignment, record: Mapping[str, float]) -> bool:
        """Return whether a trial is to stop after this epoch, which its pruner does not stop."""
        return False

    def ended(self, assignment: Assignment, outcome: Outcome, facts: Facts) -> tuple[Outcome, Facts]:
        """Hear that a trial ended; return how that is told, and what is known of it."""
        return outcome, facts

    def look(self) -> None:
        """Look at the clock.

        Raises:
            OutOfTimeError: The time is up, and a trial that runs does not come to its next epoch.
        """

    def seconds_left(self) -> float | None:
        """Return the seconds until a clock ends the run, or ``None`` where there is no clock."""
        return None

    def close(self) -> None:
        """Hear that the driver ends, whose trials may still run."""


@dataclass(slots=True)
class Changes:
    """What a driver changes of a campaign before its first trial, and takes back if it ends by an error until then.

    Attributes:
        made: Ids of the studies that it made: those that have no trial are taken back whenever it ends by an error.
        former: What user attributes of studies were, in the order in which they were changed: ids of studies, name,
            and value, ``None`` where there was none.
    """

    made: list[int] = field(default_factory=list)
    former: list[tuple[Sequence[int], str, Any]] = field(default_factory=list)


class Ledger:
    """Asks, reports and ends trials for all studies of a campaign, and keeps one database in step.

    Every method may be called from any thread. Use it as a context manager: leaving it closes running trials as
    interrupted (the next driver asks them again), writes what is pending and gives the lease back.
    `studies.ledger.open_search`, `open_confirmation` and `open_evaluation` make one.

    Args:
        storage: Optuna's, in which this driver has the campaign's lease.
        shown: The storage's URL as an error may show it.
        writer: Through which trials are written.
        studies: By name, in the campaign's order.
        rule: When the run ends.
        durability: How long the storage may be away, and where checkpoints are.
        undo: What is to be done when it is closed.
        notes: What the person should know before the runs begin, a line each.
        winners: Trials of the search that are confirmed, study by study, best first.
        changes: What this driver has changed.
    """

    def __init__(
        self,
        storage: BaseStorage,
        shown: str,
        writer: TrialWriter,
        studies: Mapping[str, StudyLedger],
        rule: Rule,
        durability: Durability,
        undo: ExitStack,
        *,
        notes: Sequence[str] = (),
        winners: Sequence[FrozenTrial] = (),
        changes: Changes,
    ) -> None:
        self.studies, self.rule, self.durability = studies, rule, durability
        self.notes, self.winners = list(notes), list(winners)
        self._storage, self._shown, self._writer, self._undo = storage, shown, writer, undo
        self._changes = changes
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(refused=kind is not None)

    def close(self) -> None:
        """Close running trials as interrupted, write what is pending, give the lease back."""
        self._close(refused=False)

    def _close(self, *, refused: bool) -> None:
        if not refused:
            self._changes.made.clear()
            self._changes.former.clear()
        with self._undo, self._lock:  # whatever fails in between, the lease is given back
            self.rule.close()
            for study in self.studies.values():
                study.interrupt()

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` hear of every trial, first of those that have ended; to be called before any is asked."""
        for name, study in self.studies.items():
            study.telling = Telling(study.plan, study.source.runs, listener)
            for trial in self.stored_trials(name):
                study.telling.settled(trial)

    @property
    def finished(self) -> bool:
        """Return whether there is nothing left to ask for (trials may still run)."""
        with self._lock:
            return self.rule.is_over() or not self._waiting()

    def _waiting(self) -> list[StudyLedger]:
        """Return the studies that trials are asked for."""
        return [study for study in self.studies.values() if study.wants_more and self.rule.why_over(study) is None]

    def ask(self) -> Assignment | None:
        """Return the next trial, of the study that has come least far, or ``None`` when there is nothing left."""
        with self._lock:
            waiting = [] if self.rule.is_over() else self._waiting()
            if not waiting:
                return None
            assignment = min(waiting, key=lambda study: study.asked_share).ask()
            self._changes.former.clear()
            self.rule.asked(assignment)
            return assignment

    def report(self, assignment: Assignment, record: Mapping[str, float]) -> bool:
        """Hear of one epoch of a trial; return whether it is to stop. See :meth:`StudyLedger.report`."""
        with self._lock:
            self.rule.heard(assignment, record)
            stops = self.studies[assignment.study].report(assignment.number, record)
            return stops or self.rule.stops(assignment, record)

    def end(
        self, assignment: Assignment, outcome: Outcome, facts: Facts | None = None, *, failure: str | None = None
    ) -> None:
        """Hear that a trial ended.

        Args:
            assignment: Of the trial.
            outcome: ``"complete"``: it ran its whole budget. ``"pruned"``: it was stopped, as :meth:`report` had said.
                ``"diverged"``, ``"failed"``: it broke. ``"interrupted"``: it was stopped because the driver stops; the
                next one asks for it again.
            facts: What its worker says of it.
            failure: Why it failed: one line, or a traceback.
        """
        with self._lock:
            outcome, facts = self.rule.ended(assignment, outcome, facts or {})
            self.studies[assignment.study].end(assignment.number, outcome, facts, failure)

    @property
    def folder(self) -> str:
        """Return a folder among the checkpoints that is this campaign's alone."""
        return next(iter(self.studies.values())).folder

    @property
    def shown(self) -> str:
        """Return the storage's URL as a message may show it."""
        return self._shown

    def look(self) -> None:
        """Look at the database, and at the clock where there is one: called all the time while trials run.

        Raises:
            UserError: The database was away for too long, or another driver has taken over.
            OutOfTimeError: The time has been up for a while and a trial still runs.
        """
        self._writer.check()
        with self._lock:
            self.rule.look()

    def seconds_left(self) -> float | None:
        """Return the seconds until a clock ends the run, or ``None`` where there is no clock."""
        with self._lock:
            return self.rule.seconds_left()

    def tallies(self) -> list[Tally]:
        """Return how far each study is, in the campaign's order."""
        with self._lock:
            return [self._tally(study) for study in self.studies.values()]

    def _tally(self, study: StudyLedger) -> Tally:
        """Return how far a study is; one whose trials run may still go on, whatever its rule says now."""
        tally = study.tally()
        over = None if tally.running or not tally.missing else self.rule.why_over(study)
        return tally if over is None else replace(tally, stopped=over)

    @property
    def devices(self) -> list[str]:
        """Return the devices that the winners were tuned on, in words."""
        devices = (winner.user_attrs.get("device") for winner in self.winners)
        return [str(device) for device in dict.fromkeys(devices) if device is not None]

    def stored_trials(self, study: str) -> list[FrozenTrial]:
        """Return what the database has of a study, when it has all that the ledger knows."""
        self.flush()
        try:
            return self._storage.get_all_trials(self.studies[study].study_id)
        except REFUSALS as error:
            raise refused(self._shown, error) from error

    @property
    def trouble(self) -> str | None:
        """Return why results wait in memory, in words; ``None`` while the database takes them."""
        return self._writer.trouble

    def flush(self) -> None:
        """Return when the database has all that the ledger knows."""
        self._writer.flush()


def release(lease: Lease, storage: Backend, changes: Changes) -> None:
    """Take back what was changed in vain, then the lease; it is void when this process has ended."""
    with suppress(*REFUSALS):
        if (changes.made or changes.former) and lease.is_held():
            for study_ids, name, value in reversed(changes.former):
                storage.set_everywhere(study_ids, name, value)
            for study_id in reversed(changes.made):
                if not storage.get_n_trials(study_id):
                    storage.delete_study(study_id)
    with suppress(*REFUSALS, KeyError):  # its study may be gone
        lease.release()


def tidy(writer: TrialWriter, studies: Mapping[str, StudyLedger], rule: Rule) -> None:
    """Remove checkpoints that are not needed; none where an end has not come to the database."""
    if writer.up_to_date:
        for study in studies.values():
            study.tidy(over=rule.is_final)
