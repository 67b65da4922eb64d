"""Runs that are trained once more for their weights: a task of Ray's each, with the resources of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from studies.engine._checkpoints import CheckpointAccess, checkpoint_access
from studies.engine._cluster import check_fits, settled
from studies.engine._run import session
from studies.storage.durability import Checkpoints
from studies.training.worker import Trained, TrainingOptions, train_again
from studies.trials import Assignment, Resources

_ATTEMPTS = 3  # after the first, where a worker or its node dies


def execute_again(
    runs: Sequence[tuple[Assignment, int]],
    options: TrainingOptions,
    resources: Resources,
    checkpoints: Checkpoints | None,
    *,
    optimizer_state: bool,
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
            num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial, max_retries=_ATTEMPTS
        )
        task = remote(_task)
        waiting = [task.remote(run, epoch, options, access, optimizer_state) for run, epoch in runs]
        return [_result(one) for one in waiting]


def _task(
    assignment: Assignment, epoch: int, options: TrainingOptions, access: CheckpointAccess, optimizer_state: bool
) -> Trained:
    return train_again(assignment, options, epoch, access.store(), optimizer_state=optimizer_state)


def _result(reference: Any) -> Trained:
    try:
        trained: Trained = ray.get(reference)
    except ray.exceptions.RayTaskError:  # a mistake of ours
        raise
    except ray.exceptions.RayError as error:
        return Trained(failure=f"its worker died {1 + _ATTEMPTS} times ({type(error).__name__})")
    return trained
