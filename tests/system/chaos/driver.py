"""A driver as a person starts it, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.system.chaos.home import Home

_TAIL_LINES = 15


class Driver:
    """``sofim launch`` in a process of its own, and in a session of its own: a signal to it reaches nobody else.

    Args:
        home: from where it is started.
        number: which one it is, from 1.
        options: of ``launch``.
    """

    def __init__(self, home: Home, number: int, *options: str) -> None:
        self.number = number
        self.began = time.monotonic()
        self._said = home.directory / f"driver-{number}.err"
        with self._said.open("wb") as stderr, (home.directory / f"driver-{number}.out").open("wb") as stdout:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "studies.cli", "launch", "chaos.toml", *options],
                cwd=home.directory,
                # what killed drivers leave behind goes with the directory
                env={
                    **os.environ,
                    **home.environment,
                    "TMPDIR": str(home.directory / "temporary"),
                    "RAY_TMPDIR": "/tmp",
                },
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code, ``None`` while it runs."""
        return self._process.poll()

    def kill(self, *, bury: bool = True) -> None:
        """Kills it, as losing power does; one that is not buried keeps its process number, as a zombie."""
        self._process.send_signal(signal.SIGKILL)
        if bury:
            self._process.wait(30)

    def wait(self, seconds: float) -> int:
        """Its exit code once it has ended by itself."""
        return self._process.wait(seconds)

    def said(self) -> str:
        """What it has written to standard error, the last lines."""
        return "\n".join(self._said.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def end(self) -> None:
        """Kills it if it still runs, and buries it."""
        if self.ended is None:
            self.kill()


def said_by(drivers: list[Driver]) -> str:
    """What each driver wrote to standard error, for a person to read."""
    return "\n".join(f"--- driver {driver.number}, exit code {driver.ended}:\n{driver.said()}" for driver in drivers)
