"""Ledgers, opened on a storage: of a search, of its confirmation, of evaluation runs.

Nothing is written to a storage that holds something else under a campaign's names, is being written to by another
driver, or was begun with another configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType
from typing import Any

from optuna.distributions import check_distribution_compatibility
from optuna.trial import FrozenTrial

from analysis.schema import CONFIRM, ENDED_BY, EVALUATE, SEEDS_ASKED, ended_by
from analysis.text import listing
from search_spaces.errors import UserError, number_of
from studies.campaign.plan import StudyPlan
from studies.ledger.budget import Clock, SearchBudget
from studies.ledger.confirmation_budget import ConfirmationBudget
from studies.ledger.counting import as_left, best_of_each, ranked, tally
from studies.ledger.ledger import Ledger, Rule
from studies.ledger.limits import Limits
from studies.ledger.opening import Command, Opening, opened
from studies.ledger.path import default_of, differing, from_default, in_order
from studies.ledger.repeats import (
    Beside,
    Candidate,
    compared_on,
    confirmation,
    evaluation,
    fresh_seeds,
    overtaken,
    seeds_asked,
)
from studies.ledger.search import Search
from studies.ledger.study import recall
from studies.storage.database import find_study
from studies.storage.durability import Durability
from studies.trials import Tally

_PATH = "path"  # of a confirmation: from the default to which trial, and in which order
_SEEDS_ADDED = "seeds are added to those on which the winners could be compared already; a report says so (rule 3)"
_TUNE_ANEW = "tune it again under another name with more trials, or narrower search spaces"
_BUDGETED = frozenset({"budget", "trials", "seeds", "starts"})  # keys that a driver with a budget may change


def open_search(
    url: str,
    campaign: Mapping[str, Any],
    plans: Sequence[StudyPlan],
    versions: Mapping[str, str],
    *,
    durability: Durability | None = None,
    extend: bool = False,
    budget: SearchBudget | None = None,
    limits: Limits | None = None,
) -> Ledger:
    """Return the ledger of a campaign's search; a database that is not there is made.

    Args:
        url: Of the storage.
        campaign: The whole configuration, JSON-able; what a restart is compared with. Of ``budget``, ``trials``,
            ``seeds`` and ``starts`` a driver with a budget may bring others, the starts excepted once there are trials:
            those in the storage stay.
        plans: One for each study.
        versions: Of the software that computes the values.
        durability: How long the storage may be away, and where checkpoints are.
        extend: Whether a campaign of this name in the storage is made this one, which has more trials, optimizers or
            workloads, or wider ranges, and is the same otherwise.
        budget: Of a search that ends with it, which has one study.
        limits: Of a campaign that may end before its last trial.

    Raises:
        UserError: The storage cannot be opened, another driver is alive, or the storage has a campaign of this name
            with another configuration.
    """
    command: Command = "launch" if budget is None else "tune"
    limiting = budget or limits
    clock = Clock() if limiting is None else limiting.clock
    with opened(url, campaign, command, versions, limiting or Rule(), durability, create=True) as opening:
        free = frozenset() if budget is None else _BUDGETED

        def check() -> None:
            for study_id in opening.check({plan.name for plan in plans}, extend=extend, free=free):
                opening.storage.delete_study(study_id)

        check()
        # the first study is made by whoever comes first, and described, as all others, by who holds the lease on it
        first = opening.made_study(plans[0])
        waited = opening.take(first, clock)
        _look_for_added(opening, plans)
        opening.open_study(plans[0], first)
        check()  # what is read from here on, no other driver changes: until now one may have
        before = opening.attributes(first)
        clock.resume(before, waited)
        if budget is not None:
            plans = [opening.begun_with_budget(plan) for plan in plans]
        plans = [opening.as_extended(plan) if budget is None else opening.as_begun(plan) for plan in plans]
        if opening.attributes(first).get(ENDED_BY):  # it goes on, or ends again
            opening.change(first, ENDED_BY, None)
        if extend:
            opening.grow()
        study_ids = [first, *(opening.open_study(plan) for plan in plans[1:])]
        for plan, study_id in zip(plans, study_ids, strict=True):
            trials = opening.trials(study_id)
            if budget is None:
                opening.widen(plan, study_id)
            opening.add(plan, study_id, trials, Search(plan))
            if budget is not None:
                for name, value in budget.resume(before, opening.campaign, trials).items():
                    opening.storage.set_study_user_attr(study_id, name, value)
        return opening.ledger()


def look_at_search(
    url: str, campaign: Mapping[str, Any], plans: Sequence[StudyPlan], *, extend: bool = False
) -> tuple[list[Tally], list[str]]:
    """Return how far the studies are with which :func:`open_search` would go on, and its notes; nothing is written.

    Args:
        url: Of the storage, which need not be there.
        campaign: As of :func:`open_search`, and so are the others.
        plans: Likewise.
        extend: Likewise.

    Raises:
        UserError: What that would refuse, a driver that is alive excepted.
    """
    with opened(url, campaign, "launch", {}, Rule(), None, create=True, read_only=True) as opening:
        anew = opening.check({plan.name for plan in plans}, extend=extend)
        every = ((plan, find_study(opening.storage, plan.name)) for plan in plans)
        found = [(plan, study_id) for plan, study_id in every if study_id is not None and study_id not in anew]
        for plan, study_id in found:
            opening.refuse_changed(plan, study_id)
        _look_for_added(opening, plans)
        is_held, tallies = opening.is_held(), []
        for plan, study_id in found:
            trials = opening.trials(study_id)
            tallies.append(tally(opening.as_extended(plan), trials if is_held else as_left(plan, trials)))
        return tallies, opening.notes


def _look_for_added(opening: Opening, plans: Sequence[StudyPlan]) -> None:
    """Find out what could be compared before the studies that are not begun, and note which workloads are added."""
    begun = {study.study_name for study in opening.storage.get_all_studies() if "protocol" in study.user_attrs}
    if all(plan.name in begun for plan in plans):
        return
    opening.compared = compared_on(opening.storage, str(opening.campaign["name"]))
    known = {plan.workload for plan in plans if plan.name in begun}
    added = list(dict.fromkeys(plan.workload for plan in plans if plan.workload not in known))
    if added and opening.compared:
        others = number_of(len(opening.compared), "other workload")
        opening.notes.append(
            f"{listing(added)}: added once winners on {others} could be compared, as a report will say beside what it "
            "says of all workloads."
        )


def open_confirmation(
    url: str,
    campaign: Mapping[str, Any],
    plans: Sequence[StudyPlan],
    versions: Mapping[str, str],
    *,
    seeds: int,
    top: int = 1,
    anyway: bool = False,
    durability: Durability | None = None,
    budget: ConfirmationBudget | None = None,
    beside: Mapping[str, Sequence[str] | None] = MappingProxyType({}),
    of_each: bool = False,
) -> Ledger:
    """Return the ledger of the confirmation runs of a campaign that has been tuned.

    It holds the campaign's own lease: nobody tunes while winners are confirmed, which would change who won and take
    the devices that runs are to have alone.

    A campaign that is not finished is refused unless ``anyway`` is true. Its winners are not its winners yet, some
    optimizers have had more trials than others, and confirming is dear: whole budgets, one run alone on a device, to
    be done again for each winner that changes. A search with a budget has ended by its own rules.

    Args:
        url: Of the storage.
        campaign: The whole configuration, as the storage has it.
        plans: Those of the searches, replicates included. Each has its own winners and fresh seeds of its own.
        versions: Of the software that computes the values.
        durability: How long the storage may be away, and where checkpoints are.
        seeds: Number of fresh seeds of each search, from 1.
        top: Number of winners of each study, from 1; fewer where fewer trials are complete.
        anyway: Whether to confirm what is there of a campaign that is not finished.
        budget: Of a confirmation that ends with it, which has one study.
        beside: By the name of a search: its default is run on the same seeds too, and where an order of parameters is
            given, the steps from there to its winner.
        of_each: Whether the winners of a study that chooses the optimizer too are the best trials of as many of them.

    Raises:
        UserError: The storage cannot be opened or has no such campaign, another driver is alive, the campaign is not
            finished, or has nothing to confirm.
    """
    command: Command = "confirm" if budget is None else "tune"
    with opened(url, campaign, command, versions, budget or Rule(), durability) as opening:
        study_ids = [opening.searched_study(plan) for plan in plans]
        opening.refuse_others({plan.name + CONFIRM for plan in plans})
        clock = Clock() if budget is None else budget.clock
        clock.began += opening.take(study_ids[0], clock, changed_by=() if budget is None else _BUDGETED)
        plans = [opening.as_begun(plan) for plan in plans]
        every, tallies, cut = {}, [], ended_by(opening.attributes(study_ids[0]))
        for plan, study_id in zip(plans, study_ids, strict=True):
            trials = recall(plan, study_id, opening.writer, opening.trials(study_id))[0]
            every[plan.name] = ranked(trials, plan.direction)
            counted = tally(plan, trials)
            why = counted.stopped or (cut.get(plan.name) if counted.missing else None)
            tallies.append(replace(counted, stopped=why))
        if budget is None:
            opening.judge(tallies, anyway=anyway)
        for one in tallies:
            if not every[one.study]:
                opening.notes.append(f"{one.study} is left out: {_ended(one)}, none ran its whole budget")
        confirmed = [plan for plan in plans if every[plan.name]]
        if not confirmed:
            # what a limit cut short goes on
            remedy = f"launch it again without that limit: {opening.again()}" if cut else _TUNE_ANEW
            ended = f" ({'; '.join(sorted(set(cut.values())))})" if cut else ""
            raise UserError(
                f"campaign '{campaign['name']}' has nothing to confirm: no trial ran its whole budget{ended}; {remedy}"
            )
        winners = {
            plan.name: (best_of_each(every[plan.name], plan.space.optimizer_of) if of_each else every[plan.name])[:top]
            for plan in confirmed
        }
        for plan in confirmed:
            _add_confirmation(
                opening,
                plan,
                _Confirming(
                    winners[plan.name],
                    every[plan.name],
                    top,
                    fresh_seeds(int(opening.campaign["seed"]), seeds, plan.replicate),
                    from_default=plan.name in beside,
                    compared=_has_runs(opening, plan, confirmed),
                    order=beside.get(plan.name),
                ),
            )
        return opening.ledger([winner for plan in confirmed for winner in winners[plan.name]])


@dataclass(frozen=True, slots=True)
class _Confirming:
    """How a search is confirmed.

    Attributes:
        winners: What is run.
        every: The complete trials, best first.
        top: How many winners there were to be.
        seeds: Fresh ones.
        from_default: Whether the default is run too.
        compared: Whether winners of others have runs already.
        order: Of the parameters, where the steps from there to the winner are.
    """

    winners: Sequence[FrozenTrial]
    every: Sequence[FrozenTrial]
    top: int
    seeds: Sequence[int]
    _: KW_ONLY
    from_default: bool
    compared: bool
    order: Sequence[str] | None


def _add_confirmation(opening: Opening, plan: StudyPlan, how: _Confirming) -> None:
    winners = how.winners
    made = replace(plan, name=plan.name + CONFIRM)
    study_id = opening.open_study(made)
    others = _from_default(opening, plan, winners[0], study_id, how.order) if how.from_default else []
    made = replace(made, trials=len(how.seeds) * (len(winners) + len(others)))
    if opening.attributes(study_id)["campaign"] != opening.campaign:  # it was extended since
        opening.storage.set_study_user_attr(study_id, "campaign", opening.campaign)
    runs = opening.trials(study_id)
    before = opening.attributes(study_id).get(SEEDS_ASKED)
    if (asked := seeds_asked(winners[0], runs, len(how.seeds), before, compared=how.compared)) != before:
        opening.change(study_id, SEEDS_ASKED, asked)
        if len(asked["numbers"]) > 1 and _SEEDS_ADDED not in opening.notes:
            opening.notes.append(_SEEDS_ADDED)
    former = overtaken(winners, how.every, runs)
    if former:
        numbers = " and ".join(str(winner.number) for winner in winners)
        now = f"the winners now are trials {numbers}" if len(winners) > 1 else f"the winner now is trial {numbers}"
        was = ", ".join(f"{number_of(count, 'run')} of trial {n}" for n, count in former.items())
        opening.notes.append(f"{plan.name}: the search went on, and {now}; kept in the storage: {was}")
    if len(winners) < how.top and not plan.space.conditional:
        opening.notes.append(
            f"{plan.name}: only {len(winners)} of {number_of(how.top, 'winner')}, no more trials are complete"
        )
    opening.add(made, study_id, runs, confirmation(made, winners, how.seeds, others))


def _has_runs(opening: Opening, of: StudyPlan, confirmed: Sequence[StudyPlan]) -> bool:
    """Return whether the winners of another optimizer of the workload have been run."""
    rivals = [plan for plan in confirmed if plan.workload == of.workload and plan.optimizer != of.optimizer]
    begun = [find_study(opening.storage, plan.name + CONFIRM) for plan in rivals]
    return any(opening.storage.get_n_trials(study_id) for study_id in begun if study_id is not None)


def _from_default(
    opening: Opening, plan: StudyPlan, winner: FrozenTrial, study_id: int, order: Sequence[str] | None
) -> list[Beside]:
    """Return the default and the steps from there to ``winner``, in the order in which they were begun."""
    begun = opening.attributes(study_id).get(_PATH)
    if order is not None and isinstance(begun, Mapping) and begun.get("to") == winner.number:
        order = begun["order"]
    elif order is not None:
        order = in_order(differing(default_of(plan), winner.params), order)
        opening.storage.set_study_user_attr(study_id, _PATH, {"to": winner.number, "order": list(order)})
    found = from_default(plan, winner.params, winner.number, order)
    if not found:
        opening.notes.append(f"{plan.name}: its winner is the default, which has no other runs")
    return found


def _ended(tally: Tally) -> str:
    counts = {name: getattr(tally, name) for name in ("pruned", "diverged", "failed")}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "no trial has ended"


def open_evaluation(
    url: str,
    campaign: Mapping[str, Any],
    plans: Sequence[StudyPlan],
    versions: Mapping[str, str],
    *,
    candidates: Mapping[str, Sequence[Candidate]],
    seeds: int,
    durability: Durability | None = None,
) -> Ledger:
    """Return the ledger of evaluation runs: what each workload recommends, run on all workloads of a campaign.

    Runs are on validation data alone, on the fresh seeds that confirmation runs have too. They are kept in studies of
    their own, ``{campaign}/{workload}/{optimizer}/evaluate``; runs that are there already are not run again.

    Args:
        url: Of the storage.
        campaign: The whole configuration, as the storage has it.
        plans: Those of the search.
        versions: Of the software that computes the values.
        durability: How long the storage may be away, and where checkpoints are.
        candidates: What is to be run, by the optimizer's key.
        seeds: Number of fresh seeds, from 1.

    Raises:
        UserError: The storage cannot be opened or has no such campaign, another driver is alive, or a candidate's
            parameter is of another kind than in this campaign.
    """
    with opened(url, campaign, "evaluate", versions, Rule(), durability) as opening:
        study_ids = [opening.searched_study(plan) for plan in plans]
        opening.refuse_others({plan.name + EVALUATE for plan in plans})
        # where a driver of the search has its lease, whichever studies are evaluated
        head = "/".join([campaign["name"], campaign["workloads"][0], campaign["optimizers"][0]])
        leased = find_study(opening.storage, head)
        opening.take(study_ids[0] if leased is None else leased, changed_by=())
        for plan in plans:
            _add_evaluation(opening, opening.as_begun(plan), candidates[plan.optimizer], seeds)
        return opening.ledger()


def _add_evaluation(opening: Opening, plan: StudyPlan, given: Sequence[Candidate], seeds: int) -> None:
    candidates = list({one.key: one for one in given}.values())
    made = replace(plan, name=plan.name + EVALUATE, trials=seeds * len(candidates))
    study_id = opening.open_study(made)
    runs = opening.trials(study_id)
    kinds = {name: kind for run in runs for name, kind in run.distributions.items()}
    for candidate in candidates:
        for name, kind in candidate.distributions.items():
            try:
                check_distribution_compatibility(kinds.setdefault(name, kind), kind)
            except ValueError:
                raise UserError(
                    f"{name} of {plan.optimizer} is not searched alike in these campaigns; evaluate them one by one"
                ) from None
    fresh = fresh_seeds(int(opening.campaign["seed"]), seeds)
    opening.add(made, study_id, runs, evaluation(made, candidates, fresh))
