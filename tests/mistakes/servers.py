"""Mistakes with a database server: who one is there, and whether it answers."""

from __future__ import annotations

from tests.mistakes.mistake import Mistake
from tests.mistakes.storages import POSTGRES, RUN, guest, login, read_only, without_rights

ROWS = [
    Mistake(
        id="a server's database that may not be written",
        typed=RUN,
        storage="copy",
        prepare=read_only,
        only=POSTGRES,
        says=(
            "storage '{storage}' refuses: cannot execute INSERT in a read-only transaction; mend that and run "
            "the same command again: every trial that it has counts, the others are asked again"
        ),
    ),
    Mistake(
        id="a server's database to confirm in that may not be written",
        typed="confirm fake --anyway",
        storage="copy",
        prepare=read_only,
        only=POSTGRES,
        says=(
            "storage '{storage}' refuses: cannot execute UPDATE in a read-only transaction; mend that and run "
            "the same command again: every trial that it has counts, the others are asked again"
        ),
    ),
    Mistake(
        id="a role without rights",
        typed="status --storage {guest}",
        storage="copy",
        prepare=without_rights,
        only=POSTGRES,
        says=(
            "storage '{guest}' cannot be opened: permission denied for table alembic_version; ask its owner for "
            "the right to read and write it, or name another with --storage"
        ),
    ),
    Mistake(
        id="a role that may not make tables",
        typed=f"{RUN} --storage {{guest}}",
        storage="copy",
        prepare=without_rights,
        only=POSTGRES,
        says=(
            "storage '{guest}' cannot be opened: permission denied for table alembic_version; ask its owner for "
            "the right to read and write it, or name another with --storage"
        ),
    ),
    Mistake(
        id="an empty database in which one may not make tables",
        typed=f"{RUN} --storage {{guest}}",
        storage="empty",
        prepare=guest,
        only=POSTGRES,
        says=(
            "storage '{guest}' cannot be opened: permission denied for schema public; ask its owner for the "
            "right to read and write it, or name another with --storage"
        ),
    ),
    Mistake(
        id="a wrong password",
        typed="status --storage {url}",
        prepare=login("tuner", "wr0ng"),
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://tuner:***@{server}/{name}' cannot be opened: password "
            'authentication failed for user "tuner"; give the right one in the URL, user:password@host with '
            "/ and @ in it as %2F and %40, or in ~/.pgpass"
        ),
    ),
    Mistake(
        id="a wrong password to launch with",
        typed=f"{RUN} --storage {{url}}",
        prepare=login("tuner", "wr0ng"),
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://tuner:***@{server}/{name}' cannot be opened: password "
            'authentication failed for user "tuner"; give the right one in the URL, user:password@host with '
            "/ and @ in it as %2F and %40, or in ~/.pgpass"
        ),
    ),
    Mistake(
        id="no password",
        typed="status --storage {url}",
        prepare=login("tuner"),
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://tuner@{server}/{name}' cannot be opened: connection to server at "
            '"{host}", port {port} failed: fe_sendauth: no password supplied; give the right one in the URL, '
            "user:password@host with / and @ in it as %2F and %40, or in ~/.pgpass"
        ),
    ),
    Mistake(
        id="an unknown role",
        typed="status --storage {url}",
        prepare=login("stranger"),
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://stranger@{server}/{name}' cannot be opened: role \"stranger\" does "
            "not exist; name another user in the URL, or make it first: createuser stranger"
        ),
    ),
    Mistake(
        id="an unknown database",
        typed=f"{RUN} --storage {{url}}",
        prepare=login("postgres", database="nowhere"),
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://postgres@{server}/nowhere' cannot be opened: database \"nowhere\" "
            "does not exist; make it first: createdb nowhere, or name another with --storage"
        ),
    ),
    Mistake(
        id="a closed port",
        typed=f"{RUN} --storage postgresql+psycopg://me:s3cret@127.0.0.1:1/name",
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://me:***@127.0.0.1:1/name' cannot be opened: connection to server at "
            '"127.0.0.1", port 1 failed: Connection refused; start the server, or correct host and port in '
            "--storage"
        ),
    ),
    Mistake(
        id="a closed port at several addresses",
        typed="status --storage 'postgresql+psycopg://me:s3cret@/name?host=127.0.0.1:1&host=127.0.0.1:2'",
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://me:***@/name?host=127.0.0.1%3A1&host=127.0.0.1%3A2' cannot be "
            'opened: connection to server at "127.0.0.1", port 2 failed: Connection refused; start the '
            "server, or correct host and port in --storage"
        ),
    ),
    Mistake(
        id="an unknown host",
        typed="status --storage postgresql+psycopg://me:s3cret@nowhere.invalid/name",
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://me:***@nowhere.invalid/name' cannot be opened: failed to resolve "
            "host 'nowhere.invalid': [Errno -2] Name or service not known; start the server, or correct host "
            "and port in --storage"
        ),
    ),
    Mistake(
        id="an option of no server",
        typed="status --storage '{url}?colour=red'",
        prepare=login("tuner", "wr0ng"),
        only=POSTGRES,
        says=(
            "storage 'postgresql+psycopg://tuner:***@{server}/{name}?colour=red' cannot be opened: invalid "
            'connection option "colour"; leave that out of the URL'
        ),
    ),
]
