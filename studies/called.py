"""How this program was called, so that the commands it tells to type next work where this one did."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from search_spaces.errors import UserError

DEFAULT_STORAGE = "sqlite:///sofim.db"
STORAGE_VARIABLE = "SOFIM_STORAGE"

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # of a process that `ray job submit` started: its runtime environment
_JOB_DIRECTORIES = "working_dir_files"  # where Ray unpacks the working directories of jobs

_TRAINING = ("launch", "confirm", "evaluate", "tune")

_NUMBER = r"-?\d+(?:\.\d+)?"
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


def shown_place(path: Path) -> Path:
    """Return a path as one types it here: relative where it is below the current directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def goes_with_the_job(path: Path) -> bool:
    """Return whether a path is in the directory that Ray made for this job, far from where the person typed it."""
    return JOB in os.environ and _JOB_DIRECTORIES in path.resolve().parts


def place_named(option: str, name: str | Path) -> Path:
    """Return the absolute path that somebody gave for ``option``.

    Raises:
        UserError: The name is empty, as a variable of the shell that is not set, which would be the current directory.
    """
    if str(name) == "":
        raise UserError(f"{option} '': names nothing; give a path, or . for the current directory")
    return Path(name).absolute()


def place_to_write(option: str, name: str | Path) -> Path:
    """Return the same of what is to be kept.

    Raises:
        UserError: The name is empty, or that of a directory that is not where the person typed, and does not stay.
    """
    place = place_named(option, name)
    if goes_with_the_job(place):
        raise UserError(
            f"{option} {name}: would be in the directory that Ray made for this job and may remove; give a full path, "
            "on a disk that stays"
        )
    return place


def when_called() -> float:
    """Return when this process began, when the person pressed the key, in the seconds of ``time.monotonic``."""
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())


def command_line(*words: str) -> str:
    """Return a command of this program as one types it.

    One that trains finds its data and its cluster where the command that runs does, if it was told.

    >>> command_line("launch", "my campaign")
    "sofim launch 'my campaign'"
    """
    return shlex.join([*called(), *words, *(_place_again(words) if words[:1] and words[0] in _TRAINING else ())])


def _place_again(words: Sequence[str]) -> Iterator[str]:
    context = click.get_current_context(silent=True)
    for key in ("data", "address"):
        option, value = f"--{key}", context and context.params.get(key)
        if value is not None and not any(word.partition("=")[0] == option for word in words):
            yield from (option, str(value))


def storage_named(url: str, shown: str) -> list[str]:
    """Return what names a storage on the next command line: nothing where it is the usual one.

    Args:
        url: Of the storage.
        shown: The same without a password.
    """
    usual = os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    return [] if url == usual else ["--storage", shown]


@contextmanager
def from_python() -> Iterator[None]:
    """Have the errors of a call from Python name its arguments, where they name options of the command line."""
    try:
        yield
    except UserError as error:
        error.args = (in_python(str(error)),)
        raise


def in_python(message: str) -> str:
    """Return a message with options of the command line as arguments; a command that it says to type stays.

    >>> in_python("give --budget 4min or more, or fewer --epochs")
    "give budget='4min' or more, or fewer epochs="
    """
    sentence, command, words = message.partition("sofim ")

    def argument(option: re.Match[str]) -> str:
        name, value = option[1].replace("-", "_"), option[2] or ""
        return f"{name}={value if re.fullmatch(_NUMBER, value) or not value else repr(value)}"

    value = rf"{_NUMBER}\w*|[\w,:.-]+$"
    return re.sub(rf"(?<!\S)--([a-z]+(?:-[a-z]+)*)(?![=\w-])(?: ({value}))?", argument, sentence) + command + words
