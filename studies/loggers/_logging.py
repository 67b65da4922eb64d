"""One thread a log, with a bounded queue before it: whatever a server does, a driver only ever puts things down."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from search_spaces.errors import UserError
from studies.loggers._base import Logger
from studies.loggers._targets import Target
from studies.trials import Ending, LoggedTrial

OPENING_SECONDS = 20.0
"""How long the driver waits until libraries are imported and logs are open, before it begins without."""

CLOSING_SECONDS = 10.0
"""How long it waits for what is not yet written when it ends, for all logs together."""

MOST_WAITING = 20_000
"""Entries that may wait for one log: what comes beyond is not written."""

_LONGEST = 200  # of a reason

_Entry = Callable[[Logger], None]


class _Log:
    """One log, written by its thread."""

    def __init__(self, target: Target, say: Callable[[str], None]) -> None:
        self._target, self._say = target, say
        self._queue: queue.Queue[_Entry | None] = queue.Queue(MOST_WAITING)
        self._opened = threading.Event()
        self._error: Exception | None = None  # of the opening
        self._entries = self._written = 0
        self._reason = ""  # why something is missing
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"log-{target.kind}", daemon=True)
        self._thread.start()

    def wait_until_open(self, until: float) -> None:
        """Return when the log is open or the time is up.

        Raises:
            UserError: It cannot be opened.
        """
        self._opened.wait(max(0.0, until - time.monotonic()))
        if isinstance(self._error, UserError):
            raise self._error
        if self._error is not None:
            raise UserError(f"--log {self._target}: cannot be opened: {_in_a_line(self._error)}") from self._error

    def put(self, entry: _Entry) -> None:
        """Have something written, some time; what does not fit is counted."""
        self._entries += 1
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._lacks("it does not keep up")

    def close(self, until: float) -> None:
        """Wait for what is not yet written, and say what is missing."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=max(0.0, until - time.monotonic()))
            self._thread.join(max(0.0, until - time.monotonic()))
        self._closed = True
        missing = self._entries - self._written
        if missing:
            entries = "1 entry is" if missing == 1 else f"{missing} entries are"
            reason = self._reason or f"it had {CLOSING_SECONDS:g} s to write them at the end, and has not"
            self._say(f"--log {self._target}: {entries} missing there ({reason}); the database has them.")

    def _run(self) -> None:
        try:
            logger = self._target.open()
        except Exception as error:
            self._error, self._reason = error, _in_a_line(error)
            return
        finally:
            self._opened.set()
        while (entry := self._queue.get()) is not None:
            try:
                entry(logger)
            except Exception as error:
                self._lacks(_in_a_line(error))
            else:
                self._written += 1
        try:
            logger.close()
        except Exception as error:
            self._lacks(_in_a_line(error))

    def _lacks(self, reason: str) -> None:
        """Note why something is not written, and say so the first time."""
        if not self._reason and not self._closed:
            self._reason = reason
            self._say(f"--log {self._target}: {reason}; trials go on, and the log lacks what it does not take.")


class Logging:
    """Has listeners' news written to logs, whatever these do. A context manager.

    Args:
        targets: The logs.
        say: Takes a line that the person should read.

    Raises:
        UserError: On entering: a log cannot be opened.
    """

    def __init__(self, targets: Sequence[Target], say: Callable[[str], None]) -> None:
        self._targets, self._say = targets, say
        self._logs: list[_Log] = []

    def __enter__(self) -> Self:
        self._logs = [_Log(target, self._say) for target in self._targets]
        until = time.monotonic() + OPENING_SECONDS
        for log in self._logs:
            log.wait_until_open(until)
        return self

    def __exit__(self, *exc: object) -> None:
        until = time.monotonic() + CLOSING_SECONDS
        for log in self._logs:
            log.close(until)

    def settled(self, trial: LoggedTrial, ending: Ending) -> None:
        """See `studies.trials.Listener`, as of the others."""
        self._put(lambda logger: logger.settle(trial, ending))

    def began(self, trial: LoggedTrial) -> None:
        """Have a run begun."""
        self._put(lambda logger: logger.begin(trial))

    def heard(self, trial: LoggedTrial, record: Mapping[str, float]) -> None:
        """Have one epoch written."""
        values = {name: float(value) for name, value in record.items() if name != "epoch"}
        self._put(lambda logger: logger.step(trial, int(record["epoch"]), values))

    def ended(self, trial: LoggedTrial, ending: Ending) -> None:
        """Have a run ended."""
        self._put(lambda logger: logger.end(trial, ending))

    def _put(self, entry: _Entry) -> None:
        for log in self._logs:
            log.put(entry)


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
