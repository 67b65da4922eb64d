"""Optuna's journal file as a storage: for disks shared by a network, where SQLite is not safe.

It has no transactions. A file whose last line is torn (the disk was full) is unreadable to Optuna once a line follows,
so the torn part is cut off before anything is written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock


@contextmanager
def _told_as_others_do() -> Iterator[None]:
    """Errors of the file as those of a database: RuntimeError is that another program broke the lock."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise StorageInternalError(str(error)) from error
    except AssertionError:  # all that Optuna says of a kind of entry that it has no name for
        raise StorageInternalError(
            f"Optuna {optuna.__version__} does not know all of its entries, as a newer one may write them"
        ) from None


class _Backend(JournalFileBackend):
    """Optuna's, whose errors are those that its other storages raise; a torn line is cut off before the first write."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._whole = False  # whether the last line is known to be

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _told_as_others_do():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if not self._whole:
            self.mend()
        with _told_as_others_do():
            super().append_logs(logs)

    def mend(self) -> None:
        """Cuts off a last line that is torn: whoever wrote it is gone, lines are written under the lock."""
        lock = JournalFileSymlinkLock(str(self._path))
        with _told_as_others_do():
            lock.acquire()
            try:
                with self._path.open("rb+") as file:
                    content = file.read()
                    if content and not content.endswith(b"\n"):
                        file.truncate(content.rfind(b"\n") + 1)
            finally:
                lock.release()
        self._whole = True


class JournalFile(JournalStorage):
    """Optuna's journal storage, which knows its file.

    Args:
        path: of the file; it is made where there is none.

    Raises:
        StorageInternalError: from any method, where the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _told_as_others_do():
            self._file = _Backend(path)
            super().__init__(self._file)

    def mend(self) -> None:
        """Cuts off a last line that is torn, as a write that failed leaves it."""
        self._file.mend()
