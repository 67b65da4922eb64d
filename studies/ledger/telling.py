"""What a listener is told of the trials of one study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from optuna.trial import FrozenTrial, TrialState

from analysis.schema import DRAWN_BY, ROLE, TEST_PREFIX
from studies.campaign.plan import StudyPlan
from studies.ledger.counting import is_asked_again
from studies.training.failures import reason_of
from studies.trials import Ending, Listener, LoggedTrial, Outcome, Runs

_TAGS = ("seed", "retry_of", "confirms", "rank", DRAWN_BY, ROLE)  # user attributes that a trial begins with


class Telling:
    """Tells a listener of trials as the database has them.

    Args:
        plan: The study.
        runs: What its trials are.
        listener: Hears of them.
    """

    def __init__(self, plan: StudyPlan, runs: Runs, listener: Listener) -> None:
        self._plan, self._runs, self._listener = plan, runs, listener

    def settled(self, trial: FrozenTrial) -> None:
        """Tell of a trial that an earlier driver had."""
        self._listener.settled(self._logged(trial), _ending(trial))

    def began(self, trial: FrozenTrial) -> None:
        """Tell that a trial begins."""
        self._listener.began(self._logged(trial))

    def heard(self, trial: FrozenTrial, record: Mapping[str, float]) -> None:
        """Tell of one epoch, without what it says of test data: which epoch counts is not known yet."""
        kept = {
            self._plan.metric if name == "metric" else name: entry
            for name, entry in record.items()
            if not name.startswith(TEST_PREFIX)
        }
        self._listener.heard(self._logged(trial), kept)

    def ended(self, trial: FrozenTrial) -> None:
        """Tell how a trial ended."""
        self._listener.ended(self._logged(trial), _ending(trial))

    def _logged(self, trial: FrozenTrial) -> LoggedTrial:
        plan = self._plan
        identity = f"{plan.name} {trial.number} {trial.datetime_start}"
        tags = {
            "campaign": plan.name.partition("/")[0],
            "workload": plan.workload,
            "optimizer": plan.space.optimizer_of(trial.params),
            "runs": self._runs,
            "replicate": str(plan.replicate),
        }
        tags |= {name: str(trial.user_attrs[name]) for name in _TAGS if name in trial.user_attrs}
        key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return LoggedTrial(key, plan.name, trial.number, trial.params, tags)


def _ending(trial: FrozenTrial) -> Ending:
    tests = {name: entry for name, entry in trial.user_attrs.items() if name.startswith(TEST_PREFIX)}
    values = {"value": trial.value, **tests}
    failure = trial.user_attrs.get("failure")
    return Ending(
        _outcome(trial),
        {name: float(value) for name, value in values.items() if isinstance(value, int | float)},
        None if failure is None else reason_of(str(failure)),
    )


def _outcome(trial: FrozenTrial) -> Outcome:
    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.PRUNED:
        return "diverged" if trial.user_attrs.get("diverged") else "pruned"
    return "interrupted" if is_asked_again(trial) else "failed"
