"""Where in a user's own code an error arose, in words."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import UserError

_HOUSE = Path(__file__).resolve().parents[2]
_OTHERS = (
    *sorted(set(sysconfig.get_paths().values())),
    *(f"{_HOUSE / package}{os.sep}" for package in ("studies", "search_spaces", "sofim", "analysis")),
)
_INSTALLED = ("site-packages", "dist-packages")  # whichever environment they are in: one may build on another
_LONGEST = 200


@contextmanager
def blaming(what: str, fallback: object, otherwise: str = "") -> Iterator[None]:
    """Turn whatever the user's code raises into one line that points at the user's code.

    Args:
        what: What was being done, as the beginning of a sentence: ``"workload x: its model"``.
        fallback: The user's function that was called, to point at when no frame of the traceback is the user's.
        otherwise: Where to point when that function is a library's.

    Raises:
        UserError: In place of any other exception.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        place = _place(error) or definition(fallback, otherwise)
        text = " ".join(str(error).split())
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        raise UserError(f"{what} raised {type(error).__name__}: {text}{place}") from error


def _place(error: BaseException) -> str:
    """Return " (file:line)" of the deepest frame that is neither the library's nor this package's, or nothing."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users(frame.filename):
            return f" ({frame.filename}:{frame.lineno})"
    return ""


def place_in(text: str) -> str:
    r"""Return " (file:line)" of the deepest frame of a printed traceback that is the user's, or nothing.

    >>> place_in('Traceback:\n  File "/home/me/mine.py", line 7, in loss\nValueError: no')
    ' (/home/me/mine.py:7)'
    """
    for file, line in reversed(re.findall(r'File "(.+)", line (\d+)', text)):
        if is_users(file) and not file.startswith("<"):
            return f" ({file}:{line})"
    return ""


def is_users(file: str) -> bool:
    """Return whether a file is neither Python's, nor this package's, nor that of an installed one."""
    return not (file.startswith((*_OTHERS, "<frozen", "<string>")) or set(_INSTALLED) & set(Path(file).parts))


def caller() -> str:
    """Return "file:line" of the nearest frame that is the user's, or nothing."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if is_users(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return ""


def definition(function: object, otherwise: str = "") -> str:
    """Return " (file:line)" of where the user wrote a function or class.

    Args:
        function: That function.
        otherwise: "file:line" that is returned for one that a library has, or of which Python does not know it.
    """
    place = _definition(function)
    return place if place and is_users(place[2:]) else f" ({otherwise})" if otherwise else ""


def _definition(function: object) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    try:
        function = inspect.unwrap(function)  # type: ignore[arg-type]
        if inspect.isfunction(function):
            return f" ({function.__code__.co_filename}:{function.__code__.co_firstlineno})"
        file = inspect.getsourcefile(function if inspect.isclass(function) else type(function))
        line = inspect.getsourcelines(function if inspect.isclass(function) else type(function))[1]
    except (TypeError, OSError, ValueError):
        return ""
    return f" ({file}:{line})"
