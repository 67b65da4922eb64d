"""The ledger of a campaign: which trial next, what became of it, and who may write."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Literal, Self

import psutil
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from studies.errors import UserError
from studies.ledger._book import Book, Facts, StudyPlan
from studies.ledger._confirming import CONFIRM
from studies.ledger._database import (
    REFUSALS,
    TrialWriter,
    close_storage,
    find_study,
    hide_password,
    open_storage,
    refused,
)
from studies.ledger._evaluating import EVALUATE
from studies.ledger._tuning import StudyBook
from studies.trials import Assignment, Tally

PROTOCOL = 1  # version of the rules that make values comparable
HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0  # a driver on another host that was silent for longer is dead
_ASIDE = (CONFIRM, EVALUATE)  # what names of studies end in that hold no trials of a search
_LEASE = "driver"


class Ledger:
    """Asks, reports and tells for all studies of a campaign, and keeps one database in step.

    Every method may be called from any thread. Use it as a context manager: leaving it closes running trials as
    interrupted (the next driver asks them again), writes what is pending and gives the lease back.

    Args:
        url: of the storage.
        campaign: the whole configuration, JSON-able; what a restart is compared with.
        plans: one for each study.
        versions: of the software that computes the values.

    Raises:
        UserError: the storage cannot be opened, another driver is alive, or the storage has a campaign of this name
            with another configuration.
    """

    _creates = True  # a database that is not there
    _command: Literal["launch", "confirm", "tune", "export"] = "launch"  # by which the person goes on
    _free: frozenset[str] = frozenset()  # keys of the configuration that a driver may change

    def __init__(
        self, url: str, campaign: Mapping[str, Any], plans: Sequence[StudyPlan], versions: Mapping[str, str]
    ) -> None:
        self._lock = threading.RLock()
        self._campaign = dict(campaign)
        self._books: Mapping[str, Book] = {}
        shown = hide_password(url)
        with ExitStack() as undo:
            self._storage = open_storage(url, create=self._creates)
            undo.callback(close_storage, self._storage)
            try:
                self._open(shown, plans, versions, undo)
            except REFUSALS as error:
                raise refused(shown, error) from error
            self._undo = undo.pop_all()

    def _open(self, shown: str, plans: Sequence[StudyPlan], versions: Mapping[str, str], undo: ExitStack) -> None:
        """Finds or makes the studies, takes the lease, opens the books; ``undo`` hears of what is to be given back."""
        self._check({plan.name for plan in plans})
        study_ids = [self._open_study(plan, versions) for plan in plans]
        self._take(study_ids[0], shown, undo)
        self._books = {
            plan.name: StudyBook(plan, study_id, self._writer, self._storage.get_all_trials(study_id))
            for plan, study_id in zip(plans, study_ids, strict=True)
        }

    def _take(self, study_id: int, shown: str, undo: ExitStack) -> None:
        """Takes the lease, which lies on the campaign's first study, and begins to write."""
        lease = _Lease(self._storage, study_id, str(self._campaign["name"]), shown, self._command, self._kept)
        undo.callback(lease.release)
        self._writer = TrialWriter(self._storage, shown)
        undo.callback(self._writer.close)

    def _kept(self) -> dict[str, Any]:
        """What of the driver's own state is kept up to date in the database, as attributes beside the lease."""
        return {}

    def _check(self, names: set[str]) -> None:
        """Refuses a storage that holds something else under these names, before anything is written."""
        name = self._campaign["name"]
        ours: dict[int, Mapping[str, Any]] = {}
        for study in self._storage.get_all_studies():
            stored = study.user_attrs.get("campaign")
            if isinstance(stored, Mapping) and "protocol" in study.user_attrs:
                if stored["name"] == name and not study.study_name.endswith(_ASIDE):
                    ours[study._study_id] = study.user_attrs
            elif study.study_name in names and self._storage.get_n_trials(study._study_id):
                raise UserError(
                    f"the storage has a study '{study.study_name}' that no campaign made; "
                    "give this campaign another name with --name"
                )
        reason = next((reason for reason in map(self._difference, ours.values()) if reason), None)
        if reason is None:
            return
        held = any(holder and _alive(holder) for holder in (attributes.get(_LEASE) for attributes in ours.values()))
        if held or any(self._storage.get_n_trials(study_id) for study_id in ours):
            raise UserError(f"{reason} with --name")
        for study_id in ours:  # it never came to run a trial: a slip of the fingers that binds nobody
            self._storage.delete_study(study_id)

    def _difference(self, attributes: Mapping[str, Any]) -> str | None:
        """Why this campaign does not go on with a study of its name, or ``None``."""
        name = self._campaign["name"]
        if attributes["protocol"] != PROTOCOL:
            return (
                f"campaign '{name}' was run under protocol {attributes['protocol']}, this is protocol {PROTOCOL}: "
                "their values do not compare; give it another name"
            )
        before, now = (
            {key: value for key, value in configuration.items() if key not in self._free}
            for configuration in (attributes["campaign"], self._campaign)
        )
        changes = _changes(before, now)
        if changes:
            return (
                f"campaign '{name}' is in the storage with another configuration ({'; '.join(changes)}); "
                "give this one another name"
            )
        return None

    def _open_study(self, plan: StudyPlan, versions: Mapping[str, str]) -> int:
        study_id = find_study(self._storage, plan.name)
        if study_id is None:
            direction = StudyDirection.MAXIMIZE if plan.direction == "maximize" else StudyDirection.MINIMIZE
            try:
                study_id = self._storage.create_new_study([direction], plan.name)
            except DuplicatedStudyError:
                raise UserError(
                    f"another driver has this moment begun campaign '{self._campaign['name']}'; wait for it, "
                    "or give this one another name with --name"
                ) from None
        elif "protocol" in self._storage.get_study_user_attrs(study_id):
            return study_id
        # the dashboard names the axis by this
        self._storage.set_study_system_attr(study_id, "study:metric_names", [plan.metric])
        attributes = {
            "workload": plan.workload,
            "optimizer": plan.optimizer,
            "metric": plan.metric,
            "metric_split": plan.metric_split,
            "versions": dict(versions),
            "search_space": plan.space.to_dict(),
            "epochs": plan.epochs,
            "replicate": plan.replicate,
            "campaign": self._campaign,
            "protocol": PROTOCOL,  # the last: who sees it sees all, and a driver that dies before it leaves nothing
        }
        for name, value in attributes.items():
            self._storage.set_study_user_attr(study_id, name, value)
        return study_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes running trials as interrupted, writes what is pending, gives the lease back."""
        with self._undo, self._lock:  # whatever fails in between, the lease is given back
            for book in self._books.values():
                book.interrupt()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask for (trials may still run)."""
        with self._lock:
            return not any(book.wants_more for book in self._books.values())

    def ask(self) -> Assignment | None:
        """The next trial, of the study that has come least far, or ``None`` when there is nothing left."""
        with self._lock:
            waiting = [book for book in self._books.values() if book.wants_more]
            return min(waiting, key=lambda book: book.asked_share).ask() if waiting else None

    def report(self, assignment: Assignment, record: Mapping[str, float]) -> bool:
        """Hears of one epoch of a trial; says whether the trial is to stop. See :meth:`StudyBook.report`."""
        with self._lock:
            return self._books[assignment.study].report(assignment.number, record)

    def complete(self, assignment: Assignment, facts: Facts) -> None:
        """The trial ran its whole budget."""
        with self._lock:
            self._books[assignment.study].complete(assignment.number, facts)

    def prune(self, assignment: Assignment, facts: Facts) -> None:
        """The pruner stopped the trial."""
        with self._lock:
            self._books[assignment.study].prune(assignment.number, facts)

    def diverge(self, assignment: Assignment, facts: Facts) -> None:
        """The trial diverged."""
        with self._lock:
            self._books[assignment.study].diverge(assignment.number, facts)

    def fail(self, assignment: Assignment, failure: str, facts: Facts | None = None) -> None:
        """The trial broke; ``failure`` says why (one line, or a traceback)."""
        with self._lock:
            self._books[assignment.study].fail(assignment.number, failure, facts)

    def look(self) -> None:
        """Looks at the clock, where there is one: called all the time while trials run. It may raise to end them."""

    def seconds_left(self) -> float | None:
        """Seconds until a clock ends the run, or ``None`` where there is no clock."""
        return None

    def tallies(self) -> list[Tally]:
        """How far each study is, in the campaign's order."""
        with self._lock:
            return [book.tally() for book in self._books.values()]

    def flush(self) -> None:
        """Returns when the database has all that the ledger knows."""
        self._writer.flush()


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations of a campaign, one phrase a key; reworded reasons are no difference."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = _without_reasons(old.get(key)), _without_reasons(new.get(key))
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):  # the search spaces: say whose, not all of them
            names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
            found.append(f"{key} of {', '.join(names)} changed")
        else:
            found.append(f"{key} was {_shortly(before)}, is {_shortly(after)}")
    return found


def _without_reasons(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_reasons(entry) for key, entry in value.items() if key != "reason"}
    return [_without_reasons(entry) for entry in value] if isinstance(value, list | tuple) else value


def _shortly(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def driver_in_words(attributes: Mapping[str, Any]) -> str:
    """Whether a driver runs the campaign, from the user attributes of its first study."""
    holder = attributes.get(_LEASE)
    if holder and _alive(holder):
        return f"running, process {holder['pid']} on {holder['host']}"
    return f"its driver was lost; {holder.get('command', 'launch')} it again to go on" if holder else "not running"


class _Lease:
    """One driver a campaign: who writes, and since when it was last heard of, as an attribute of the first study."""

    def __init__(
        self,
        storage: BaseStorage,
        study_id: int,
        campaign: str,
        shown_url: str,
        command: str,
        kept: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._storage = storage
        self._study_id = study_id
        self._command = command
        self._kept = kept
        holder = storage.get_study_user_attrs(study_id).get(_LEASE)
        if holder and _alive(holder):
            other = "wait for it, stop it, or give this one another name with --name"
            raise UserError(
                f"campaign '{campaign}' in {shown_url} is being run by process {holder['pid']} on {holder['host']}; "
                f"{'wait for it, or stop it' if command in ('confirm', 'export') else other}"
            )
        self._released = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        lease = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "seen": time.time(),
            "command": self._command,
        }
        self._storage.set_study_user_attr(self._study_id, _LEASE, lease)
        for name, value in self._kept().items():
            self._storage.set_study_user_attr(self._study_id, name, value)

    def _run(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            with suppress(*REFUSALS):  # the next one may get through; a storage that stays so ends the writer
                self._beat()
        self._storage.remove_session()

    def release(self) -> None:
        """Gives the lease back; one that cannot be given back is void as soon as this process has ended."""
        self._released.set()
        self._thread.join()
        with suppress(*REFUSALS):
            for name, value in {**self._kept(), _LEASE: None}.items():
                self._storage.set_study_user_attr(self._study_id, name, value)


def _started(pid: int) -> float | None:
    """When the process began (seconds since the epoch), so that a reused number is not taken for it."""
    try:
        return round(psutil.Process(pid).create_time(), 1)
    except psutil.Error:
        return None


def _alive(holder: Mapping[str, Any]) -> bool:
    if holder["host"] == socket.gethostname():
        started, then = _started(int(holder["pid"])), holder["started"]
        return started is not None and then is not None and abs(started - then) < 1.0
    return bool(time.time() - holder["seen"] < LEASE_SECONDS)
