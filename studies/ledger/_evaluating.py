"""The book of evaluation runs: what other workloads recommend, on fresh seeds of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from analysis.schema import EVALUATES
from search_spaces import configuration_key
from studies.campaign.plan import StudyPlan
from studies.ledger._seeds import SeedsBook
from studies.storage.writer import TrialWriter
from studies.trials import Tally


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration to be evaluated on workloads that it was not tuned on.

    Attributes:
        configuration: stored values, fixed ones included.
        params: the stored values that its own space searches.
        distributions: theirs.
        arguments: of the optimizer, and ``batch_size``.
    """

    configuration: Mapping[str, Any]
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What tells it from others."""
        return configuration_key(self.configuration)


class EvaluationBook(SeedsBook):
    """Gives out what other workloads recommend for the same optimizer, each configuration once a seed.

    Args:
        plan: the study of the runs.
        study_id: of that study in the database.
        writer: through which the database is written.
        trials: what the database has of that study.
        candidates: the configurations.
        seeds: fresh ones.
    """

    _confirms = False

    def __init__(
        self,
        plan: StudyPlan,
        study_id: int,
        writer: TrialWriter,
        trials: Sequence[FrozenTrial],
        candidates: Sequence[Candidate],
        seeds: Sequence[int],
    ) -> None:
        self._candidates = {candidate.key: candidate for candidate in candidates}
        marks = {key: {EVALUATES: dict(candidate.configuration)} for key, candidate in self._candidates.items()}
        super().__init__(plan, study_id, writer, trials, self._candidates, marks, seeds, test=False)

    def _configuration_of(self, trial: FrozenTrial) -> str:
        return configuration_key(trial.user_attrs.get(EVALUATES, {}))

    def _arguments_of(self, configuration: int | str) -> dict[str, Any]:
        return dict(self._candidates[str(configuration)].arguments)

    def tally(self) -> Tally:
        return replace(super().tally(), runs="evaluation runs")
