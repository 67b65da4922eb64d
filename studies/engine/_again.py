"""Runs that are trained once more for their weights: an actor of Ray's each, with the resources of a trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from analysis.text import in_short
from studies.engine._checkpoints import CheckpointAccess, checkpoint_access
from studies.engine._cluster import check_fits, settled
from studies.engine._losses import died, failed_start
from studies.engine._run import session
from studies.storage.durability import Checkpoints
from studies.training.worker import Trained, TrainingOptions, train_again
from studies.trials import Assignment, Resources

_ATTEMPTS = 3  # after the first, where a worker or its node dies
_LOOK_SECONDS = 0.5  # between two looks at the clock


def execute_again(
    runs: Sequence[tuple[Assignment, int]],
    options: TrainingOptions,
    resources: Resources,
    checkpoints: Checkpoints | None,
    *,
    optimizer_state: bool,
    timeout: float | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> list[Trained]:
    """Train runs once more, each up to an epoch, and return what each is then, in their order.

    A worker that dies is followed by another, which goes on from the run's checkpoint; so does the next call after one
    that did not come to its end.

    Args:
        runs: What to train, and up to which epoch.
        options: What they share.
        resources: Where they run.
        checkpoints: Where they are kept; ``None``: nowhere.
        optimizer_state: Whether the states of the optimizers are wanted too.
        timeout: Seconds that a run may take, from its first worker's start; ``None`` for ever.
        say: Takes a line that the person should read.

    Raises:
        UserError: Ray does not start, the cluster cannot be joined, or no node can hold a run.
    """
    folder = Path(runs[0][0].checkpoint).parts[0] if runs[0][0].checkpoint else ""
    with (
        session(resources, say),
        checkpoint_access(checkpoints if folder else None, folder, distant=resources.address is not None) as access,
    ):
        resources = settled(resources)
        check_fits(resources)
        assert resources.cpus_per_trial is not None
        remote: Callable[..., Any] = ray.remote(
            num_cpus=resources.cpus_per_trial,
            num_gpus=resources.gpus_per_trial,
            max_restarts=_ATTEMPTS,
            max_task_retries=_ATTEMPTS,
        )
        made = remote(_Worker)
        waiting = [_Again(made.remote(), run, epoch, options, access, optimizer_state) for run, epoch in runs]
        limit = math.inf if timeout is None else timeout
        while open_ones := [one.training for one in waiting if not one.is_over(limit)]:
            ray.wait(open_ones, timeout=_LOOK_SECONDS)
        return [one.trained for one in waiting]


class _Worker:
    """Trains one run; Ray begins it again where its process dies."""

    def start(self) -> None:
        """Do nothing: what is asked of it first has come back when it runs."""

    def train(
        self,
        assignment: Assignment,
        epoch: int,
        options: TrainingOptions,
        access: CheckpointAccess,
        optimizer_state: bool,
    ) -> Trained:
        """Return what a run is after an epoch."""
        return train_again(assignment, options, epoch, access.store(), optimizer_state=optimizer_state)


class _Again:
    """A run that is trained once more, as the driver sees it."""

    trained: Trained  # once it is over

    def __init__(self, worker: Any, *of_run: object) -> None:
        self._worker = worker
        self._started, self.training = worker.start.remote(), worker.train.remote(*of_run)
        self._began: float | None = None
        self._ended = False

    def is_over(self, limit: float) -> bool:
        """Look at it; end it, with its worker, where it has taken longer than ``limit`` seconds."""
        if self._ended:
            return True
        now = time.monotonic()
        if self._began is None and _is_there(self._started):
            self._began = now
        if _is_there(self.training):
            self.trained = _result(self.training)
        elif self._began is not None and now - self._began > limit:
            self.trained = Trained(failure=f"timed out after {in_short(limit)}")
        else:
            return False
        # its code may sleep in C or ignore signals; and who waits needs its place
        ray.kill(self._worker, no_restart=True)
        self._ended = True
        return True


def _is_there(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])


def _result(reference: Any) -> Trained:
    try:
        trained: Trained = ray.get(reference)
    except ray.exceptions.RayTaskError:  # a mistake of ours
        raise
    except ray.exceptions.RayError as error:
        return Trained(failure=died(1 + _ATTEMPTS, failed_start(error)))
    return trained
