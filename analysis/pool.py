"""Processes that compute beside each other and import what this one does, whatever lies in the current directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib

_SAFE = "PYTHONSAFEPATH"


@contextmanager
def pool(num_processes: int, **options: Any) -> Iterator[joblib.Parallel]:
    """``joblib.Parallel`` with its processes kept until the end.

    Args:
        num_processes: at most; -1 for one a CPU.
        options: others of ``joblib.Parallel``.
    """
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"  # they are started with python -m, which looks in the current directory first
    try:
        with joblib.Parallel(n_jobs=num_processes, **options) as parallel:
            yield parallel
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before
