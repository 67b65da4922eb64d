"""From the database to tidy frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from analysis._parameters import Choice, Kind, ParameterInfo, from_space

__all__ = ["Choice", "Kind", "ParameterInfo", "Study", "campaigns", "studies", "trials"]

NOT_ASKED_FOR = ("driver lost", "interrupted")  # failures of trials that are, or will be, asked again


@dataclass(frozen=True, slots=True)
class Study:
    """One study, as the database describes it.

    Attributes:
        study_id: in the database.
        name: ``{campaign}/{workload}/{optimizer}``, or whatever another program called it.
        campaign: the whole configuration; empty for a study of another program.
        workload: empty for a study of another program.
        optimizer: empty for a study of another program.
        metric: its name, ``"value"`` where another program gave it none.
        direction: ``"maximize"`` or ``"minimize"``.
        attributes: all user attributes of the study.
        parameters: how each searched parameter was searched, by name; some trials may lack some of them.
        own: whether a campaign made it; otherwise it is a study of another program.
    """

    study_id: int
    name: str
    campaign: Mapping[str, Any]
    workload: str
    optimizer: str
    metric: str
    direction: str
    attributes: Mapping[str, Any]
    parameters: Mapping[str, ParameterInfo] = field(default_factory=dict)
    own: bool = True


def studies(storage: BaseStorage, campaign: str | None = None) -> list[Study]:
    """The studies that campaigns made, in the order in which they were created.

    Args:
        storage: Optuna's.
        campaign: the name of one; ``None`` for all.
    """
    found = []
    for frozen in storage.get_all_studies():
        attributes = frozen.user_attrs
        # "protocol" is written last: without it a study is somebody else's, or not yet described
        if not (isinstance(attributes.get("campaign"), Mapping) and "protocol" in attributes):
            continue
        if frozen.study_name.endswith("/confirm"):
            continue
        if campaign is not None and attributes["campaign"]["name"] != campaign:
            continue
        found.append(
            Study(
                study_id=frozen._study_id,
                name=frozen.study_name,
                campaign=attributes["campaign"],
                workload=attributes["workload"],
                optimizer=attributes["optimizer"],
                metric=attributes["metric"],
                direction="maximize" if frozen.direction == StudyDirection.MAXIMIZE else "minimize",
                attributes=attributes,
                parameters=from_space(attributes.get("search_space", {})),
            )
        )
    return sorted(found, key=lambda study: study.study_id)


def campaigns(storage: BaseStorage) -> list[str]:
    """The names of the campaigns in ``storage``, oldest first."""
    return list(dict.fromkeys(str(study.campaign["name"]) for study in studies(storage)))


def trials(storage: BaseStorage, of: list[Study]) -> pd.DataFrame:
    """Every trial of the studies, a row each.

    Returns:
        Columns: ``study``, ``workload``, ``optimizer``, ``number``, ``outcome`` (running, complete, pruned, diverged,
        failed, or lost for one that is asked again), ``value`` (of the metric, NaN where there is none), ``seconds``
        (of training), ``gradient_evaluations``, ``failure``, ``params`` (a dict).
    """
    rows = [_row(study, trial) for study in of for trial in storage.get_all_trials(study.study_id, deepcopy=False)]
    columns = ["study", "workload", "optimizer", "number", "outcome", "value", "seconds", "gradient_evaluations"]
    return pd.DataFrame(rows, columns=[*columns, "failure", "params"])


def _row(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    attributes = trial.user_attrs
    return {
        "study": study.name,
        "workload": study.workload,
        "optimizer": study.optimizer,
        "number": trial.number,
        "outcome": _outcome(trial),
        "value": math.nan if trial.value is None else trial.value,
        "seconds": attributes.get("seconds", 0.0),
        "gradient_evaluations": attributes.get("gradient_evaluations", 0),
        "failure": attributes.get("failure"),
        "params": trial.params,
    }


def _outcome(trial: FrozenTrial) -> str:
    if trial.state == TrialState.PRUNED:
        return "diverged" if trial.user_attrs.get("diverged") else "pruned"
    if trial.state == TrialState.FAIL:
        return "lost" if trial.user_attrs.get("failure") in NOT_ASKED_FOR else "failed"
    return "complete" if trial.state == TrialState.COMPLETE else "running"
