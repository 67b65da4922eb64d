"""Checkpoints and the driver's wish to stop, as workers come to them: by files where they see the driver's.

Neither Ray nor torch here: one of these is an actor on the driver's machine, for workers of other machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studies.storage.durability import Checkpoints


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a driver leaves word for its workers.

    Attributes:
        directory: on the driver's machine, or on a disk that is shared.
        token: of the driver, so that another's word is not taken for its own.
        checkpoints: directory of these; ``None``: there are none.
    """

    directory: Path
    token: str
    checkpoints: Path | None = None

    def open(self) -> None:
        """Makes it known that the driver is there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._file("driver").touch()

    def stop(self) -> None:
        """Trials are to end with the epoch that they are at."""
        self._file("stop").touch()

    def close(self) -> None:
        """Removes what :meth:`open` and :meth:`stop` left."""
        for word in ("driver", "stop"):
            self._file(word).unlink(missing_ok=True)

    def is_seen(self) -> bool:
        """Whether whoever asks sees the driver's files."""
        return self._file("driver").exists()

    def is_stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._file("stop").exists()

    def _file(self, word: str) -> Path:
        return self.directory / f"{word}-{self.token}"


class DirectoryVault:
    """A :class:`studies.training.worker.Vault` on the driver's own files.

    Args:
        desk: of the driver.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._checkpoints = None if desk.checkpoints is None else Checkpoints(desk.checkpoints)

    def save(self, key: str, content: bytes) -> None:
        """Keeps a checkpoint instead of an earlier one; raises ``OSError`` if it cannot."""
        if self._checkpoints is not None:
            self._checkpoints.save(key, content)

    def load(self, key: str) -> bytes | None:
        """The checkpoint, ``None`` where there is none."""
        return None if self._checkpoints is None else self._checkpoints.load(key)

    def stopping(self) -> bool:
        """Whether trials are to end with the epoch that they are at."""
        return self._desk.is_stopping()
