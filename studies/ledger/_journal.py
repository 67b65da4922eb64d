"""Optuna's journal file as a storage: for disks shared by a network, where SQLite is not safe.

It has no transactions. A file whose last line is torn (the disk was full) is unreadable to Optuna once a line follows,
so the torn part is cut off before the driver writes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

SCHEME = "journal:///"


@contextmanager
def _told_as_others_do() -> Iterator[None]:
    """Errors of the file as those of a database: RuntimeError is that another program broke the lock."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise StorageInternalError(str(error)) from error


class _Backend(JournalFileBackend):
    """Optuna's, whose errors are those that its other storages raise."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _told_as_others_do():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _told_as_others_do():
            super().append_logs(logs)


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
            super().__init__(_Backend(str(path)))

    def mend(self) -> None:
        """Cuts off a last line that is torn: whoever wrote it is gone, lines are written under the lock."""
        lock = JournalFileSymlinkLock(str(self.path))
        with _told_as_others_do():
            lock.acquire()
            try:
                with self.path.open("rb+") as file:
                    content = file.read()
                    if content and not content.endswith(b"\n"):
                        file.truncate(content.rfind(b"\n") + 1)
            finally:
                lock.release()
