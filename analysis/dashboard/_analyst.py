"""Importances take seconds: a process of its own computes them, and the dashboard answers meanwhile."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pandas as pd

from analysis.load import Study

_PROGRAM = "analysis.dashboard._importances"


class Analyst:
    """Computes one importance after the other, in a thread that waits for a process; to be closed."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analyst")
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def importance(self, study: Study, trials: pd.DataFrame, curves: pd.DataFrame) -> Future[dict[str, object]]:
        """The figure of a study's importances, from the numbers of the report, in due time.

        Args:
            study: which.
            trials: of it; columns of :func:`analysis.load.trials`.
            curves: of it; columns of :func:`analysis.load.curves`.

        Returns:
            The figure, or a RuntimeError that says why it cannot be computed.
        """
        return self._executor.submit(self._ask, study, trials, curves)

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        self._executor.shutdown(cancel_futures=True)
        self._end()

    def _ask(self, study: Study, trials: pd.DataFrame, curves: pd.DataFrame) -> dict[str, object]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((study, trials, curves), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError, pickle.PickleError) as error:
            self._end()
            raise RuntimeError("the process that computes importances ended") from error
        if isinstance(answer, str):
            raise RuntimeError(answer)
        figure: dict[str, object] = answer
        return figure

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise RuntimeError("closed")
        if self._process is None:
            # a session of its own: Ctrl-C in the terminal is for the dashboard
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _PROGRAM],  # not from the current directory, whatever lies there
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            if self._closed:  # meanwhile
                self._process.kill()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(OSError), process:  # a pipe may still hold something
                pass
