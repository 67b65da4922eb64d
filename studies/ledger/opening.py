"""What a ledger finds in a storage before it may go on there, and what it makes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

from analysis.schema import CONFIRM, CONFIRMED_ELSEWHERE, ENDED_BY, EVALUATE, PROTOCOL, WIDENED, maker_of
from search_spaces import stored_space
from search_spaces.errors import UserError, number_of
from studies.called import command_line, storage_named
from studies.campaign.extension import (
    ANOTHER_NAME,
    ANOTHER_NAME_FOR_CAMPAIGN,
    differences,
    extended,
    why_another,
    why_other_rules,
    wider_ranges,
)
from studies.campaign.plan import WHERE_TOLD, StudyPlan
from studies.campaign.reading import launched_again
from studies.ledger.budget import SPENT, Clock
from studies.ledger.ledger import Changes, Ledger, Rule, release, tidy
from studies.ledger.study import Source, StudyLedger, quiet
from studies.storage import lease as _lease
from studies.storage.backend import Backend
from studies.storage.database import close_storage, find_study, open_storage
from studies.storage.durability import Durability
from studies.storage.lease import Lease
from studies.storage.refusals import REFUSALS, refused, unreadable
from studies.storage.url import hide_password
from studies.storage.writer import FOLDER, TrialWriter, new_folder
from studies.trials import Tally

_METRIC_NAMES = "study:metric_names"  # Optuna's own attribute
# what a study is described with, before its protocol
_DESCRIBED = frozenset({
    "workload", "optimizer", "metric", "metric_split", "metric_scale", "target", "versions", "search_space", "epochs",
    "replicate", "resplit", *WHERE_TOLD, FOLDER, "campaign", CONFIRMED_ELSEWHERE,
})  # fmt: skip
_BEFORE = frozenset({_lease.KEY, SPENT, ENDED_BY})  # what a driver has on it by then: its lease, what it keeps beside

Command = Literal["launch", "confirm", "evaluate", "tune"]
"""By which the person goes on."""


@contextmanager
def opened(
    url: str,
    campaign: Mapping[str, Any],
    command: Command,
    versions: Mapping[str, str],
    rule: Rule,
    durability: Durability | None,
    *,
    create: bool = False,
    read_only: bool = False,
) -> Iterator[Opening]:
    """Open a storage to make a ledger on it, or to read it; what was begun is undone where that comes to nothing."""
    with ExitStack() as undo:
        storage = open_storage(url, create=create, read_only=read_only)
        undo.callback(close_storage, storage)
        shown = hide_password(url)
        kept = Durability() if durability is None else durability
        try:
            yield Opening(storage, url, shown, dict(campaign), command, versions, rule, kept, undo)
        except json.JSONDecodeError as error:  # a text that was cut off, as by a column that is too small for it
            raise unreadable(shown, ValueError(f"an entry is not JSON ({error})")) from error
        except REFUSALS as error:
            raise (unreadable if read_only else refused)(shown, error) from error


@dataclass(slots=True)
class Opening:
    """A ledger that is being opened: what `studies.ledger.ledger.Ledger` has, and the person's ``command``.

    ``compared`` has the workloads on which winners of the campaign can be compared before what it begins.
    """

    storage: Backend
    url: str
    shown: str
    campaign: dict[str, Any]
    command: Command
    versions: Mapping[str, str]
    rule: Rule
    durability: Durability
    undo: ExitStack
    studies: dict[str, StudyLedger] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    compared: Sequence[str] = ()
    writer: TrialWriter = field(init=False)

    def attributes(self, study_id: int) -> Mapping[str, Any]:
        """Return the user attributes of a study."""
        return self.storage.get_study_user_attrs(study_id)

    def trials(self, study_id: int) -> list[FrozenTrial]:
        """Return the trials of a study, in the order of their numbers."""
        return self.storage.get_all_trials(study_id)

    # ------------------------------------------------------------------------------------------------- the ledger

    def take(self, study_id: int, clock: Clock | None = None, *, changed_by: Collection[str] | None = None) -> float:
        """Take the lease, which lies on the campaign's first study, and begin to write.

        Args:
            study_id: Of that study.
            clock: Tells the time.
            changed_by: Keys of the configuration that a driver that is waited for may change; ``None``: any.

        Returns:
            Seconds of waiting for another driver.

        Raises:
            UserError: Another driver is alive, or changed more.
        """
        clock = Clock() if clock is None else clock
        asked, before = clock.now(), self.attributes(study_id).get("campaign", {})
        lease = Lease(self.storage, study_id, str(self.campaign["name"]), self.shown, self.command)
        lease.take(self.durability.waiting)
        self.undo.callback(release, lease, self.storage, self.changes)
        self.writer = TrialWriter(self.storage, self.shown, lease, self.durability, self.rule.kept, study_id)
        self.undo.callback(tidy, self.writer, self.studies, self.rule)
        self.undo.callback(self.writer.close)
        if changed_by is not None:
            now = self.attributes(study_id).get("campaign", {})
            if any(before.get(key) != now.get(key) for key in before.keys() | now.keys() if key not in changed_by):
                raise UserError(
                    f"campaign '{self.campaign['name']}' was changed by the driver that was waited for; give the same "
                    "command again"
                )
        return clock.now() - asked

    def add(self, plan: StudyPlan, study_id: int, trials: Sequence[FrozenTrial], source: Source) -> None:
        """Add a study to the ledger."""
        self.studies[plan.name] = StudyLedger(plan, study_id, self.writer, trials, source)

    def ledger(self, winners: Sequence[FrozenTrial] = ()) -> Ledger:
        """Return the ledger; what is to be undone is its task from now on."""
        self.rule.begin(list(self.studies.values()))
        return Ledger(
            self.storage, self.shown, self.writer, self.studies, self.rule, self.durability, self.undo.pop_all(),
            notes=self.notes, winners=winners, changes=self.changes,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------- what the storage holds

    def check(self, names: set[str], *, extend: bool, free: frozenset[str] = frozenset()) -> list[int]:
        """Refuse a storage that holds something else under these names, before anything is written.

        Args:
            names: Of studies.
            extend: Whether the campaign in the storage may be made this one.
            free: Keys of the configuration that this driver may change.

        Returns:
            The ids of another campaign's studies, of this one's name, that bind nobody: a driver deletes them.
        """
        self.refuse_others(names)
        ours = self._ours()
        differing = (self._difference(attributes, extend, free) for attributes in ours.values())
        reason = next((reason for reason in differing if reason), None)
        if reason is None:
            return []
        if self.is_held() or any(self.storage.get_n_trials(study_id) for study_id in ours):
            raise UserError(reason)
        return list(ours)  # it never came to run a trial: a slip of the fingers

    def is_held(self) -> bool:
        """Return whether a driver of this campaign is alive."""
        return any(_lease.alive(one[_lease.KEY]) for one in self._ours().values() if one.get(_lease.KEY))

    def refuse_others(self, names: Iterable[str]) -> None:
        """Refuse a storage with a study of one of these names that is none of a campaign, or a damaged one.

        Raises:
            UserError: There is one; nothing is written to it.
        """
        for study in self.storage.get_all_studies():
            maker = maker_of(study.study_name, study.user_attrs)
            if maker.is_campaign or study.study_name not in names or self._is_begun(study):
                continue
            other = "delete it" if self.command in ("confirm", "evaluate") else ANOTHER_NAME_FOR_CAMPAIGN
            if maker.damage:
                lost = " and ".join(f"'{name}'" for name in maker.damage)
                raise UserError(
                    f"study '{study.study_name}' of campaign '{maker.campaign}' is damaged: {lost} missing or not what "
                    f"a campaign stores; restore the storage from a copy, or {other}"
                )
            raise UserError(f"the storage has a study '{study.study_name}' that no campaign made; {other}")

    def _is_begun(self, study: FrozenStudy) -> bool:
        """Return whether a study is what a driver leaves that dies while it makes one: no trials, not yet described."""
        user, system = study.user_attrs, study.system_attrs
        return (
            "protocol" not in user
            and user.keys() <= _DESCRIBED | _BEFORE
            and (user.keys() <= _BEFORE or f"/{user.get('workload')}/" in study.study_name)
            and system.keys() <= {_METRIC_NAMES}
            and len(study.directions) == 1
            and not self.storage.get_n_trials(study._study_id)
        )

    def _ours(self) -> dict[int, Mapping[str, Any]]:
        """Return the attributes of the studies of this campaign's searches, by study id."""
        return {
            study._study_id: study.user_attrs
            for study in self.storage.get_all_studies()
            if maker_of(study.study_name, study.user_attrs).is_campaign
            and study.user_attrs["campaign"]["name"] == self.campaign["name"]
            and not study.study_name.endswith((CONFIRM, EVALUATE))
        }

    def _difference(self, attributes: Mapping[str, Any], extend: bool, free: frozenset[str]) -> str | None:
        """Return why this campaign does not go on with a study of its name, or ``None``."""
        if other_rules := self._other_rules(attributes):
            return other_rules
        before, asked = (
            {key: value for key, value in configuration.items() if key not in free}
            for configuration in (attributes["campaign"], self.campaign)
        )
        return why_another(before, asked, extend=extend, extensible=self.command == "launch")

    def _other_rules(self, attributes: Mapping[str, Any]) -> str | None:
        """Return why nothing is added to a study of this campaign that was made by other rules, else ``None``."""
        return why_other_rules(str(self.campaign["name"]), attributes["protocol"], self._anew(ANOTHER_NAME))

    def _anew(self, named: str) -> str:
        """Return how the person searches anew beside what is there: as ``named``, where the command takes a name."""
        again = f"search again, under another name: {self.again('--name', 'NAME')}"
        return again if self.command in ("confirm", "evaluate") else named

    def grow(self) -> None:
        """Make this configuration that of the campaign's studies, all at once."""
        ours = {study_id: attributes["campaign"] for study_id, attributes in self._ours().items()}
        for before in ours.values():
            if differences(extended(before, self.campaign), self.campaign):
                raise UserError(
                    f"campaign '{self.campaign['name']}' was changed this moment by another driver; give the same "
                    "command again"
                )
        outdated = [study_id for study_id, before in ours.items() if before != self.campaign]
        if outdated:  # all alike, as they are changed all at once
            self.changes.former.append((outdated, "campaign", ours[outdated[0]]))
            self.storage.set_everywhere(outdated, "campaign", self.campaign)

    # ------------------------------------------------------------------------------------------------- its studies

    def change(self, study_id: int, name: str, value: Any) -> None:
        """Give a study another user attribute until this driver is refused, or for good once it asks for a trial."""
        self.changes.former.append(([study_id], name, self.attributes(study_id).get(name)))
        self.storage.set_study_user_attr(study_id, name, value)

    def begun_with_budget(self, plan: StudyPlan) -> StudyPlan:
        """Return the plan with the starts that its study was begun with, whatever is recommended by now."""
        study_id = find_study(self.storage, plan.name)
        if study_id is None or not self.storage.get_n_trials(study_id):
            return plan
        self.campaign["starts"] = self.attributes(study_id)["campaign"].get("starts", [])
        return replace(plan, initial=tuple(self.campaign["starts"]))

    def as_begun(self, plan: StudyPlan) -> StudyPlan:
        """Return ``plan`` with the search space that its study was begun with.

        Its trials lie in that, whatever it is now.
        """
        study_id = find_study(self.storage, plan.name)
        attributes = {} if study_id is None else self.attributes(study_id)
        stored = attributes.get("search_space")
        if "protocol" not in attributes or not isinstance(stored, Mapping) or stored == plan.space.to_dict():
            return plan
        try:
            return replace(plan, space=stored_space(stored))
        except (UserError, KeyError) as error:
            raise UserError(f"study '{plan.name}': its search space cannot be read ({error})") from None

    def as_extended(self, plan: StudyPlan) -> StudyPlan:
        """Return ``plan`` with the search space that its study was begun with, or its own where that is a wider one."""
        begun = self.as_begun(plan)
        return plan if wider_ranges(begun.space.to_dict(), plan.space.to_dict()) else begun

    def widen(self, plan: StudyPlan, study_id: int) -> None:
        """Describe a study with the search space of ``plan`` where that is wider, and note since which trial."""
        attributes, space = self.attributes(study_id), plan.space.to_dict()
        after = self.storage.get_n_trials(study_id)
        wider = [{**one, "after": after} for one in wider_ranges(attributes.get("search_space"), space)]
        if wider:
            before = [one for one in attributes.get(WIDENED) or [] if one not in wider]
            self.change(study_id, WIDENED, [*before, *wider])
            self.change(study_id, "search_space", space)

    @quiet()
    def made_study(self, plan: StudyPlan) -> int:
        """Return the id of the study, which is made if it is not there.

        Raises:
            UserError: It is there, and another than this plan would make.
        """
        if (study_id := find_study(self.storage, plan.name)) is not None:
            self.refuse_changed(plan, study_id)
            return study_id
        direction = StudyDirection.MAXIMIZE if plan.direction == "maximize" else StudyDirection.MINIMIZE
        try:
            study_id = self.storage.create_new_study([direction], plan.name)
        except DuplicatedStudyError:
            raise UserError(
                f"another driver has this moment begun campaign '{self.campaign['name']}'; wait for it, "
                "or give this one another name with --name"
            ) from None
        self.changes.made.append(study_id)
        return study_id

    def refuse_changed(self, plan: StudyPlan, study_id: int) -> None:
        """Refuse a study that was begun on other data, or whose workload measured something else then."""
        attributes, [begun] = self.attributes(study_id), self.storage.get_study_directions(study_id)
        direction = begun.name.lower()
        if "protocol" not in attributes:
            if direction != plan.direction:
                raise UserError(
                    f"the storage has a study '{plan.name}' of the other direction, without a trial; delete it, or "
                    f"{ANOTHER_NAME_FOR_CAMPAIGN}"
                )
            return
        if changed := plan.why_changed(attributes, direction, self._anew(ANOTHER_NAME_FOR_CAMPAIGN)):
            raise UserError(changed)

    def open_study(self, plan: StudyPlan, study_id: int | None = None) -> int:
        """Return the id of the study, which is made and described if it is not there; for who has the lease alone."""
        study_id = self.made_study(plan) if study_id is None else study_id
        self.refuse_changed(plan, study_id)
        if "protocol" in self.attributes(study_id):
            return study_id
        others = [workload for workload in self.compared if workload != plan.workload]
        # the dashboard names the axis by this
        self.storage.set_study_system_attr(study_id, _METRIC_NAMES, [plan.metric])
        attributes = {
            **plan.stored(),
            "versions": dict(self.versions),
            FOLDER: new_folder(),
            "campaign": self.campaign,
            **({CONFIRMED_ELSEWHERE: others} if others else {}),
            "protocol": PROTOCOL,  # the last: who sees it sees all, and a driver that dies before it leaves nothing
        }
        for name, value in attributes.items():
            self.storage.set_study_user_attr(study_id, name, value)
        return study_id

    def searched_study(self, plan: StudyPlan) -> int:
        """Return the id of a study of the search, which is there.

        Raises:
            UserError: It is not, or was made by other rules; nothing is written.
        """
        study_id = find_study(self.storage, plan.name)
        attributes = {} if study_id is None else self.attributes(study_id)
        if study_id is None or not maker_of(plan.name, attributes).is_campaign:
            raise UserError(
                f"storage '{self.shown}' has no study '{plan.name}' to {self.command}; launch campaign "
                f"'{self.campaign['name']}' first"
            )
        if other_rules := self._other_rules(attributes):
            raise UserError(other_rules)
        self.refuse_changed(plan, study_id)
        return study_id

    def again(self, *more: str) -> str:
        """Return the command that goes on with the search."""
        words = ["launch", str(self.campaign["name"])] if more else launched_again(self.campaign)
        return command_line(*words, *more, *storage_named(self.url, self.shown))

    def judge(self, tallies: Sequence[Tally], *, anyway: bool) -> None:
        """Refuse a search that is not finished, or note what of it is missing."""
        name = self.campaign["name"]
        missing = {t.study.removeprefix(f"{name}/"): t.missing for t in tallies if t.missing}
        if missing:
            listed = ", ".join(f"{study} {trials}" for study, trials in missing.items())
            asked_for = sum(t.asked_for or 0 for t in tallies)
            are = "is" if (lacking := sum(missing.values())) == 1 else "are"
            sentence = f"{lacking} of {number_of(asked_for, 'trial')} {are} missing ({listed})"
            if not anyway:
                raise UserError(
                    f"campaign '{name}' is not finished: {sentence}; go on with: {self.again()}, "
                    "or confirm what is there with --anyway"
                )
            self.notes.append(f"{sentence}; what is there is confirmed, and winners may change")
        for one in tallies:
            if one.stopped is not None and one.asked_for is not None and one.done < one.asked_for:
                trials = number_of(one.asked_for, "trial")
                self.notes.append(f"{one.study} was stopped after {one.done} of {trials}: {one.stopped}")
