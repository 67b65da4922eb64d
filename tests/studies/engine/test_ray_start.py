"""How Ray is started here or joined elsewhere, and what is said where that fails: without Ray's processes."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from search_spaces.errors import UserError
from studies.engine import Resources, _joining, _local, slots_offered
from studies.engine._local import temporary_directory
from studies.training import allowance

# -------- what of the machine


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(allowance, "cpus", lambda: 3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(), 3),
        (Resources(cpus=2), 2),
        (Resources(cpus_per_trial=0.5, cpus=1), 2),
        (Resources(cpus_per_trial=2), 1),
        (Resources(gpus_per_trial=1), 2),
        (Resources(gpus_per_trial=1, gpus=1), 1),
        (Resources(cpus_per_trial=0.25, gpus_per_trial=0.25), 8),
    ],
)
def test_as_many_trials_at_once_as_the_process_may_run(machine, resources, slots):
    assert slots_offered(resources) == slots


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (Resources(cpus=4), "--cpus 4: this process may use 3 CPUs; ask for at most that"),
        (Resources(gpus=3), "--gpus 3: this process may use 2 GPUs; ask for at most that"),
        (Resources(cpus_per_trial=4), "--cpus-per-trial 4: no node has more than 3 CPUs"),
        (Resources(cpus_per_trial=4, cpus=1), "--cpus-per-trial 4: no node has more than 1 CPU;"),
        (Resources(gpus_per_trial=1, gpus=0), "--gpus-per-trial 1: no node has more than 0 GPUs"),
    ],
)
def test_more_than_the_process_may_use_is_refused(machine, resources, said):
    with pytest.raises(UserError) as raised:
        slots_offered(resources)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(("memory", "store"), [(64 * 2**30, 200), (1500 * 2**20, 150), (300 * 2**20, 80)])
def test_the_object_store_is_of_the_memory_that_is_allowed(monkeypatch, memory, store):
    monkeypatch.setattr(allowance, "memory", lambda: memory)
    assert _local._store_bytes() == store * 2**20


# -------- where its files are


@pytest.fixture
def no_variable(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_directory_that_is_named_is_used_and_nobody_else_may_enter_it(no_variable, monkeypatch, tmp_path, variable):
    monkeypatch.setenv(variable, str(tmp_path))
    with temporary_directory() as made:
        assert made.parent == tmp_path
        assert made.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["too long", "missing", "a file", "too long, of umlauts"])
def test_where_the_named_one_will_not_do_another_is_taken(no_variable, monkeypatch, tmp_path, what):
    place = tmp_path / ("ü" * 20 if "umlauts" in what else "a-directory-of-some-batch-job" if "long" in what else "x")
    if "long" in what:
        place.mkdir()
    elif what == "a file":
        place.touch()
    monkeypatch.setenv("TMPDIR", str(place))
    longest = 30 if "long" in what else None
    with temporary_directory(longest) as made:
        assert made.is_dir()
        assert place not in made.parents
        assert longest is None or len(os.fsencode(made.parent)) <= longest


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_where_no_place_has_room_the_person_reads_which_were_tried(no_variable, monkeypatch, tmp_path):
    def full(*_arguments: object, **_options: object) -> object:
        return open("/dev/full", "wb", buffering=0)  # noqa: PTH123

    monkeypatch.setattr(_local, "_places", lambda: iter([str(tmp_path)]))
    monkeypatch.setattr(_local.tempfile, "TemporaryFile", full)
    said = rf"no directory for temporary files .*\({tmp_path}: .*full\).* TMPDIR"
    with pytest.raises(UserError, match=said), temporary_directory():
        pass
    assert not list(tmp_path.iterdir())


def test_the_longest_path_of_a_socket_fits(no_variable, monkeypatch, tmp_path):
    """The directory's own, with the largest process number and a session's name as Ray makes it."""
    longest = _local._LONGEST_SOCKET - _local._SOCKET_BELOW
    with temporary_directory(longest) as made:
        path = f"{made}/r/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
    assert len(path) <= _local._LONGEST_SOCKET


# -------- who may speak to it


def test_the_token_is_in_the_environment_of_a_session_alone(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ADDRESS", "gone:6379")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    tokens = []
    for _ in range(2):
        with _local._environment():
            assert os.environ["RAY_AUTH_MODE"] == "token"
            assert "RAY_ADDRESS" not in os.environ
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 for token in tokens)
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_ADDRESS"]) == ("disabled", "gone:6379")


def test_a_token_that_others_can_read_is_closed(monkeypatch, tmp_path):
    file = tmp_path / "auth_token"
    file.write_text("x" * 64)
    file.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    said: list[str] = []
    _joining._close_token_file(said.append)
    assert file.stat().st_mode & 0o777 == 0o600
    assert said == []


# -------- why it did not start

LOG = """[2026-11-27 02:46:00,1 I 9 9] (raylet) main.cc:1: Starting
[2026-11-27 02:46:01,1 C 9 9] (raylet) {file}:24: Check failed: {said}
[2026-11-27 02:46:01,2 E 9 9] (raylet) logging.cc:474: @     0x7febb2f362a0 (unknown)
"""


@pytest.mark.parametrize(
    ("error", "log", "remedy"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "", "ulimit -n 8192"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "", "ulimit -u 8192"),
        (RuntimeError("can't start new thread"), "", "ulimit -u 8192"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), "", "no space left in {parent}"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "", "too little memory"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x/y"), "", "'/x/y'"),
        (Exception("The node timed out."), "open: Too many open files", "ulimit -n 8192"),
        (Exception("The node timed out."), "write: No space left on device", "no space left in {parent}"),
        (Exception("The node timed out."), "bind: Address already in use", "no port is free"),
        (
            Exception("The node timed out."),
            "the moon is full",
            "((raylet) x.cc:24: Check failed: the moon is full)",
        ),
    ],
)
def test_the_cause_is_found_in_what_was_raised_and_in_the_logs(tmp_path, error, log, remedy):
    directory = tmp_path / "sofim-1" / "r"
    (directory / "session_2026" / "logs").mkdir(parents=True)
    if log:
        (directory / "session_2026" / "logs" / "raylet.out").write_text(LOG.format(file="x.cc", said=log))
    why = _local._why(error, directory)
    assert remedy.format(parent=tmp_path) in why
    assert "\n" not in why
    assert "0x7f" not in why


# -------- a cluster that is named


@contextmanager
def listening(kind: str) -> Iterator[int]:
    """A port on which something else than Ray is."""
    if kind == "a web server":
        server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
        return
    with socket.create_server(("127.0.0.1", 0)) as mute:
        yield mute.getsockname()[1]


@pytest.mark.parametrize(
    ("kind", "reason"), [("a web server", "another program listens"), ("a silent program", "no answer")]
)
def test_another_program_is_not_taken_for_a_cluster(monkeypatch, kind, reason):
    """Ray would try again for two minutes."""
    monkeypatch.setattr(_joining, "ANSWER_SECONDS", 0.5)
    with listening(kind) as port, pytest.raises(UserError, match=rf"no Ray cluster answers there \({reason}\); start"):
        _joining.check_answers(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("address", "named", "said"),
    [
        ("ray://head:10001", None, r"--address ray://head:10001: Ray's client cannot run a campaign; .*head's own"),
        ("auto", "ray://head:10001", r"--address auto \(RAY_ADDRESS=ray://head:10001\): Ray's client cannot"),
        ("auto", "127.0.0.1:1", r"--address auto \(RAY_ADDRESS=127.0.0.1:1\): no Ray cluster answers there \(Conn"),
        ("head", None, r"--address head: must be host:port of a Ray cluster's head, or auto"),
        ("head:", None, r"--address head:: must be host:port"),
        (":6379", None, r"--address :6379: must be host:port"),
        ("nowhere.invalid:6379", None, r"--address nowhere.invalid:6379: no Ray cluster answers there \("),
        ("127.0.0.1:99999", None, r"--address 127.0.0.1:99999: no Ray cluster answers there \("),
    ],
)
def test_an_address_of_nothing_is_refused_at_once(monkeypatch, address, named, said):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named is not None:
        monkeypatch.setenv("RAY_ADDRESS", named)
    with pytest.raises(UserError, match=said):
        _joining.check_answers(address)


def test_auto_where_no_cluster_runs(monkeypatch):
    def none(_address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(_joining.services, "canonicalize_bootstrap_address", none)
    with pytest.raises(UserError, match="--address auto: no Ray cluster runs on this machine; start one with"):
        _joining.check_answers("auto")


def test_a_cluster_of_another_version_is_named_as_that():
    from ray._private.utils import check_version_info

    with pytest.raises(RuntimeError) as raised:
        check_version_info({"ray_version": "1.0.0", "python_version": "3.6.1"}, "here")
    said = str(_joining._refusal("head:6379", raised.value))
    assert "Ray: 1.0.0" in said
    assert said.endswith("install the cluster's versions of Ray and Python here")
    assert "\n" not in said
    assert "no Ray cluster answers" not in said


def test_a_machine_that_is_no_node_is_told_so():
    error = ConnectionError("Failed to connect to Ray cluster at head:6379")
    error.__cause__ = RuntimeError("No node info found matching attributes: '' when trying to resolve node")
    assert "this machine is no node of that cluster" in str(_joining._refusal("head:6379", error))


# -------- what another machine would not find


def partition(directory: Path, kind: str) -> Any:
    return type("Partition", (), {"mountpoint": str(directory), "fstype": kind})


@pytest.mark.parametrize(
    ("storage", "where"),
    [
        ("sqlite:///sofim.db", "a file on a disk of this machine: a driver that starts on another machine"),
        ("journal:///sofim.log", "a file on a disk of this machine: "),
        ("sqlite:///working_dir_files/sofim.db", "a file in the directory that Ray made for this job and may remove: "),
        ("sqlite:///shared/sofim.db", None),
        ("sqlite:///:memory:", None),
        ("postgresql+psycopg://me@dbhost/sofim", None),
    ],
)
def test_a_job_hears_where_its_database_would_not_be_found_again(monkeypatch, tmp_path, storage, where):
    """Of a submitted job, which may be anywhere; on a file system that machines share nothing is claimed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    there = [partition(Path("/"), "ext4"), partition(tmp_path / "shared", "nfs4")]
    monkeypatch.setattr(_joining.psutil, "disk_partitions", lambda all: there)
    said = _joining.kept_here_alone(storage)
    if where is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith(f"Warning: {storage} is {where}")
        assert "--storage postgresql+psycopg://" in said
