"""The book of confirmation runs: a study's winners on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from analysis.schema import INTERRUPTED, LOST
from studies.campaign.plan import StudyPlan
from studies.ledger._seeds import SeedsBook
from studies.storage.writer import TrialWriter
from studies.trials import Tally


def ranked(trials: Sequence[FrozenTrial], direction: str) -> list[FrozenTrial]:
    """The trials that ran their whole budget, best validation value first; of equal ones the lowest number."""
    sign = -1.0 if direction == "maximize" else 1.0
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    return sorted(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


class ConfirmationBook(SeedsBook):
    """Gives out each winner once a seed.

    Args:
        plan: the study of the confirmation runs; its ``trials`` are ``len(winners) * len(seeds)``.
        study_id: of that study in the database.
        writer: through which the database is written.
        trials: what the database has of that study, in the order of their numbers: also runs of former winners, which
            stay there and count for nothing here.
        winners: trials of the search, best first.
        seeds: fresh ones.
        test: whether there are test data.
    """

    def __init__(
        self,
        plan: StudyPlan,
        study_id: int,
        writer: TrialWriter,
        trials: Sequence[FrozenTrial],
        winners: Sequence[FrozenTrial],
        seeds: Sequence[int],
        *,
        test: bool = True,
    ) -> None:
        given = {winner.number: winner for winner in winners}
        marks = {winner.number: {"confirms": winner.number, "rank": rank} for rank, winner in enumerate(winners, 1)}
        super().__init__(plan, study_id, writer, trials, given, marks, seeds, test=test)

    def _configuration_of(self, trial: FrozenTrial) -> int:
        return int(trial.user_attrs.get("confirms", -1))

    def _arguments_of(self, configuration: int | str) -> dict[str, Any]:
        return self._arguments(self._given[configuration].params)

    def tally(self) -> Tally:
        return replace(super().tally(), runs="confirmation runs")


def overtaken(
    winners: Sequence[FrozenTrial], every: Sequence[FrozenTrial], runs: Sequence[FrozenTrial]
) -> dict[int, int]:
    """Former winners that better trials have replaced since, each with the number of its confirmation runs.

    Args:
        winners: the present ones.
        every: the complete trials of the search, best first.
        runs: confirmation runs.
    """
    places = {trial.number: place for place, trial in enumerate(every, start=1)}
    present = {winner.number for winner in winners}
    counts: dict[int, int] = {}
    for run in runs:
        number, rank = int(run.user_attrs.get("confirms", -1)), int(run.user_attrs.get("rank", 1))
        counted = run.state.is_finished() and run.user_attrs.get("failure") not in (LOST, INTERRUPTED)
        # not one whose rank is simply no longer asked for
        if counted and number not in present and rank <= len(winners) and places.get(number, 0) > rank:
            counts[number] = counts.get(number, 0) + 1
    return counts
