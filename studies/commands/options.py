"""Options of the command line that several commands have, and what of a command line may be shown."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from studies.called import DEFAULT_STORAGE, STORAGE_VARIABLE, command_line, storage_named
from studies.storage.durability import STORAGE_TIMEOUT
from studies.storage.url import hide_password

if TYPE_CHECKING:
    from studies.storage.durability import Durability

_F = TypeVar("_F", bound=Callable[..., Any])


def storage_option(command: _F) -> _F:
    """``--storage``."""
    return click.option(
        "--storage",
        envvar=STORAGE_VARIABLE,
        default=DEFAULT_STORAGE,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Database that holds the trials.",
    )(command)


def machine_options(command: _F) -> _F:
    """Where trials run, and how many at once."""
    for option in (
        click.option(
            "--gpus-per-trial", type=float, default=0.0, show_default=True, metavar="X", help="0.25: four on a GPU."
        ),
        click.option("--cpus-per-trial", type=float, default=1.0, show_default=True, metavar="X"),
    ):
        command = option(command)
    return place_options(command)


def place_options(command: _F) -> _F:
    """Where trials run, and how much of that machine is used."""
    for option in (
        click.option("--gpus", type=click.IntRange(0), metavar="N", help="The same of GPUs."),
        click.option(
            "--cpus",
            type=click.IntRange(1),
            metavar="N",
            help="Of this machine, at most; default: all that this process may use.",
        ),
        click.option(
            "--address", metavar="ADDR", help="Ray cluster to join ('auto', or host:port); default: this machine."
        ),
    ):
        command = option(command)
    return command


def safekeeping_options(command: _F) -> _F:
    """What is done against loss."""
    for option in (
        click.option(
            "--storage-timeout",
            type=float,
            default=STORAGE_TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="How long the database may be away before the run ends; until then results wait in memory.",
        ),
        click.option(
            "--checkpoint-every",
            type=int,
            default=1,
            show_default=True,
            metavar="EPOCHS",
            help="Of a trial that runs, to go on from if its worker, its node or the driver dies; 0: never.",
        ),
        click.option(
            "--checkpoints",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Where they are; default: beside an SQLite file, else in the cache.",
        ),
    ):
        command = option(command)
    return command


def kept_safe(storage: str, storage_timeout: float, checkpoint_every: int, checkpoints: Path | None) -> Durability:
    """What :func:`safekeeping_options` say."""
    from studies.storage.durability import Durability

    return Durability.of(storage, timeout=storage_timeout, directory=checkpoints, every=checkpoint_every)


def storage_again(storage: str) -> list[str]:
    """What names the storage on the next command line: nothing where it is the usual one."""
    return storage_named(storage, hide_password(storage))


_PLACES = ("--data", "--out", "--from", "--checkpoints")  # files, which the system knows by their bytes


def as_typed(arguments: Sequence[str]) -> list[str]:
    """Arguments as the person typed them, where the locale has no such letters and Python has kept their bytes."""
    return [
        part if before in _PLACES or os.path.exists(part) else _text(part)  # noqa: PTH110 (Path raises for a long name)
        for before, part in zip(["", *arguments], arguments, strict=False)
    ]


def _text(part: str) -> str:
    try:
        return os.fsencode(part).decode("utf-8")
    except UnicodeError:
        return part


def split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """The parts of ``a,b``."""
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


def how_to_go_on(arguments: Sequence[str]) -> str:
    """What to type after an interruption; passwords are left out of it."""
    if arguments[:1] not in (["launch"], ["confirm"], ["tune"], ["export"]):
        return ""
    shown = _shown(arguments)
    if shown != list(arguments):  # a command that cannot be typed as it stands
        return (
            "; nothing that had finished is lost, to go on, with the password in the place of ***, or the whole URL "
            f"in {STORAGE_VARIABLE}: {command_line(*shown)}"
        )
    return f"; nothing that had finished is lost, to go on: {command_line(*shown)}"


def _shown(arguments: Sequence[str]) -> list[str]:
    """Arguments as they may be shown: URLs, and whatever was given for a storage, without passwords."""
    shown = []
    for before, part in zip(["", *arguments], arguments, strict=False):
        option, equals, value = part.partition("=") if part.startswith("--") else ("", "", part)
        is_storage = "--storage" in (before, option) or "://" in value
        shown.append(f"{option}{equals}{hide_password(value)}" if is_storage and value else part)
    return shown


def hide_title(arguments: Sequence[str]) -> None:
    """Takes passwords out of the command line that ``ps`` shows of this process, and Ray of its driver.

    From the start of the process to here they are seen there; in the environment variable they never are.
    """
    shown = _shown(arguments)
    if shown != list(arguments):
        from setproctitle import setproctitle

        setproctitle(shlex.join([Path(sys.argv[0]).name, *shown]))
