"""Optuna's journal file as a storage: for disks shared by a network, where SQLite is not safe, and for haste.

It has no transactions. A file whose last line is torn (the disk was full) is unreadable to Optuna once a line follows,
so the torn part is cut off before the driver writes.
"""

from __future__ import annotations

from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

SCHEME = "journal:///"


class JournalFile(JournalStorage):
    """Optuna's journal storage, which knows its file.

    Args:
        path: of the file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(JournalFileBackend(str(path)))

    def mend(self) -> None:
        """Cuts off a last line that is torn: whoever wrote it is gone, lines are written under the lock."""
        lock = JournalFileSymlinkLock(str(self.path))
        lock.acquire()
        try:
            with self.path.open("rb+") as file:
                content = file.read()
                if content and not content.endswith(b"\n"):
                    file.truncate(content.rfind(b"\n") + 1)
        finally:
            lock.release()
