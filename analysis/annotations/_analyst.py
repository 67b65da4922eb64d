"""Importances take seconds: a process of its own computes them, and the dashboard answers meanwhile."""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import suppress

import pandas as pd

from analysis.load import Study

_PROGRAM = "analysis.annotations._importances"


class Analyst:
    """Computes one importance after the other; to be closed. Only `close` may be called from another thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def importance(self, study: Study, trials: pd.DataFrame, curves: pd.DataFrame) -> dict[str, object]:
        """The figure of a study's importances, from the numbers of the report.

        Args:
            study: which.
            trials: of it; columns of :func:`analysis.load.trials`.
            curves: of it; columns of :func:`analysis.load.curves`.

        Raises:
            RuntimeError: it cannot be computed.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((study, trials, curves), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            self._end()
            raise RuntimeError("the process that computes importances ended") from error
        if isinstance(answer, str):
            raise RuntimeError(answer)
        figure: dict[str, object] = answer
        return figure

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise RuntimeError("closed")
        if self._process is None:
            # a session of its own: Ctrl-C in the terminal is for the dashboard
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process, suppress(OSError):  # of a pipe that still holds something
                pass
            self._process = None
