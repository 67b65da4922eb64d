"""Checkpoints and the request to stop, as workers reach them: in the driver's files, else through an actor there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search_spaces.errors import UserError
from studies.engine._local import temporary_directory
from studies.storage.durability import Checkpoints
from studies.training.worker import CheckpointStore

_ANSWER_SECONDS = 120.0  # of the driver's machine, a large checkpoint on its way included


@dataclass(unsafe_hash=True)  # Ray makes no actor of a frozen one
class LocalStore:
    """A :class:`studies.training.worker.CheckpointStore` in files, and the driver's flags beside them.

    Attributes:
        directory: Of the flags; on the driver's machine, or on a disk that is shared.
        token: Of the driver, so that another's flags are not taken for its own.
        checkpoints: Of the trials; ``None``: none are kept.
    """

    directory: Path
    token: str
    checkpoints: Checkpoints | None = None

    def open(self) -> None:
        """Show that the driver is there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._flag("driver").touch()

    def request_stop(self) -> None:
        """Ask trials to end with the epoch that they are at."""
        self._flag("stop").touch()

    def close(self) -> None:
        """Remove the driver's flags."""
        for name in ("driver", "stop"):
            self._flag(name).unlink(missing_ok=True)

    def is_visible(self) -> bool:
        """Return whether this process sees the driver's files."""
        return self._flag("driver").exists()

    def stop_requested(self) -> bool:
        """Return whether trials are to end with the epoch that they are at."""
        return self._flag("stop").exists()

    def save(self, key: str, content: bytes) -> None:
        """Put a checkpoint in the place of an earlier one; raise ``OSError`` if that fails."""
        if self.checkpoints is not None:
            self.checkpoints.save(key, content)

    def load(self, key: str) -> bytes | None:
        """Return the checkpoint, or ``None`` where there is none."""
        return None if self.checkpoints is None else self.checkpoints.load(key)

    def _flag(self, name: str) -> Path:
        return self.directory / f"{name}-{self.token}"


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A store on another machine, through the actor that holds it there."""

    actor: Any

    def save(self, key: str, content: bytes) -> None:
        self._call("save", key, content)

    def load(self, key: str) -> bytes | None:
        try:
            content: bytes | None = self._call("load", key)
        except OSError:  # the trial begins anew, with the same numbers
            return None
        return content

    def stop_requested(self) -> bool:
        try:
            return bool(self._call("stop_requested"))
        except OSError:  # a driver that cannot be reached asks for nothing
            return False

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            return ray.get(getattr(self.actor, method).remote(*arguments), timeout=_ANSWER_SECONDS)
        except OSError:  # what the actor itself met, and a time-out
            raise
        except ray.exceptions.RayError as error:
            raise OSError(f"the driver's machine does not answer: {type(error).__name__}") from None


@dataclass(frozen=True, slots=True)
class CheckpointAccess:
    """What a worker needs to reach the store.

    Attributes:
        local: The store on the driver's machine.
        actor: That holds it there; ``None`` where all workers are on that machine.
    """

    local: LocalStore
    actor: Any = None

    def store(self) -> CheckpointStore:
        """Return the store as this process reaches it."""
        return self.local if self.actor is None or _is_visible(self.local) else RemoteStore(self.actor)


@cache
def _is_visible(store: LocalStore) -> bool:
    return store.is_visible()


@contextmanager
def checkpoint_access(checkpoints: Checkpoints | None, folder: str, *, distant: bool) -> Iterator[CheckpointAccess]:
    """Open the driver's store, and start the actor that holds it for other machines.

    Args:
        checkpoints: Of the trials, if any.
        folder: Among them that is this campaign's own.
        distant: Whether workers may be on other machines.

    Raises:
        UserError: The directory of the checkpoints cannot be written.
    """
    with temporary_directory() as scratch:
        directory = scratch if checkpoints is None else checkpoints.directory / folder
        store = LocalStore(directory, uuid.uuid4().hex, checkpoints)
        try:
            store.open()
        except OSError as error:
            raise UserError(
                f"checkpoints cannot be written to {directory.parent}: {error.strerror or error}; name another "
                "directory with --checkpoints, or do without with --checkpoint-every 0"
            ) from None
        actor = _start_checkpoint_actor(store) if distant else None
        try:
            yield CheckpointAccess(store, actor)
        finally:
            store.close()
            if actor is not None:
                ray.kill(actor)


def _start_checkpoint_actor(store: LocalStore) -> Any:
    """Start an actor on this very node; it begins again when its process dies, so what it does may be done twice."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Callable[..., Any] = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    actor = remote(LocalStore).options(scheduling_strategy=here)
    return actor.remote(store.directory, store.token, store.checkpoints)
