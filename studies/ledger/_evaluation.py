"""The ledger of evaluation runs: what each workload recommends, run on all workloads of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

from optuna.distributions import check_distribution_compatibility

from analysis.schema import EVALUATE, PROTOCOL
from search_spaces.errors import UserError
from studies.campaign.plan import StudyPlan
from studies.ledger._evaluating import Candidate, EvaluationBook
from studies.ledger._ledger import Ledger
from studies.ledger._seeds import fresh_seeds
from studies.storage.database import find_study
from studies.storage.durability import Durability


class EvaluationLedger(Ledger):
    """Asks, reports and tells for the evaluation runs of a campaign; otherwise used as a :class:`Ledger` is.

    Runs are on validation data alone, on the fresh seeds that confirmation runs have too. They are kept in studies of
    their own, ``{campaign}/{workload}/{optimizer}/evaluate``; runs that are there already are not run again.

    Args:
        url: of the storage.
        campaign: the whole configuration, as the storage has it.
        plans: those of the search.
        versions: of the software that computes the values.
        candidates: what is to be run, by the optimizer's key.
        seeds: number of fresh seeds, from 1.
        durability: how long the storage may be away, and where checkpoints are.

    Raises:
        UserError: the storage cannot be opened or has no such campaign, another driver is alive, or a candidate's
            parameter is of another kind than in this campaign.
    """

    _creates = False
    _command: Literal["launch", "confirm", "tune", "export"] = "export"

    def __init__(
        self,
        url: str,
        campaign: Mapping[str, Any],
        plans: Sequence[StudyPlan],
        versions: Mapping[str, str],
        *,
        candidates: Mapping[str, Sequence[Candidate]],
        seeds: int,
        durability: Durability | None = None,
    ) -> None:
        self._candidates, self._seeds = candidates, seeds
        super().__init__(url, campaign, plans, versions, durability=durability)

    def _open(self, shown: str, plans: Sequence[StudyPlan], versions: Mapping[str, str], undo: ExitStack) -> None:
        study_ids = [find_study(self._storage, plan.name) for plan in plans]
        first = study_ids[0]
        if first is None or None in study_ids:
            raise UserError(f"storage '{shown}' has not all studies of campaign '{self._campaign['name']}'")
        self._refuse_others({plan.name + EVALUATE for plan in plans})
        # where a driver of the search has its lease, whichever studies are evaluated
        head = "/".join([self._campaign["name"], self._campaign["workloads"][0], self._campaign["optimizers"][0]])
        leased = find_study(self._storage, head)
        self._take(first if leased is None else leased, shown, undo)
        self._books = {f"{plan.name}{EVALUATE}": self._book(self._as_begun(plan), versions) for plan in plans}

    def _book(self, plan: StudyPlan, versions: Mapping[str, str]) -> EvaluationBook:
        candidates = list({one.key: one for one in self._candidates[plan.optimizer]}.values())
        made = replace(plan, name=plan.name + EVALUATE, trials=self._seeds * len(candidates))
        study_id = self._open_study(made, versions)
        if self._storage.get_study_user_attrs(study_id)["protocol"] != PROTOCOL:
            raise UserError(
                f"study '{made.name}' was run under another protocol than {PROTOCOL}: its values do not compare; "
                "delete it, and export again"
            )
        runs = self._storage.get_all_trials(study_id)
        kinds = {name: kind for run in runs for name, kind in run.distributions.items()}
        for candidate in candidates:
            for name, kind in candidate.distributions.items():
                try:
                    check_distribution_compatibility(kinds.setdefault(name, kind), kind)
                except ValueError:
                    raise UserError(
                        f"--evaluate: {name} of {plan.optimizer} is not searched alike in these campaigns; "
                        "export them one by one"
                    ) from None
        seeds = fresh_seeds(plan.seed, plan.workload, self._seeds)
        return EvaluationBook(made, study_id, self._writer, runs, candidates, seeds)
