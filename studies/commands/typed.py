"""The command line as a person typed it: read in any locale, and what of it may be shown again."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from search_spaces.errors import UserError
from studies.called import STORAGE_VARIABLE, command_line
from studies.storage.url import hide_password


class NotSavedError(UserError):
    """All that a command does is done and in the storage, but for the model that was to be saved."""


_PLACES = ("--data", "--out", "--from", "--checkpoints", "--save")  # files, which the system knows by their bytes


def as_typed(arguments: Sequence[str]) -> list[str]:
    """Return arguments as the person typed them, where the locale lacks the letters and Python has kept their bytes."""
    return [
        part if before in _PLACES or os.path.exists(part) else _text(part)  # noqa: PTH110 (Path raises for a long name)
        for before, part in zip(["", *arguments], arguments, strict=False)
    ]


def _text(part: str) -> str:
    try:
        return os.fsencode(part).decode("utf-8")
    except UnicodeError:
        return part


def how_to_go_on(arguments: Sequence[str]) -> str:
    """Return what to type after an interruption; passwords are left out of it."""
    evaluates = arguments[:1] == ["export"] and "--evaluate" in arguments
    if not evaluates and arguments[:1] not in (["launch"], ["confirm"], ["tune"], ["evaluate"]):
        return ""
    return f"; nothing that had finished is lost, to go on{_again(arguments)}"


def how_to_save(arguments: Sequence[str]) -> str:
    """Return what to type where saving failed."""
    return f"; all else is done and in the storage, to save again{_again(arguments)}"


def _again(arguments: Sequence[str]) -> str:
    shown = _shown(arguments)
    if shown != list(arguments):  # a command that cannot be typed as it stands
        with_password = f", with the password in the place of ***, or the whole URL in {STORAGE_VARIABLE}"
        return f"{with_password}: {command_line(*shown)}"
    return f": {command_line(*shown)}"


def _shown(arguments: Sequence[str]) -> list[str]:
    """Return arguments as they may be shown: URLs, and whatever was given for a storage, without passwords."""
    shown = []
    for before, part in zip(["", *arguments], arguments, strict=False):
        option, equals, value = part.partition("=") if part.startswith("--") else ("", "", part)
        is_storage = "--storage" in (before, option) or "://" in value
        kind, colon, place = value.partition(":") if "--log" in (before, option) else ("", "", value)
        shown.append(f"{option}{equals}{kind}{colon}{hide_password(place)}" if is_storage and value else part)
    return shown


def hide_title(arguments: Sequence[str]) -> bool:
    """Take passwords out of the command line that ``ps`` shows of this process, and Ray of its driver.

    From the start of the process to here they are seen there; in the environment variable they never are.

    Returns:
        Whether none is seen there any more. Where the first variable of the environment was set anew, which Python
        itself does with ``LC_CTYPE=C``, setproctitle does not find the command line and changes nothing.
    """
    shown = _shown(arguments)
    if shown == list(arguments):
        return True
    import psutil
    from setproctitle import setproctitle

    setproctitle(shlex.join([Path(sys.argv[0]).name, *shown]))
    seen = " ".join(psutil.Process().cmdline())
    return not any(part in seen for part in set(arguments) - set(shown))
