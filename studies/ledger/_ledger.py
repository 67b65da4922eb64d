"""The ledger of a campaign: which trial next, what became of it, and who may write."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, Literal, Self

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

from analysis.schema import CONFIRM, EVALUATE, PROTOCOL, maker_of
from search_spaces import stored_space
from search_spaces.errors import UserError
from studies.campaign.extension import differences, extended
from studies.campaign.plan import StudyPlan
from studies.ledger._book import Book, Facts
from studies.ledger._tuning import StudyBook
from studies.storage import lease as _lease
from studies.storage.database import (
    REFUSALS,
    close_storage,
    find_study,
    open_storage,
    refused,
    set_everywhere,
)
from studies.storage.durability import Durability
from studies.storage.lease import Lease
from studies.storage.url import hide_password
from studies.storage.writer import FOLDER, TrialWriter, new_folder
from studies.trials import Assignment, Tally

_METRIC_NAMES = "study:metric_names"  # Optuna's own attribute
# what a study is described with, before its protocol
_DESCRIBED = frozenset({
    "workload", "optimizer", "metric", "metric_split", "versions", "search_space", "epochs", "replicate", FOLDER,
    "campaign",
})  # fmt: skip
_ASIDE = (CONFIRM, EVALUATE)  # what names of studies end in that hold no trials of a search


class Ledger:
    """Asks, reports and tells for all studies of a campaign, and keeps one database in step.

    Every method may be called from any thread. Use it as a context manager: leaving it closes running trials as
    interrupted (the next driver asks them again), writes what is pending and gives the lease back.

    Args:
        url: of the storage.
        campaign: the whole configuration, JSON-able; what a restart is compared with.
        plans: one for each study.
        versions: of the software that computes the values.
        durability: how long the storage may be away, and where checkpoints are.
        extend: whether a campaign of this name in the storage is made this one, which has more trials, optimizers or
            workloads, and is the same otherwise.

    Raises:
        UserError: the storage cannot be opened, another driver is alive, or the storage has a campaign of this name
            with another configuration.
    """

    _creates = True  # a database that is not there
    _command: Literal["launch", "confirm", "tune", "export"] = "launch"  # by which the person goes on
    _free: frozenset[str] = frozenset()  # keys of the configuration that a driver may change

    def __init__(
        self,
        url: str,
        campaign: Mapping[str, Any],
        plans: Sequence[StudyPlan],
        versions: Mapping[str, str],
        *,
        durability: Durability | None = None,
        extend: bool = False,
    ) -> None:
        self._lock = threading.RLock()
        self._campaign = dict(campaign)
        self.durability = Durability() if durability is None else durability
        self._extend = extend
        self._books: Mapping[str, Book] = {}
        self._url, self._shown = url, (shown := hide_password(url))
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
        plans = [self._as_begun(plan) for plan in plans]
        # the first study is made by whoever comes first, the others by who holds the lease on it
        first = self._open_study(plans[0], versions)
        self._take(first, shown, undo)
        if self._extend:
            self._grow()
        study_ids = [first, *(self._open_study(plan, versions) for plan in plans[1:])]
        self._books = {
            plan.name: StudyBook(plan, study_id, self._writer, self._storage.get_all_trials(study_id))
            for plan, study_id in zip(plans, study_ids, strict=True)
        }

    def _take(self, study_id: int, shown: str, undo: ExitStack) -> None:
        """Takes the lease, which lies on the campaign's first study, and begins to write."""
        lease = Lease(self._storage, study_id, str(self._campaign["name"]), shown, self._command)
        lease.take()
        undo.callback(self._release, lease)
        self._writer = TrialWriter(self._storage, shown, lease, self.durability, self._kept, study_id)
        undo.callback(self._tidy)
        undo.callback(self._writer.close)

    def _tidy(self) -> None:
        """Removes checkpoints that are not needed; none where an end has not come to the database."""
        if self._writer.up_to_date:
            for book in self._books.values():
                book.tidy()

    def _release(self, lease: Lease) -> None:
        """Gives the lease back; one that cannot be given back is void as soon as this process has ended."""
        with suppress(*REFUSALS):
            lease.release()

    def _grow(self) -> None:
        """Makes this configuration that of the campaign's studies, all at once."""
        ours = {study_id: attributes["campaign"] for study_id, attributes in self._ours().items()}
        for before in ours.values():
            if differences(extended(before, self._campaign), self._campaign):
                raise UserError(
                    f"campaign '{self._campaign['name']}' was changed this moment by another driver; give the same "
                    "command again"
                )
        outdated = [study_id for study_id, before in ours.items() if before != self._campaign]
        set_everywhere(self._storage, outdated, "campaign", self._campaign)

    def _kept(self) -> dict[str, Any]:
        """What of the driver's own state is kept up to date in the database, as attributes beside the lease."""
        return {}

    def _check(self, names: set[str]) -> None:
        """Refuses a storage that holds something else under these names, before anything is written."""
        self._refuse_others(names)
        ours = self._ours()
        reason = next((reason for reason in map(self._difference, ours.values()) if reason), None)
        if reason is None:
            return
        held = any(holder and _lease.alive(holder) for holder in (one.get(_lease.KEY) for one in ours.values()))
        if held or any(self._storage.get_n_trials(study_id) for study_id in ours):
            raise UserError(reason)
        for study_id in ours:  # it never came to run a trial: a slip of the fingers that binds nobody
            self._storage.delete_study(study_id)

    def _refuse_others(self, names: Set[str]) -> None:
        """Refuses a storage with a study of one of these names that is none of a campaign, or a damaged one.

        Raises:
            UserError: there is one; nothing is written to it.
        """
        for study in self._storage.get_all_studies():
            maker = maker_of(study.study_name, study.user_attrs)
            if maker.is_campaign or study.study_name not in names or self._is_begun(study):
                continue
            other = (
                "delete it" if self._command in ("confirm", "export") else "give this campaign another name with --name"
            )
            if maker.damage:
                lost = " and ".join(f"'{name}'" for name in maker.damage)
                raise UserError(
                    f"study '{study.study_name}' of campaign '{maker.campaign}' is damaged: {lost} missing or not what "
                    f"a campaign stores; restore the storage from a copy, or {other}"
                )
            raise UserError(f"the storage has a study '{study.study_name}' that no campaign made; {other}")

    def _is_begun(self, study: FrozenStudy) -> bool:
        """Whether a study is what a driver leaves that dies while it makes one: without trials, not yet described."""
        user, system = study.user_attrs, study.system_attrs
        return (
            "protocol" not in user
            and user.keys() <= _DESCRIBED
            and (not user or f"/{user.get('workload')}/" in study.study_name)
            and system.keys() <= {_METRIC_NAMES}
            and len(study.directions) == 1
            and not self._storage.get_n_trials(study._study_id)
        )

    def _ours(self) -> dict[int, Mapping[str, Any]]:
        """The attributes of the studies of this campaign's searches, by study id."""
        return {
            study._study_id: study.user_attrs
            for study in self._storage.get_all_studies()
            if maker_of(study.study_name, study.user_attrs).is_campaign
            and study.user_attrs["campaign"]["name"] == self._campaign["name"]
            and not study.study_name.endswith(_ASIDE)
        }

    def _difference(self, attributes: Mapping[str, Any]) -> str | None:
        """Why this campaign does not go on with a study of its name, or ``None``."""
        name = self._campaign["name"]
        if attributes["protocol"] != PROTOCOL:
            return (
                f"campaign '{name}' was run under protocol {attributes['protocol']}, this is protocol {PROTOCOL}: "
                "their values do not compare; give it another name with --name"
            )
        before = attributes["campaign"]
        if self._extend:
            before = extended(before, self._campaign)
        changes = differences(
            *(
                {key: value for key, value in configuration.items() if key not in self._free}
                for configuration in (before, self._campaign)
            )
        )
        if changes and self._extend:
            return (
                f"campaign '{name}' is in the storage with another configuration ({'; '.join(changes)}); --extend adds "
                "trials, optimizers or workloads and changes nothing else: give this one another name with --name"
            )
        if changes and self._command == "launch":
            return (
                f"campaign '{name}' is in the storage with another configuration ({'; '.join(changes)}); give this one "
                "another name with --name, or add trials, optimizers or workloads to that one with --extend"
            )
        if changes:
            return (
                f"campaign '{name}' is in the storage with another configuration ({'; '.join(changes)}); "
                "give this one another name with --name"
            )
        return None

    def _as_begun(self, plan: StudyPlan) -> StudyPlan:
        """``plan`` with the search space that its study was begun with: its trials lie in that, whatever it is now."""
        study_id = find_study(self._storage, plan.name)
        attributes = {} if study_id is None else self._storage.get_study_user_attrs(study_id)
        stored = attributes.get("search_space")
        if "protocol" not in attributes or not isinstance(stored, Mapping):
            return plan
        try:
            return replace(plan, space=stored_space(stored))
        except (UserError, KeyError) as error:
            raise UserError(f"study '{plan.name}': its search space cannot be read ({error})") from None

    def _open_study(self, plan: StudyPlan, versions: Mapping[str, str]) -> int:
        study_id = find_study(self._storage, plan.name)
        direction = StudyDirection.MAXIMIZE if plan.direction == "maximize" else StudyDirection.MINIMIZE
        if study_id is None:
            try:
                study_id = self._storage.create_new_study([direction], plan.name)
            except DuplicatedStudyError:
                raise UserError(
                    f"another driver has this moment begun campaign '{self._campaign['name']}'; wait for it, "
                    "or give this one another name with --name"
                ) from None
        elif "protocol" in self._storage.get_study_user_attrs(study_id):
            return study_id
        elif self._storage.get_study_directions(study_id) != [direction]:
            raise UserError(
                f"the storage has a study '{plan.name}' of the other direction, without a trial; delete it, or give "
                "this campaign another name with --name"
            )
        # the dashboard names the axis by this
        self._storage.set_study_system_attr(study_id, _METRIC_NAMES, [plan.metric])
        attributes = {
            "workload": plan.workload,
            "optimizer": plan.optimizer,
            "metric": plan.metric,
            "metric_split": plan.metric_split,
            "versions": dict(versions),
            "search_space": plan.space.to_dict(),
            "epochs": plan.epochs,
            "replicate": plan.replicate,
            FOLDER: new_folder(),
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

    def interrupt(self, assignment: Assignment, facts: Facts | None = None) -> None:
        """The trial was stopped because the driver stops; the next one asks for it again."""
        with self._lock:
            self._books[assignment.study].interrupt(assignment.number, facts)

    @property
    def folder(self) -> str:
        """A folder among the checkpoints that is this campaign's alone."""
        return next(iter(self._books.values())).folder

    def look(self) -> None:
        """Looks at the database, and at the clock where there is one: called all the time while trials run.

        Raises:
            UserError: the database was away for too long, or another driver has taken over.
        """
        self._writer.check()

    def seconds_left(self) -> float | None:
        """Seconds until a clock ends the run, or ``None`` where there is no clock."""
        return None

    def tallies(self) -> list[Tally]:
        """How far each study is, in the campaign's order."""
        with self._lock:
            return [book.tally() for book in self._books.values()]

    def _stored_trials(self, study_id: int) -> list[FrozenTrial]:
        """What the storage has of a study, whatever else is in memory."""
        try:
            return self._storage.get_all_trials(study_id)
        except REFUSALS as error:
            raise refused(self._shown, error) from error

    @property
    def trouble(self) -> str | None:
        """Why results wait in memory, in words; ``None`` while the database takes them."""
        return self._writer.trouble

    def flush(self) -> None:
        """Returns when the database has all that the ledger knows."""
        self._writer.flush()
