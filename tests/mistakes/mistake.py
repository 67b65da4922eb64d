"""What a row of the table of mistakes says, and the place in which it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["sqlite", "postgresql"]

CAMPAIGN = 'name = "mine"\nworkloads = ["digits-mlp"]\noptimizers = ["sgd"]\ntrials = 3\n'
"""A campaign's file without a mistake."""


@dataclass(frozen=True)
class Place:
    """Where a mistake is made.

    Attributes:
        here: the person's directory, which is also the current one.
        storage: URL of the database that the command is given.
        words: what ``{…}`` in a row stands for besides ``{here}`` and ``{storage}``; a row's `prepare` adds to it.
    """

    here: Path
    storage: str
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One row: somebody types a line, and reads another.

    Attributes:
        id: a name for it.
        typed: after ``sofim``, as in a shell. ``--storage`` is added where the command takes one and has none.
        says: the whole line on standard error, after ``sofim: ``. ``{here}``, ``{storage}``
            storage without its password) and the words of `Place` are filled in, ``<any>`` stands for what changes
            from machine to machine.
        files: what lies in the person's directory, by name.
        storage: which database the command is given: one with a finished campaign ``fake`` that all rows share, a
            copy of that for this row alone, or an empty one.
        prepare: what else is to be done before.
        only: the kind of database that it is about; where it is about neither, the theme of the row says which.
        environment: variables that are set.
        as_nobody: whether it is a user without rights who types it (where the tests are run by root, who may all).
        prints: whether something came on standard output before the mistake was found.
        leaves: what may be found afterwards in the database: studies in which no trial has worked, which bind nobody.
        cluster: whether Ray is started; ``"joined"``: one that is there will do.
    """

    id: str
    typed: str
    says: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    storage: Literal["shared", "copy", "empty"] = "shared"
    prepare: Callable[[Place], None] | None = None
    only: Kind | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    as_nobody: bool = False
    prints: bool = False
    leaves: Literal["nothing", "studies"] = "nothing"
    cluster: bool | Literal["joined"] = False


def with_lines(**lines: str) -> str:
    """The campaign's file with other values, as TOML writes them, of some keys.

    >>> with_lines(trials="0").splitlines()[-1]
    'trials = 0'
    """
    kept = [line for line in CAMPAIGN.splitlines() if line.split(" = ")[0] not in lines]
    return "".join(f"{line}\n" for line in (*kept, *(f"{key} = {value}" for key, value in lines.items())))


def in_file(id: str, says: str, **lines: str) -> Mistake:
    """A mistake in the value of a key in a campaign's file."""
    return Mistake(id=id, typed="launch mine.toml", files={"mine.toml": with_lines(**lines)}, says=f"mine.toml: {says}")


def in_space(id: str, line: str, says: str, *, optimizer: str = "sofim", **files: str) -> Mistake:
    """A mistake in the ``[search_space.…]`` table of a campaign's file; ``files`` are of Python, by module."""
    text = with_lines(optimizers=f'["{optimizer}"]') + f"[search_space.{optimizer}]\n{line}\n"
    return Mistake(
        id=id,
        typed="launch mine.toml",
        files={"mine.toml": text, **{f"{name}.py": content for name, content in files.items()}},
        says=f"mine.toml: search_space.{optimizer}: {says}",
    )
