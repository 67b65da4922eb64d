"""SQLite files: how one is connected to, and read without a byte of it changing.

A connection that may only read changes nothing, but it cannot read what a program left that was cut off in the middle
of a change: that has to be rolled back first. And of a file with a write-ahead log it makes the index anew, beside the
file. Of these a copy is read, in which SQLite does all this.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from search_spaces.errors import UserError
from studies.storage.refusals import check_file
from studies.storage.url import in_memory, path_of, sqlite_name

_LOCK_SECONDS = 15.0  # to wait for another program's lock, before it is said
_BESIDE = ("", "-journal", "-wal")  # what belongs to a file, by what follows its name
_WITH_A_LOG = 2  # what stands in bytes 18 and 19 of a file with a write-ahead log
_TRIES = 5  # of a copy that nobody writes to meanwhile


class SqliteFile:
    """A file with an SQLite database.

    Args:
        url: Of the storage.
        shown: The URL as an error may show it.
        create: Whether the file may be missing.

    Raises:
        UserError: It is no file of an SQLite database, nor a place for one.
        sqlalchemy.exc.SQLAlchemyError: The URL has options that make no sense.
    """

    def __init__(self, url: sa.URL, shown: str, *, create: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sa_exc.SAWarning)  # an option that would be ignored
            self._name = sqlite_name(url)
            _, keywords = url.get_dialect()().create_connect_args(url)
        if in_memory(self._name):
            raise UserError(f"storage '{shown}' lives in memory and would be lost; name a file: sqlite:///sofim.db")
        self._shown = shown
        self._path = path_of(url, self._name)
        self._header = check_file(self._path, shown, b"SQLite format 3\x00", "an SQLite database", create=create)
        self._keywords: Mapping[str, Any] = {"timeout": _LOCK_SECONDS, **keywords}
        self._copy: Path | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it, or no file yet."""
        return not self._header

    @property
    def writing(self) -> dict[str, Any]:
        """Return options of SQLAlchemy's engine for whoever writes."""
        return {"connect_args": {"timeout": self._keywords["timeout"]}}

    def reading(self) -> dict[str, Any]:
        """Return options of SQLAlchemy's engine for whoever must not; :meth:`discard` is to be called afterwards.

        Raises:
            UserError: A program that was cut off has left it so that only a copy can be read, and none can be made.
        """
        if self._has_log or self._is_unsettled():  # a look at one with a log would make its index
            self._copy = self._copied()
        name = _read_only(self._name) if self._copy is None else self._copy.as_uri()
        keywords = {**self._keywords, "uri": True}
        return {"creator": lambda: sqlite3.connect(name, **keywords)}

    def discard(self) -> None:
        """Remove the copy, if there is one."""
        if self._copy is not None:
            shutil.rmtree(self._copy.parent, ignore_errors=True)

    def check_settled(self) -> None:
        """Refuse a file in which a change was begun and neither finished nor undone.

        Raises:
            UserError: There is such a change.
        """
        if not (self.is_empty or self._has_log) and self._is_unsettled():
            raise UserError(
                f"storage '{self._shown}' is in the middle of a change, whose program was cut off; give that program's "
                "command again (sofim launch, for a campaign), which undoes the change, and then this one"
            )

    @property
    def _has_log(self) -> bool:
        return _WITH_A_LOG in self._header[18:20]

    def _is_unsettled(self) -> bool:
        try:
            with closing(sqlite3.connect(_read_only(self._name), uri=True, timeout=0)) as opened:
                opened.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error as error:  # of any other the opening tells
            return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK
        return False

    def _copied(self) -> Path | None:
        """Copy it as of one moment; ``None`` where somebody writes all the time, who keeps the file in order."""
        path = self._path.resolve()  # its journal lies beside the file, not beside a link to it
        for _ in range(_TRIES):
            home = Path(tempfile.mkdtemp(prefix="sofim-copy-"))
            before = _state(path)
            try:
                for name in before:
                    shutil.copyfile(f"{path}{name}", home / f"copy.db{name}")
                if _state(path) == before:
                    return home / "copy.db"
            except FileNotFoundError:
                pass
            except OSError as error:
                shutil.rmtree(home, ignore_errors=True)
                raise UserError(
                    f"storage '{self._shown}' can only be read in a copy, as it was left, and that cannot be made: "
                    f"{error.strerror or error}; see to room in {home.parent}, or set TMPDIR"
                ) from None
            shutil.rmtree(home, ignore_errors=True)
            time.sleep(0.1)
        return None


def _read_only(name: str) -> str:
    """Return what SQLite is asked to open so that it cannot write."""
    base, _, options = name.partition("?") if name.startswith("file:") else (Path(name).as_uri(), "", "")
    kept = [option for option in options.split("&") if option and not option.startswith("mode=")]
    return f"{base}?{'&'.join([*kept, 'mode=ro'])}"


def _state(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return the parts of a database that are there, each as it is now."""
    found = {}
    for name in _BESIDE:
        try:
            now = Path(f"{path}{name}").stat()
        except FileNotFoundError:
            continue
        found[name] = (now.st_ino, now.st_size, now.st_mtime_ns)
    return found
