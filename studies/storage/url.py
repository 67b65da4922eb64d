"""The URL of a storage: taken apart in one place, by SQLAlchemy, whatever is asked of it.

SQLAlchemy is imported when a URL is looked at: a command that needs no storage does not wait for it.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

SQLITE = "sqlite"
RDB = "studies.storage.rdb"
MODULES = {"journal": "studies.storage.journal"}
"""What opens a storage by the scheme of its URL, where that is no database; such a URL without a host names a file."""
MEMORY = ":memory:"
_SECRET = ("pass", "pwd")  # what an option with a password has in its name


def parse(url: str) -> URL:
    """Return the parts of ``url``; schemes are the same in upper and lower case.

    Raises:
        UserError: It is no URL of a database, or means another one than the person does.
    """
    if _misread(url) is not None:
        raise UserError(
            f"storage '{hide_password(url)}': it has more than one @, and where its password ends cannot be told; "
            "write / and @ of a password or of a database's name as %2F and %40"
        )
    found = _parts(url)
    _, asks, options = url.partition("://")[2].rpartition("@")[2].partition("?")  # a password may have a ? too
    named = [option for option in options.split("&") if option]
    if found is not None and asks and not (named and all("=" in option for option in named)):  # would be left out
        raise UserError(
            f"storage '{hide_password(url)}': what follows the ? is not name=value; write a ? of a file's name as %3F, "
            "or leave that out"
        )
    if found is None:
        raise UserError(
            f"storage '{hide_password(url)}' is not a database URL; write for example sqlite:///sofim.db "
            "or postgresql+psycopg://user@host/name"
        )
    return found


def rendered(url: URL) -> str:
    """Return ``url`` as other programs take it, password included."""
    return url.render_as_string(hide_password=False)


def backend(url: URL) -> str:
    """Return what kind of storage it is: ``sqlite``, ``postgresql``, …, or ``journal``."""
    return url.get_backend_name()


def sqlite_name(url: URL) -> str:
    """Return what SQLite is asked to open: a path, or its kind of URI where the URL says so; else ``:memory:``.

    Raises:
        sqlalchemy.exc.ArgumentError: An option has no such value, or there is a host.
    """
    [name], _ = url.get_dialect()().create_connect_args(url)
    return str(name)


def in_memory(name: str) -> bool:
    """Return whether SQLite would keep that in memory alone, or in a file of its own that it deletes."""
    path, _, options = name.partition("?")
    return path in ("", MEMORY, "file:", f"file:{MEMORY}") or "mode=memory" in options.split("&")


def file_of(url: str) -> Path | None:
    """Return the file that holds the storage; ``None`` where it is no file, or the URL cannot be read."""
    from sqlalchemy.exc import SAWarning, SQLAlchemyError

    found = _parts(url)
    if found is None or found.host or not found.database:
        return None
    if backend(found) in MODULES:
        return Path(found.database)
    if backend(found) != SQLITE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            return None if in_memory(name := sqlite_name(found)) else path_of(found, name)
    except (SQLAlchemyError, SAWarning, ImportError, TypeError, ValueError):  # is said when the storage is opened
        return None


def path_of(url: URL, name: str) -> Path:
    """Return the file of an SQLite URL, which SQLite opens as ``name``; relative where the URL has it so."""
    if not name.startswith("file:"):
        return Path(str(url.database))
    path = name.removeprefix("file:").partition("?")[0].partition("#")[0]
    if path.startswith("//"):  # a host, which is this one, or none
        path = f"/{path[2:].partition('/')[2]}"
    return Path(unquote(path))


def hide_password(url: str) -> str:
    """Return ``url`` as it may be shown: passwords as ``***``, also those among the options."""
    if (meant := _misread(url)) is not None:
        return meant
    parsed = _parts(url)
    if parsed is None:
        if "@" in url:
            return url.rpartition("@")[2].partition("?")[0]
        return f"{url.partition(':')[0]}:***" if ":" in url else url  # a host was forgotten
    plain = rendered(parsed)
    secret = {name: "***" for name in parsed.query if any(word in name.lower() for word in _SECRET)}
    shown = parsed.update_query_dict(secret).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
    # nothing was secret: as it was typed, so that it can be typed again
    return url if shown == plain and url.isprintable() else shown


def _misread(url: str) -> str | None:
    """Return a URL as it was meant, without its password, where an @ of that was not written %40; else ``None``."""
    found = re.match(r"([^:]+://[^:/]*):[^@]*@([^?]*)\??([^=]*)", url)
    if found is None:
        return None
    user, place, beyond = found.groups()  # which is an option's name, or goes on with a password that has a ? in it
    whole = beyond if "@" in beyond else place
    return f"{user}:***@{whole.rpartition('@')[2].partition('?')[0]}" if "@" in whole else None


def _parts(url: str) -> URL | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return None
    return found.set(drivername=found.drivername.lower())
