"""Checkpoints of workers on any node: through an actor on the driver's machine where they do not see its files."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search_spaces.errors import UserError
from studies.engine._checkpoint_access import Desk, DirectoryVault
from studies.engine._local import temporary_directory
from studies.storage.durability import Checkpoints
from studies.training.worker import Vault

_ANSWER_SECONDS = 120.0  # of the driver's machine, a large checkpoint on its way included


@dataclass(frozen=True, slots=True)
class Access:
    """What a worker needs to come to the vault.

    Attributes:
        desk: of the driver.
        clerk: the actor beside it; ``None`` where all workers are on the driver's machine.
    """

    desk: Desk
    clerk: Any = None

    def vault(self) -> Vault:
        """The vault, from where the worker is."""
        if self.clerk is None or _sees(self.desk):
            return DirectoryVault(self.desk)
        return _DistantVault(self.clerk)


@cache
def _sees(desk: Desk) -> bool:
    return desk.is_seen()


class _DistantVault:
    """A vault on another machine."""

    def __init__(self, clerk: Any) -> None:
        self._clerk = clerk

    def save(self, key: str, content: bytes) -> None:
        self._ask(self._clerk.save, key, content)

    def load(self, key: str) -> bytes | None:
        try:
            found: bytes | None = self._ask(self._clerk.load, key)
        except OSError:  # it begins anew, with the same numbers
            return None
        return found

    def stopping(self) -> bool:
        try:
            return bool(self._ask(self._clerk.stopping))
        except OSError:  # a driver that cannot be reached asks for nothing
            return False

    def _ask(self, method: Any, *arguments: object) -> Any:
        try:
            return ray.get(method.remote(*arguments), timeout=_ANSWER_SECONDS)
        except OSError:  # what the clerk itself met, and a time-out
            raise
        except ray.exceptions.RayError as error:
            raise OSError(f"the driver's machine does not answer: {type(error).__name__}") from None


@contextmanager
def opened(checkpoints: Checkpoints | None, folder: str, *, distant: bool) -> Iterator[Access]:
    """The driver's desk, and the actor beside it.

    Args:
        checkpoints: of the trials, if any.
        folder: among them that is this campaign's own.
        distant: whether workers may be on other machines.

    Raises:
        UserError: the directory of the checkpoints cannot be written.
    """
    with temporary_directory() as scratch:
        place = scratch if checkpoints is None else checkpoints.directory / folder
        desk = Desk(place, uuid.uuid4().hex, None if checkpoints is None else checkpoints.directory)
        try:
            desk.open()
        except OSError as error:
            raise UserError(
                f"checkpoints cannot be written to {place.parent}: {error.strerror or error}; name another directory "
                "with --checkpoints, or do without with --checkpoint-every 0"
            ) from None
        clerk = _hire(desk) if distant else None
        try:
            yield Access(desk, clerk)
        finally:
            desk.close()
            if clerk is not None:
                ray.kill(clerk)


def _hire(desk: Desk) -> Any:
    """An actor on this very node, which begins again when its process dies: what it does may be done twice."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Callable[..., Any] = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    return remote(DirectoryVault).options(scheduling_strategy=here).remote(desk)
