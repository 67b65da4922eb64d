"""How this program was called, so that the commands it tells to type next work where this one did."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path

DEFAULT_STORAGE = "sqlite:///sofim.db"
STORAGE_VARIABLE = "SOFIM_STORAGE"

_MODULE = ["-m", "studies.cli"]


def called() -> list[str]:
    """Return the words: ``sofim`` where the shell finds it, else the path as typed, or ``python -m studies.cli``."""
    program = sys.argv[0] if sys.argv else ""
    path = Path(program)
    if path.parts[-2:] == ("studies", "cli.py"):
        python = sys.orig_argv[0]
        return [python if "/" in python or shutil.which(python) else sys.executable, *_MODULE]
    if path.name != "sofim" or program == "sofim":  # a notebook, a test, a program of one's own
        return ["sofim"]
    found = shutil.which("sofim")
    on_path = path.is_absolute() and found is not None and path.exists() and path.samefile(found)
    return ["sofim"] if on_path else [program]


def when_called() -> float:
    """Return when this process began, when the person pressed the key, in the seconds of ``time.monotonic``."""
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())


def command_line(*words: str) -> str:
    """Return a command of this program as one types it.

    >>> command_line("launch", "my campaign")
    "sofim launch 'my campaign'"
    """
    return shlex.join([*called(), *words])


def storage_named(url: str, shown: str) -> list[str]:
    """Return what names a storage on the next command line: nothing where it is the usual one.

    Args:
        url: Of the storage.
        shown: The same without a password.
    """
    usual = os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    return [] if url == usual else ["--storage", shown]
