"""What ends a run before its time: Ctrl-C, SIGTERM, and errors that Ray would swallow."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

_STOPPING = "Stopping when the epochs that run have ended; Ctrl-C again stops at once, and those epochs are run again."


class SignalGuard:
    """Around Ray's loop: what ends it is noted when it comes and raised between two steps, where nothing is half done.

    That is Ctrl-C and SIGTERM, and whatever the ledger raises in a callback: of that Ray would leave the text of a
    traceback, or nothing at all. After the first signal no trial begins, and those that run end their epoch; a second
    one is raised at once. A context manager around the loop.

    Args:
        request_stop: Asks workers to stop.
        say: Takes a line that the person should read.
    """

    def __init__(
        self, request_stop: Callable[[], None] = lambda: None, say: Callable[[str], None] = lambda _line: None
    ) -> None:
        self._request_stop, self.say = request_stop, say
        self._interrupted = False
        self._announced = False
        self._depth = 0  # of blocks that are not to be left half done
        self._held_back = False  # a second signal, that came in one
        self._error: Exception | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._interrupted and self._depth:
            self._held_back = True
        elif self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if kind is None or isinstance(error, Exception):
            self.check()

    @contextmanager
    def deferring_signals(self) -> Iterator[None]:
        """Note what is raised inside; raise a second signal behind it, so that no trial is half told."""
        self._depth += 1
        try:
            yield
        except Exception as error:
            self._error = self._error or error
            raise
        finally:
            self._depth -= 1
            if self._held_back and not self._depth:
                self._held_back = False
                raise KeyboardInterrupt

    @property
    def stopping(self) -> bool:
        """Return whether a signal came: no trial is to begin, and those that run are to end with their epoch."""
        if self._interrupted and not self._announced:
            self._announced = True
            with suppress(OSError):  # workers that do not hear of it end with an epoch that is saved
                self._request_stop()
            self.say(_STOPPING)
        return self._interrupted

    def check(self, *, idle: bool = True) -> None:
        """Raise what was noted; a signal only when the run is ``idle``, so that no trial runs any more."""
        if self._error is not None:
            raise self._error from None
        if self._interrupted and idle:
            raise KeyboardInterrupt
