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
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from search_spaces.errors import UserError
from studies.storage.backend import Backend, Nothing
from studies.storage.refusals import check_file, first_line, remedy_for


@contextmanager
def _told_as_others_do() -> Iterator[None]:
    """Raise errors of the file as those of a database: RuntimeError is that another program broke the lock."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise StorageInternalError(str(error)) from error
    except AssertionError:  # all that Optuna says of a kind of entry that it has no name for
        raise StorageInternalError(
            f"Optuna {optuna.__version__} does not know all of its entries, as a newer one may write them"
        ) from None


class _File(JournalFileBackend):
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
        """Cut off a last line that is torn: whoever wrote it is gone, lines are written under the lock."""
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


class Journal(Backend, JournalStorage):
    """Optuna's journal storage, which knows its file. Who only reads it changes nothing of it.

    Args:
        path: Of the file; it is made where there is none.

    Raises:
        StorageInternalError: From any method, where the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _told_as_others_do():
            self._file = _File(path)
            super().__init__(self._file)

    def mend(self) -> None:
        """Cut off a last line that is torn, as a write that failed leaves it."""
        self._file.mend()


def open_storage(url: sa.URL, shown: str, *, create: bool, read_only: bool) -> Backend:
    """Open the journal in the file that ``url`` names; see :func:`studies.storage.database.open_storage`."""
    if url.host or not url.database:
        raise UserError(f"storage '{shown}' names no file; write for example journal:///sofim.log")
    if url.query:
        option = next(iter(url.query))
        raise UserError(
            f"storage '{shown}' cannot be opened: a journal has no option '{option}'; leave that out of the URL"
        )
    path = Path(url.database)
    check_file(path, shown, b'{"op_code"', "a journal of Optuna", create=create)
    if read_only and not path.exists():  # one that is there is read without a change, see Journal
        return Nothing()
    try:
        return Journal(path.absolute())  # its lock is a link to it
    except (StorageInternalError, KeyError) as error:
        reason = first_line(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None
