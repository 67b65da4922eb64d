"""Processes that compute beside each other and import what this one does, whatever lies in the current directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib

_SAFE = "PYTHONSAFEPATH"


@contextmanager
def safe_path() -> Iterator[None]:
    """Start processes of Python that do not look for modules in the current directory first."""
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before


@contextmanager
def pool(num_processes: int, **options: Any) -> Iterator[joblib.Parallel]:
    """Open a ``joblib.Parallel`` whose processes are kept until the end.

    Args:
        num_processes: At most; -1 for one a CPU.
        options: Others of ``joblib.Parallel``.
    """
    with safe_path(), joblib.Parallel(n_jobs=num_processes, **options) as parallel:
        yield parallel
