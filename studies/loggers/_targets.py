"""What a person writes after ``--log``: the kinds of logs, and where each may be."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from search_spaces.errors import UserError
from studies.loggers._base import Logger
from studies.loggers._mlflow import MLflowLogger, check_uri
from studies.loggers._tensorboard import TensorBoardLogger, check_directory
from studies.loggers._trackio import TrackioLogger, check_local
from studies.loggers._wandb import WandbLogger, check_login
from studies.storage.url import hide_password


def _as_typed(place: str) -> str:
    return place


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of log.

    Attributes:
        place: What it is given, as help shows it.
        library: What is imported for it.
        make: Makes its logger of the place.
        check: Refuses a place at which there can be no log.
        whole: Makes the place independent of the current directory.
    """

    place: str
    library: str
    make: Callable[[str], Logger]
    check: Callable[[str], None]
    whole: Callable[[str], str] = _as_typed


KINDS: dict[str, Kind] = {
    "tensorboard": Kind("DIR", "tensorboardX", TensorBoardLogger, check_directory, os.path.abspath),
    "mlflow": Kind("URI", "mlflow", MLflowLogger, check_uri),
    "wandb": Kind("PROJECT", "wandb", WandbLogger, check_login),
    "trackio": Kind("PROJECT", "trackio", TrackioLogger, check_local),
}
"""The kinds of logs, by the name that stands before the colon of ``--log``."""


@dataclass(frozen=True, slots=True)
class Target:
    """One log that a person asks for; as text, it may be shown."""

    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind}:{hide_password(self.place) if '://' in self.place else self.place}"

    def open(self) -> Logger:
        """Return its logger; that may take seconds, and fail in any way."""
        return KINDS[self.kind].make(self.place)


def targets_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """Return what a person asks for, each once, and see that it can be there.

    Raises:
        UserError: A text means nothing, its library is missing, or there can be no log.
    """
    targets = tuple(dict.fromkeys(target_of(text) for text in texts))
    for target in targets:
        KINDS[target.kind].check(target.place)
    return targets


def target_of(text: str) -> Target:
    """Return what ``KIND:PLACE`` means.

    Raises:
        UserError: It means nothing, or the library is missing.

    >>> target_of("tensorboard:/tmp/runs")
    Target(kind='tensorboard', place='/tmp/runs')
    """
    name, colon, place = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        known = ", ".join(f"{each}:{kind.place}" for each, kind in KINDS.items())
        raise UserError(f"--log {Target(name, place) if colon else text}: must be one of {known}")
    if not place.strip():
        raise UserError(f"--log {text}: says no place; give --log {name}:{kind.place}")
    if find_spec(kind.library) is None:
        raise UserError(
            f"--log {Target(name, place)}: {kind.library} is not installed; install it: "
            f"pip install 'sofim-studies[{name}]'"
        )
    return Target(name, kind.whole(place))
