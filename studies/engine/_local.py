"""Ray on this machine alone: what of it is used, where its files are, who may speak to it, and why it did not start."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import parameter, ray_constants
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray.job_config import JobConfig

from search_spaces.errors import UserError
from studies.training import allowance

_STORE_BYTES = 200 * 2**20  # messages only; data are memory-mapped files
_LEAST_STORE_BYTES = 80 * 2**20  # Ray takes no less than 75 MiB
_ROOM_BYTES = 2**20  # without which nothing starts
_LITTLE_MEMORY = 500 * 2**20
_LONGEST_DETAIL = 160  # characters of what a log says
_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107  # characters in its path
_SOCKET_BELOW = len("/sofim-12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")

# of the environment: where another cluster is, and how to get in; none of that is this one's business
_OF_ANOTHER_CLUSTER = (
    "RAY_ADDRESS",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_GCS_SERVER_PORT",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_OVERRIDE_RESOURCES",
    "RAY_REDIS_ADDRESS",
    "RAY_USE_TLS",
)

# what an exception or Ray's logs say, and what that means to a person
_SYMPTOMS = (
    (("Too many open files",), "too few files may be open at once; raise the limit with: ulimit -n 8192"),
    (
        ("Resource temporarily unavailable", "can't start new thread", "pthread_create"),
        "too few processes and threads may run at once; raise the limit with: ulimit -u 8192, or end other programs",
    ),
    (
        ("No space left on device", "Disk quota exceeded", "File too large"),
        "there is no space left in {directory}; free some, or name another directory in TMPDIR",
    ),
    (
        ("Cannot allocate memory", "bad_alloc", "MemoryError"),
        "there is too little memory; end other programs, or raise the limit (ulimit -v)",
    ),
    (("Cannot assign requested address", "Address already in use"), "no port is free; end other programs"),
    (
        ("Read-only file system", "Permission denied", "Operation not permitted"),
        "something may not be read or written ({error}); allow it, or name another directory in TMPDIR",
    ),
)


def offered(cpus: int | None, gpus: int | None) -> dict[str, float]:
    """Return what Ray is given of this machine: what the process may use, and at most ``cpus`` and ``gpus``.

    Raises:
        UserError: That is more than the process may use.
    """
    import torch

    here = {"CPU": allowance.cpus(), "GPU": torch.cuda.device_count()}
    for name, option, most in (("CPU", "--cpus", cpus), ("GPU", "--gpus", gpus)):
        if most is not None and most > here[name]:
            raise UserError(f"{option} {most}: this process may use {here[name]} {name}s; ask for at most that")
    return {
        "CPU": float(here["CPU"] if cpus is None else cpus),
        "GPU": float(here["GPU"] if gpus is None else gpus),
    }


class _Job(JobConfig):
    """Keeps the driver's directories off the front of its workers' path, where a person's ``studies.py`` would be ours.

    Workers find a person's modules by :attr:`studies.training.worker.TrainingOptions.modules`. There is no public way.
    """

    def _get_proto_job_config(self) -> Any:
        self._py_driver_sys_path.clear()
        return super()._get_proto_job_config()  # type: ignore[no-untyped-call]


@contextmanager
def started(
    cpus: int | None, gpus: int | None, say: Callable[[str], None], around: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Start Ray, with nobody else on this machine or any other able to reach it.

    Its servers listen on the loopback interface, and ask for a token that is in no file: the processes of this session
    inherit it. Files are in a directory of its own, which is gone afterwards.

    Args:
        cpus: At most.
        gpus: At most.
        say: Takes a line that the person should read.
        around: Makes a context in which Ray's processes are started.

    Raises:
        UserError: It did not start.
    """
    there = offered(cpus, gpus)
    say(f"Starting Ray on {' and '.join(_counted(name, number) for name, number in there.items() if number)} ...")
    _check_loopback()
    longest = _LONGEST_SOCKET - _SOCKET_BELOW
    with temporary_directory(longest) as directory, _environment(), _loopback():
        inner = directory / "r"  # Ray opens its directory to everybody; not the one around it
        try:
            with around():
                ray.init(
                    "local",  # never a cluster that happens to run here
                    job_config=_Job(),
                    num_cpus=int(there["CPU"]),
                    num_gpus=int(there["GPU"]),
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    object_store_memory=_store_bytes(),
                    _plasma_directory=None if _has_room(Path("/dev/shm"), _STORE_BYTES) else str(directory),
                    _temp_dir=str(inner),
                )
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            raise UserError(f"Ray did not start on this machine: {_why(error, inner)}") from error
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def temporary_directory(longest: int | None = None) -> Iterator[Path]:
    """Make a directory for files that nobody needs afterwards, where there is room; only its owner may enter it.

    Args:
        longest: Characters that the name of its parent may have.

    Raises:
        UserError: No place has room.
    """
    for parent in dict.fromkeys(_places()):
        if longest is not None and len(os.fsencode(parent)) > longest:
            continue
        try:
            made = tempfile.TemporaryDirectory(prefix="sofim-", dir=parent, ignore_cleanup_errors=True)
        except OSError:
            continue
        with made as name:
            if not _has_room(Path(name), _ROOM_BYTES):
                continue
            yield Path(name)
            return
    short = "" if longest is None else f", or its name is longer than {longest} characters"
    raise UserError(
        f"no directory for temporary files can be used ({', '.join(dict.fromkeys(_places()))}: not writable, or full"
        f"{short}); free space, or name another in TMPDIR"
    )


def _places() -> Iterator[str]:
    for variable in ("RAY_TMPDIR", "TMPDIR", "TEMP", "TMP"):
        if os.environ.get(variable):
            yield str(Path(os.environ[variable]).absolute())
    yield from ("/tmp", "/var/tmp")
    if os.environ.get("XDG_RUNTIME_DIR"):
        yield os.environ["XDG_RUNTIME_DIR"]
    yield from ("/dev/shm", str(Path.cwd()))


def _has_room(directory: Path, size: int) -> bool:
    """Return whether a mebibyte can be written there, which a quota may forbid, and the disk has ``size`` bytes."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_ROOM_BYTES))
        return shutil.disk_usage(directory).free >= size - _ROOM_BYTES
    except OSError:
        return False


def _counted(name: str, number: float) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}"


def _store_bytes() -> int:
    return max(_LEAST_STORE_BYTES, min(_STORE_BYTES, allowance.memory() // 10))


def _check_loopback() -> None:
    """Refuse a machine without a loopback interface: Ray would try for minutes."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5.0).close()
    except OSError as error:
        raise UserError(
            f"Ray did not start on this machine: nothing can be reached on 127.0.0.1 ({error.strerror or error}); "
            "bring the loopback interface up with: ip link set lo up"
        ) from None


@contextmanager
def _environment() -> Iterator[None]:
    """Make a token for this session alone, kept in memory, and hide what points to another cluster."""
    before = dict(os.environ)
    for name in _OF_ANOTHER_CLUSTER:
        os.environ.pop(name, None)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    reread_token()
    try:
        yield
    finally:
        for name in (*_OF_ANOTHER_CLUSTER, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
        reread_token()


def reread_token() -> None:
    """Have Ray look into the environment again: it remembers mode and token from its first look."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


class _FewerServers(RayParams):
    """Ray's parameters without autoscaler and log monitor: nobody asks them, and each start costs half a second."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters | {"no_monitor": True, "include_log_monitor": False})


@contextmanager
def _loopback() -> Iterator[None]:
    """Have Ray bind every server to 127.0.0.1, and start none that is not needed.

    It binds so by itself on macOS and Windows. ``_node_ip_address`` cannot say it: Ray takes loopback addresses that
    are given to it for the address of the network. There is no public way to leave a server out.
    """
    changes: tuple[tuple[Any, str, Any], ...] = (
        (ray_constants, "ENABLE_RAY_CLUSTER", False),
        (parameter, "RayParams", _FewerServers),
        (Node, "start_api_server", lambda *_, **__: None),
    )
    before = [getattr(owner, name) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(changes, before, strict=True):
            setattr(owner, name, value)


def _why(error: BaseException, directory: Path) -> str:
    """Return the cause and the remedy, from what was raised and what Ray's processes wrote before they gave up."""
    said = [" ".join(str(error).split()) or type(error).__name__, *_last_lines(directory)]
    for line in said:
        for symptoms, meaning in _SYMPTOMS:
            if any(symptom in line for symptom in symptoms):
                return meaning.format(directory=directory.parent.parent, error=said[0])
    suspicion = _suspicion()
    if suspicion is not None:
        return f"its servers ended, probably for {suspicion}"
    detail = "".join(f" ({line[:_LONGEST_DETAIL]})" for line in said[1:2])
    return f"{said[0].rstrip('.')}{detail}; perhaps the machine is too busy: try again, or with fewer --cpus"


def _suspicion() -> str | None:
    """Return which limit is so low that Ray's servers may end without a word, and what to do."""
    with suppress(ImportError, OSError):
        import resource

        for name, what, option, enough in (
            ("RLIMIT_NPROC", "processes and threads", "-u", 1024),
            ("RLIMIT_NOFILE", "open files", "-n", 256),
        ):
            most, _ = resource.getrlimit(getattr(resource, name))
            if most != resource.RLIM_INFINITY and most < enough:
                return f"a limit of {most} {what}; raise it with: ulimit {option} 8192"
    free = min(allowance.memory(), psutil.virtual_memory().available)
    if free < _LITTLE_MEMORY:
        return f"too little memory, {free // 2**20} MiB are free; end other programs"
    return None


def _last_lines(directory: Path) -> list[str]:
    """Return what went wrong by the logs of Ray's servers, the last first."""
    lines = []
    for log in sorted(directory.glob("session_2*/logs/*")):
        if not log.name.startswith(("gcs_server", "raylet")):
            continue
        with suppress(OSError):
            found = log.read_text(errors="replace").splitlines()
            errors = [line for line in found if re.match(r"\[.* [EC] ", line) and not re.search(r"@ +0x", line)]
            lines += [line.rpartition("] ")[2] for line in errors]
    return [" ".join(line.split()) for line in reversed(lines) if line.strip()]
