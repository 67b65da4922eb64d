"""What ends a run before its time: Ctrl-C, SIGTERM, and errors that Ray would swallow."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Watch:
    """Over Ray's loop: what ends it is noted when it comes and raised between two steps, where nothing is half done.

    That is Ctrl-C and SIGTERM (a second one is raised at once), and whatever the ledger raises in a callback: of that
    Ray would leave the text of a traceback, or nothing at all. A context manager around the loop.
    """

    def __init__(self) -> None:
        self._interrupted = False
        self._error: Exception | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if kind is None or isinstance(error, Exception):
            self.check()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Notes what is raised inside."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error
            raise

    def check(self) -> None:
        """Raises what was noted."""
        if self._error is not None:
            raise self._error from None
        if self._interrupted:
            raise KeyboardInterrupt
