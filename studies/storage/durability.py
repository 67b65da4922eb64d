"""What is done against loss: how long a database may be away, checkpoints of trials, how long one may take."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import UserError
from studies.storage.url import file_of

STORAGE_TIMEOUT = 300.0
"""Seconds that a database may be away before a run ends, where nobody says otherwise."""

_SUFFIX = ".pt"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A directory with a checkpoint of every trial that has not ended, in a folder a study.

    A checkpoint is called by a key, ``{folder}/{number}``; it is bytes here, what is in it is known to
    :mod:`studies.training.worker`.

    Attributes:
        directory: Where they are; made when it is first needed.
    """

    directory: Path

    def save(self, key: str, content: bytes | memoryview) -> None:
        """Put a checkpoint in the place of an earlier one. A process that is killed meanwhile leaves the earlier one.

        Raises:
            OSError: It cannot be written.
        """
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            unfinished.write_bytes(content)
            # no fsync: after a power cut a torn one is found out, and the trial begins anew with the same numbers
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def load(self, key: str) -> bytes | None:
        """Return the checkpoint, or ``None`` where there is none that can be read."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def remove(self, key: str) -> None:
        """Remove a checkpoint, if it is there, and what a killed process left of it."""
        path = self._path(key)
        with suppress(OSError):
            for one in path.parent.glob(f"{path.stem}.*"):
                one.unlink(missing_ok=True)

    def sweep(self, folder: str, keep: Collection[int]) -> None:
        """Remove all checkpoints of a folder but those of the trials ``keep``, and the folder if nothing is left."""
        with suppress(OSError):
            for one in (self.directory / folder).iterdir():
                if one.suffix != _SUFFIX or one.stem not in {str(number) for number in keep}:
                    one.unlink(missing_ok=True)
        _remove_empty(self.directory, folder)

    def bring(self, elsewhere: Path, folder: str) -> None:
        """Move what there is of a folder here from another directory; what cannot be moved begins anew."""
        with suppress(OSError):
            for one in (elsewhere / folder).iterdir():
                (self.directory / folder).mkdir(parents=True, exist_ok=True)
                shutil.move(one, self.directory / folder / one.name)
        _remove_empty(elsewhere, folder)

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}{_SUFFIX}"


def _remove_empty(directory: Path, folder: str) -> None:
    for empty in (directory / folder, directory):
        with suppress(OSError):
            empty.rmdir()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether to wait for another driver of the campaign.

    Attributes:
        for_the_living: Until it ends; else only until the lease of one that is silent lapses.
        say: Takes the line that says for whom.
    """

    for_the_living: bool = False
    say: Callable[[str], None] = lambda _line: None


WAITING = Waiting()


@dataclass(frozen=True, slots=True)
class Durability:
    """What a driver does against loss.

    Attributes:
        storage_timeout: Seconds that a database may be away before the run ends.
        checkpoints: Those of the trials; ``None``: a trial that is lost begins anew.
        every: Epochs between two checkpoints of a trial; 0: none are made, those of earlier drivers are removed.
        waiting: For another driver of the same campaign.
        trial_timeout: Seconds after which a trial has failed that has not ended; ``None``: it may take for ever.
    """

    storage_timeout: float = STORAGE_TIMEOUT
    checkpoints: Checkpoints | None = None
    every: int = 1
    waiting: Waiting = WAITING
    trial_timeout: float | None = None

    @classmethod
    def of(
        cls,
        storage: str,
        *,
        timeout: float,
        directory: Path | None,
        every: int,
        waiting: Waiting = WAITING,
        trial_timeout: float | None = None,
    ) -> Durability:
        """Return what the options of the command line say.

        Args:
            storage: The database's URL.
            timeout: ``--storage-timeout``, in seconds.
            directory: ``--checkpoints``; ``None``: beside the storage's file, else in the cache of decoded data.
            every: ``--checkpoint-every``, in epochs; 0: no checkpoints.
            waiting: ``--wait``.
            trial_timeout: ``--trial-timeout``, in seconds.

        Raises:
            UserError: One of them makes no sense, or the directory cannot be made or written to.
        """
        if not 0 <= timeout < math.inf:
            raise UserError(f"--storage-timeout {timeout:g}: must be a number of seconds from 0")
        if every < 0:
            raise UserError(f"--checkpoint-every {every}: must be a number of epochs from 1, or 0 for none")
        if directory is not None and every:
            _check_writable(directory)
        return cls(timeout, Checkpoints((directory or _usual_place(storage)).absolute()), every, waiting, trial_timeout)


def _check_writable(directory: Path) -> None:
    """Refuse a directory that cannot be made or written to; nothing is made yet."""
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    reason = "it is not yours to write" if there.is_dir() else f"{there} is no directory"
    raise UserError(f"--checkpoints {directory}: cannot be written ({reason}); name another directory")


def _usual_place(storage: str) -> Path:
    from studies.data import cache_directory

    file = file_of(storage)
    if file is not None:
        return Path(f"{file}.checkpoints")
    # of one person, who may have several databases; folders are called by what no two studies share
    return cache_directory() / "checkpoints"
