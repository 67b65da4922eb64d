"""The one exception that stands for a mistake of the user's, and the words in which it names a value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import TypeGuard

_LONGEST = 60


class UserError(Exception):
    """A mistake that the user can mend: one line that names the thing and the remedy.

    The command line prints it to standard error and exits with code 2; no traceback.
    """


def shown(value: object) -> str:
    """Return ``value`` as one short printable line for an error message, as TOML writes it.

    >>> shown([1, True])
    '[1, true]'
    """
    try:
        text = _toml(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        text = "an enormous integer"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def key_shown(key: str) -> str:
    """Return a key as the user wrote it, quoted where it is empty or would break the line.

    >>> key_shown("lr"), key_shown("a b")
    ('lr', "'a b'")
    """
    plain = key.isprintable() and key != "" and " " not in key
    return key if plain and len(key) <= _LONGEST else shown(key)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Return whether something is a number, and one that a float can be.

    >>> is_finite(1), is_finite(True), is_finite(float("nan")), is_finite(10**400), is_finite("1")
    (True, False, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False


def number_of(count: int, noun: str, several: str | None = None) -> str:
    """Return a number of things, ``several`` of which are called so where an s does not do.

    >>> number_of(1, "trial"), number_of(0, "trial"), number_of(2, "study", "studies")
    ('1 trial', '0 trials', '2 studies')
    """
    return f"{count} {noun if count == 1 else several or f'{noun}s'}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the known name nearest to ``name``, or nothing where none is near.

    >>> suggestion("adm", ["adam", "sgd"])
    '; did you mean adam?'
    """
    # Quadratic in the length: a name longer than any key cannot be a slip of the fingers.
    near = difflib.get_close_matches(name[:_LONGEST].lower(), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
