"""trackio: a run a trial, in its project's database on this machine.

Its ``init`` ends the run before, prints, and writes in a thread where nobody hears of a full disk; so its storage is
written to, where each call says what became of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from search_spaces.errors import UserError
from studies.trials import Ending, LoggedTrial

_DISTANT = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class TrackioLogger:
    """Writes to a project.

    Args:
        place: Its name.
    """

    def __init__(self, place: str) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.validate_project_name(place)
        self._project, self._storage = place, SQLiteStorage
        self._epochs: dict[str, int] = {}  # the last of open runs, by key

    def begin(self, trial: LoggedTrial) -> None:
        """Begin a run, with the configuration and the tags in its own."""
        self._epochs[trial.key] = 0
        self._write(trial, 0, {"begun": 1}, config={})

    def step(self, trial: LoggedTrial, epoch: int, values: Mapping[str, float]) -> None:
        """Write what an epoch gave."""
        self._epochs[trial.key] = epoch
        self._write(trial, epoch, values)

    def end(self, trial: LoggedTrial, ending: Ending) -> None:
        """Write what the trial is worth, and into its configuration how it ended."""
        epoch = self._epochs.pop(trial.key)
        self._write(trial, epoch + 1, ending.values, config={"outcome": ending.outcome, "failure": ending.failure})

    def settle(self, trial: LoggedTrial, ending: Ending) -> None:
        """End a run that is there without an end."""
        known = self._storage.get_run_config(self._project, run_id=trial.key)
        if known is not None and "outcome" not in known:
            last = self._storage.get_last_step(self._project, run=None, run_id=trial.key)
            self._epochs[trial.key] = last or 0
            self.end(trial, ending)

    def close(self) -> None:
        """Do nothing: each call has written."""

    def _write(
        self, trial: LoggedTrial, step: int, values: Mapping[str, float], config: Mapping[str, Any] | None = None
    ) -> None:
        whole = None if config is None else {**trial.tags, **trial.params, "_Group": trial.study, **config}
        self._storage.bulk_log(
            self._project,
            f"{trial.study} {trial.number}",
            [dict(values)],
            steps=[step],
            config=whole,
            log_ids=[f"{trial.key}-{step}"],
            run_id=trial.key,
        )


def check_local(place: str) -> None:
    """See that the project is one of this machine.

    Raises:
        UserError: Another place is asked for by trackio's own variables.
    """
    for name in _DISTANT:
        if os.environ.get(name):
            raise UserError(
                f"--log trackio:{place}: writes on this machine, and {name} is set; unset it, and take the project "
                "there afterwards with: trackio sync"
            )
