"""A training function that reports from a callback, as an iterator over what it reports.

It runs in a thread, as libraries whose trainers own the loop leave no other way: never at the same time as its caller,
so that global generators are as if it were called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import torch

if TYPE_CHECKING:
    from studies.training.training_run import Exchange, TrainingRun


class RunStoppedError(BaseException):
    """Raised in ``run.report`` where no further epoch is wanted: no library takes it for a fault of its own."""


class Reports(Iterator[Any]):
    """Iterates over the values that a function reports.

    Args:
        run: What it is called with.
        function: Calls ``run.report`` after each epoch.
        exchange: Through which the run tells what is reported.
    """

    def __init__(self, run: TrainingRun, function: Callable[[Any], object], exchange: Exchange) -> None:
        self._told: SimpleQueue[tuple[bool, Any]] = SimpleQueue()  # whether it is a value, and that or what was raised
        self._goes_on: SimpleQueue[bool] = SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._call, args=(run, function), daemon=True)
        self._threads = torch.get_num_threads()
        exchange.tell = self._report

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the next value; raise what the function raises."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._goes_on.put(True)
        is_value, told = self._told.get()
        if is_value:
            return told
        self._thread.join()
        raise StopIteration if told is None else told

    def close(self) -> None:
        """Have the function end at the value that it reported last.

        Its ``finally`` blocks take what they take: nothing else may draw from the generators meanwhile. A thread cannot
        be ended; of a function that never does, ``--trial-timeout`` ends the worker.
        """
        self._stopped = True
        if self._thread.is_alive():
            self._goes_on.put(False)
            self._thread.join()

    def _call(self, run: TrainingRun, function: Callable[[Any], object]) -> None:
        torch.set_num_threads(self._threads)
        raised: BaseException | None = None
        try:
            function(run)
        except RunStoppedError:
            pass
        except BaseException as error:  # whatever it is, the caller raises it
            raised = error
        self._told.put((False, raised))

    def _report(self, value: object) -> None:
        if not self._stopped:  # a function may take what ended it for its own fault, and report again
            self._told.put((True, value))
            if self._goes_on.get():
                return
        raise RunStoppedError
