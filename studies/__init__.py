"""Workloads and the launching of tuning campaigns.

``studies.tune`` finds the best optimizer and its configuration for a workload, within a budget; ``studies.load_model``
reads a model that it, or the command line, saved.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from studies import modules

modules.import_own()
if sys.argv[:1] == ["-m"]:  # python -m studies.cli: what comes next could be found in the current directory
    modules.look_here_last()
    if find_spec("click") is None:
        from studies import start

        start.main()  # says it, and ends

from typing import TYPE_CHECKING  # noqa: E402

if TYPE_CHECKING:
    from studies.commands.tuning import Tuned, tune
    from studies.training.saved import SavedModel, load_model

__all__ = ["SavedModel", "Tuned", "load_model", "tune"]


def __getattr__(name: str) -> object:
    """Import what is asked for only now: whoever needs a module of this package alone waits for nothing else."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    room = "studies.commands.tuning" if name in ("Tuned", "tune") else "studies.training.saved"
    try:
        found: object = getattr(import_module(room), name)
    except ModuleNotFoundError as error:
        message = modules.what_is_missing()
        if message is None:
            raise
        raise ModuleNotFoundError(message, name=error.name) from None
    return found
