"""Weights & Biases: a run a trial, grouped by study, online or offline as ``WANDB_MODE`` says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import UserError
from studies.loggers._base import BROKEN
from studies.trials import Ending, LoggedTrial

_ENDED = "sofim-ended"  # a file in the directory of a run that was ended


class WandbLogger:
    """Writes to a project.

    Args:
        place: ``PROJECT`` or ``ENTITY/PROJECT``.
    """

    def __init__(self, place: str) -> None:
        self._wandb = _quiet()
        self._entity, _, self._project = place.rpartition("/")
        self._runs: dict[str, Any] = {}  # open ones, by key

    def begin(self, trial: LoggedTrial) -> None:
        """Begin a run, with the configuration and the tags in its own."""
        settings = self._wandb.Settings(  # nothing is caught of the driver's output, or told of its machine
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            init_timeout=10,
        )
        self._runs[trial.key] = self._wandb.init(
            entity=self._entity or None,
            project=self._project,
            id=trial.key,
            group=trial.study,
            job_type=trial.tags["runs"],
            name=f"{trial.study} {trial.number}",
            config={**trial.tags, **trial.params},
            tags=[trial.tags[name][:64] for name in ("campaign", "workload", "optimizer")],
            resume="allow",
            reinit="create_new",
            settings=settings,
        )

    def step(self, trial: LoggedTrial, epoch: int, values: Mapping[str, float]) -> None:
        """Write what an epoch gave."""
        self._runs[trial.key].log(dict(values), step=epoch, commit=True)

    def end(self, trial: LoggedTrial, ending: Ending) -> None:
        """Write what the trial is worth into the run's summary, and end it."""
        run = self._runs.pop(trial.key)
        run.summary.update({**ending.values, "outcome": ending.outcome, "failure": ending.failure})
        run.finish(exit_code=1 if ending.outcome in BROKEN else 0)
        if (directory := Path(run.settings.sync_dir)).is_dir():  # none where W&B is disabled
            (directory / _ENDED).touch()

    def settle(self, trial: LoggedTrial, ending: Ending) -> None:
        """End a run that is here, in W&B's directory, and was not ended."""
        here = list(Path(os.environ.get("WANDB_DIR", "."), "wandb").glob(f"*run-*-{trial.key}"))
        if here and not any((directory / _ENDED).exists() for directory in here):
            self.begin(trial)
            self.end(trial, ending)

    def close(self) -> None:
        """Leave what is open as it is: W&B calls it crashed."""


def _quiet() -> Any:
    """Return W&B's module, which then says nothing of its own."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def check_login(place: str) -> None:
    """See that W&B would not ask who it is.

    Raises:
        UserError: It would.
    """
    if os.environ.get("WANDB_MODE", "online") != "online" or os.environ.get("WANDB_API_KEY"):
        return
    wandb = _quiet()
    if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False, verify=False):
        raise UserError(
            f"--log wandb:{place}: nobody is logged in to Weights & Biases; log in with wandb login, or set "
            "WANDB_MODE=offline"
        )
