"""MLflow: an experiment a study, a run a trial, on a server or in a database."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from search_spaces.errors import UserError
from studies.loggers._base import BROKEN
from studies.trials import Ending, LoggedTrial

_KEY = "sofim.key"  # the tag by which a run is known
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # two minutes and seven retries otherwise
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_FILES_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"


class MLflowLogger:
    """Writes to a tracking server or a database.

    Args:
        place: MLflow's tracking URI.
    """

    def __init__(self, place: str) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, entities

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._client, self._entities = MlflowClient(place), entities
        self._experiments: dict[str, str] = {}  # ids by study
        self._runs: dict[str, str] = {}  # ids of open runs, by key
        self._left: dict[str, dict[str, str]] = {}  # by study, ids of runs that earlier drivers left open, by key

    def begin(self, trial: LoggedTrial) -> None:
        """Make a run with the configuration as its parameters."""
        tags = {f"sofim.{name}": value for name, value in trial.tags.items()}
        run = self._client.create_run(
            self._experiment(trial.study),
            tags={**tags, "sofim.study": trial.study, "sofim.trial": str(trial.number), _KEY: trial.key},
            run_name=f"trial-{trial.number}",
        )
        self._runs[trial.key] = run.info.run_id
        params = [self._entities.Param(_allowed(name), str(value)) for name, value in trial.params.items()]
        self._client.log_batch(run.info.run_id, params=params)

    def step(self, trial: LoggedTrial, epoch: int, values: Mapping[str, float]) -> None:
        """Write the metrics of an epoch."""
        self._client.log_batch(self._runs[trial.key], metrics=self._metrics(values, epoch))

    def end(self, trial: LoggedTrial, ending: Ending) -> None:
        """Write what the trial is worth, and end the run."""
        run_id = self._runs.pop(trial.key)
        told = {"outcome": ending.outcome, **({"failure": ending.failure} if ending.failure else {})}
        tags = [self._entities.RunTag(f"sofim.{name}", value) for name, value in told.items()]
        self._client.log_batch(run_id, metrics=self._metrics(ending.values, 0), tags=tags)
        broken = "KILLED" if ending.outcome == "interrupted" else "FAILED"
        self._client.set_terminated(run_id, broken if ending.outcome in BROKEN else "FINISHED")

    def settle(self, trial: LoggedTrial, ending: Ending) -> None:
        """End a run that an earlier driver left open."""
        if trial.study not in self._left:
            self._left[trial.study] = self._open_runs(trial.study)
        if trial.key in self._left[trial.study]:
            self._runs[trial.key] = self._left[trial.study].pop(trial.key)
            self.end(trial, ending)

    def close(self) -> None:
        """Do nothing: each call has written."""

    def _metrics(self, values: Mapping[str, float], step: int) -> list[Any]:
        now = int(time.time() * 1000)
        return [self._entities.Metric(_allowed(name), value, now, step) for name, value in values.items()]

    def _experiment(self, study: str) -> str:
        if study not in self._experiments:
            known = self._client.get_experiment_by_name(study)
            self._experiments[study] = known.experiment_id if known else self._client.create_experiment(study)
        return self._experiments[study]

    def _open_runs(self, study: str) -> dict[str, str]:
        """Return the ids of the runs that a study has open, by key."""
        found: dict[str, str] = {}
        page, token = None, None
        while page is None or token:
            page = self._client.search_runs(
                [self._experiment(study)], "attributes.status = 'RUNNING'", page_token=token, max_results=1000
            )
            token = page.token
            found |= {run.data.tags[_KEY]: run.info.run_id for run in page if _KEY in run.data.tags}
        return found


def _allowed(name: str) -> str:
    """Return a name as MLflow takes it: ``top-1 (%)`` is none.

    >>> _allowed("top-1 (%)")
    'top-1 ___'
    """
    return re.sub(r"[^\w\-./: ]", "_", name)


def check_uri(place: str) -> None:
    """See that it is a URI.

    Raises:
        UserError: It is a path, or of a kind that MLflow no longer writes.
    """
    example = "sqlite:///mlflow.db or http://HOST:5000"
    if not re.match(r"[a-zA-Z][\w+.-]*://|databricks$", place):
        raise UserError(f"--log mlflow:{place}: must be a URI, such as {example}")
    if place.lower().startswith("file:") and os.environ.get(_FILES_ALLOWED, "").lower() not in ("true", "1"):
        raise UserError(f"--log mlflow:{place}: MLflow keeps no runs in files any more; give {example}")
