"""The ledger of a campaign's confirmation runs: which winners, on which seeds, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

from optuna.trial import FrozenTrial

from analysis.schema import CONFIRM, PROTOCOL, maker_of
from search_spaces.errors import UserError, number_of
from studies.called import command_line, storage_named
from studies.campaign.plan import StudyPlan
from studies.ledger._confirming import ConfirmationBook, overtaken, ranked
from studies.ledger._ledger import Ledger
from studies.ledger._seeds import fresh_seeds
from studies.ledger._tuning import StudyBook
from studies.storage.database import find_study
from studies.storage.durability import Durability
from studies.trials import Tally


class ConfirmationLedger(Ledger):
    """Asks, reports and tells for the confirmation runs of a campaign that has been tuned.

    It holds the campaign's own lease: nobody tunes while winners are confirmed, which would change who won and take
    the devices that runs are to have alone. Otherwise it is used as a :class:`Ledger` is, whose methods it has.

    A campaign that is not finished is refused unless ``anyway`` is true. Its winners are not its winners yet, some
    optimizers have had more trials than others, and confirming is dear: whole budgets, one run alone on a device, to
    be done again for each winner that changes.

    Args:
        url: of the storage.
        campaign: the whole configuration, as the storage has it.
        plans: those of the search.
        versions: of the software that computes the values.
        seeds: number of fresh seeds, from 1.
        top: number of winners of each study, from 1; fewer where fewer trials are complete.
        anyway: whether to confirm what is there of a campaign that is not finished.
        test: whether the workloads have test data.
        durability: how long the storage may be away, and where checkpoints are.

    Attributes:
        notes: what the person should know before the runs begin, a line each.
        devices: those that the winners were tuned on, in words.

    Raises:
        UserError: the storage cannot be opened or has no such campaign, another driver is alive, the campaign is not
            finished, or has nothing to confirm.
    """

    _creates = False
    _command: Literal["launch", "confirm", "tune", "export"] = "confirm"

    def __init__(
        self,
        url: str,
        campaign: Mapping[str, Any],
        plans: Sequence[StudyPlan],
        versions: Mapping[str, str],
        *,
        seeds: int,
        top: int = 1,
        anyway: bool = False,
        test: bool = True,
        durability: Durability | None = None,
    ) -> None:
        self._seeds, self._top, self._anyway, self._test = seeds, top, anyway, test
        self._winners: Mapping[str, Sequence[FrozenTrial]] = {}  # by study, best first
        self.notes: list[str] = []
        self.devices: list[str] = []
        super().__init__(url, campaign, plans, versions, durability=durability)

    def _open(self, shown: str, plans: Sequence[StudyPlan], versions: Mapping[str, str], undo: ExitStack) -> None:
        study_ids = [self._tuned_study(plan, shown) for plan in plans]
        plans = [self._as_begun(plan) for plan in plans]
        self._refuse_others({plan.name + CONFIRM for plan in plans})
        self._take(study_ids[0], shown, undo)
        trials = {
            plan.name: self._storage.get_all_trials(study_id) for plan, study_id in zip(plans, study_ids, strict=True)
        }
        # a book of the search judges how far it is as the search itself does, and closes what a dead driver left
        tallies = {
            plan.name: StudyBook(plan, study_id, self._writer, trials[plan.name]).tally()
            for plan, study_id in zip(plans, study_ids, strict=True)
        }
        self._judge(list(tallies.values()))
        every = {plan.name: ranked(trials[plan.name], plan.direction) for plan in plans}
        for plan in plans:
            if not every[plan.name]:
                self.notes.append(f"{plan.name} is left out: {_ended(tallies[plan.name])}, none ran its whole budget")
        confirmed = [plan for plan in plans if every[plan.name]]
        if not confirmed:
            raise UserError(
                f"campaign '{self._campaign['name']}' has nothing to confirm: no trial ran its whole budget; "
                "tune it again under another name with more trials, or narrower search spaces"
            )
        self._winners = winners = {plan.name: every[plan.name][: self._top] for plan in confirmed}
        devices = (trial.user_attrs.get("device") for listed in winners.values() for trial in listed)
        self.devices = [str(device) for device in dict.fromkeys(devices) if device is not None]
        self._books = {
            book.plan.name: book
            for book in (self._book(plan, versions, winners[plan.name], every[plan.name]) for plan in confirmed)
        }

    def _tuned_study(self, plan: StudyPlan, shown: str) -> int:
        study_id = find_study(self._storage, plan.name)
        attributes = {} if study_id is None else self._storage.get_study_user_attrs(study_id)
        name = self._campaign["name"]
        if study_id is None or not maker_of(plan.name, attributes).is_campaign:
            raise UserError(f"storage '{shown}' has no study '{plan.name}' to confirm; launch campaign '{name}' first")
        if attributes["protocol"] != PROTOCOL:
            raise UserError(
                f"campaign '{name}' was tuned under protocol {attributes['protocol']}, this is protocol {PROTOCOL}: "
                "runs of now do not compare with its trials; tune it again under another name"
            )
        return study_id

    def _judge(self, tallies: Sequence[Tally]) -> None:
        """Refuses a search that is not finished, or notes what of it is missing."""
        name = self._campaign["name"]
        missing = {t.study.removeprefix(f"{name}/"): t.missing for t in tallies if t.missing}
        if missing:
            listed = ", ".join(f"{study} {trials}" for study, trials in missing.items())
            asked_for = sum(t.asked_for or 0 for t in tallies)
            are = "is" if (lacking := sum(missing.values())) == 1 else "are"
            sentence = f"{lacking} of {number_of(asked_for, 'trial')} {are} missing ({listed})"
            if not self._anyway:
                again = command_line("launch", str(name), *storage_named(self._url, self._shown))
                raise UserError(
                    f"campaign '{name}' is not finished: {sentence}; go on with: {again}, "
                    "or confirm what is there with --anyway"
                )
            self.notes.append(f"{sentence}; what is there is confirmed, and winners may change")
        for tally in tallies:
            if tally.stopped is not None and tally.asked_for is not None and tally.done < tally.asked_for:
                trials = number_of(tally.asked_for, "trial")
                self.notes.append(f"{tally.study} was stopped after {tally.done} of {trials}: {tally.stopped}")

    def _book(
        self,
        plan: StudyPlan,
        versions: Mapping[str, str],
        winners: Sequence[FrozenTrial],
        every: Sequence[FrozenTrial],
    ) -> ConfirmationBook:
        made = replace(plan, name=plan.name + CONFIRM, trials=self._seeds * len(winners))
        study_id = self._open_study(made, versions)
        if self._storage.get_study_user_attrs(study_id)["campaign"] != self._campaign:  # it was extended since
            self._storage.set_study_user_attr(study_id, "campaign", self._campaign)
        runs = self._storage.get_all_trials(study_id)
        former = overtaken(winners, every, runs)
        if former:
            numbers = " and ".join(str(winner.number) for winner in winners)
            now = f"the winners now are trials {numbers}" if len(winners) > 1 else f"the winner now is trial {numbers}"
            was = ", ".join(f"{number_of(count, 'run')} of trial {n}" for n, count in former.items())
            self.notes.append(f"{plan.name}: the search went on, and {now}; kept in the storage: {was}")
        if len(winners) < self._top:
            self.notes.append(
                f"{plan.name}: only {len(winners)} of {number_of(self._top, 'winner')}, no more trials are complete"
            )
        seeds = fresh_seeds(plan.seed, plan.workload, self._seeds)
        return ConfirmationBook(made, study_id, self._writer, runs, winners, seeds, test=self._test)


def _ended(tally: Tally) -> str:
    counts = {name: getattr(tally, name) for name in ("pruned", "diverged", "failed")}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "no trial has ended"
