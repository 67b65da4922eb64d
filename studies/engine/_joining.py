"""A Ray cluster that runs already: whether it is there, whom it lets in, and what is wrong where it does not."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import services
from ray.exceptions import AuthenticationError

from search_spaces.errors import UserError
from studies.called import JOB, goes_with_the_job
from studies.engine._local import reread_token
from studies.storage.url import file_of

ANSWER_SECONDS = 10.0  # for a cluster to accept a connection

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # of HTTP/2: empty settings
_SETTINGS = 4  # the kind of the first frame that a server sends
_START = "start one with: ray start --head"
_OVERRIDE = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
# of one machine; what else there is may be shared
_DISKS = frozenset({"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})


@contextmanager
def joined(
    address: str,
    runtime_env: Callable[[], dict[str, Any]],
    say: Callable[[str], None],
    around: Callable[[], AbstractContextManager[None]],
) -> Iterator[None]:
    """Make this process a driver of the cluster.

    Args:
        address: What the person typed.
        runtime_env: Makes what workers need.
        say: Takes a line that the person should read.
        around: Makes a context in which Ray connects.

    Raises:
        UserError: Nothing answers there, or it does not let this process in.
    """
    where = check_answers(address)
    mode = os.environ.get("RAY_AUTH_MODE")
    try:
        _bring_token(address, where, say)
        say(f"Joining the Ray cluster at {where} ...")
        packed = runtime_env()
        try:
            with around(), _within_job(packed) as environment:
                ray.init(where, logging_level=logging.ERROR, log_to_driver=False, runtime_env=environment)
        except Exception as error:
            raise _refusal(address, error) from error
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        _set_mode(mode)


@contextmanager
def _within_job(packed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what workers need, with what the job that this process is the driver of asks for.

    ``ray job submit`` has a runtime environment of its own. Ray refuses two that have a key in common, as both have a
    working directory; told to override, it would drop the job's. So the job's is kept, and what is packed here comes as
    modules beside it, which are found first.
    """
    job = json.loads(os.environ.get(JOB) or "{}").get("runtime_env")
    if not job:
        yield packed
        return
    modules = [str(path) for path in sorted(Path(packed["working_dir"]).iterdir())]
    kept = os.environ.get(_OVERRIDE)
    os.environ[_OVERRIDE] = "1"
    try:
        yield {
            **job,
            "py_modules": [*modules, *job.get("py_modules", ())],
            "env_vars": {**packed["env_vars"], **job.get("env_vars", {})},
        }
    finally:
        if kept is None:
            del os.environ[_OVERRIDE]
        else:
            os.environ[_OVERRIDE] = kept


def kept_here_alone(storage: str) -> str | None:
    """Return a line on a ``storage`` that a driver on another machine would not find; ``None`` where there is no need.

    On a cluster of this machine alone there is none, unless a job was submitted to it: whoever did is elsewhere.
    """
    file, in_job = file_of(storage), JOB in os.environ
    if file is None or not (in_job or _has_other_machines()):
        return None
    file = file.resolve()
    if goes_with_the_job(file):
        where, other = "in the directory that Ray made for this job and may remove", "the next job"
    elif _file_system(file) in _DISKS:
        where, other = "on a disk of this machine", "a driver that starts on another machine"
    else:
        return None
    return (
        f"Warning: {storage} is a file {where}: {other} would begin anew without it. Give a database that all "
        "reach (--storage postgresql+psycopg://user@host/name), or a file on a disk that all share "
        "(--storage journal:////path/sofim.log)."
    )


def _has_other_machines() -> bool:
    own = ray.get_runtime_context().get_node_id()
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
    return any(address != addresses.get(own) for address in addresses.values())


def _file_system(file: Path) -> str | None:
    """Return the type of the file system that a file is on, or will be."""
    found = [part for part in psutil.disk_partitions(all=True) if file.is_relative_to(part.mountpoint)]
    return max(found, key=lambda part: len(Path(part.mountpoint).parts)).fstype if found else None


def check_answers(address: str) -> str:
    """Return where Ray looks for a cluster, as host:port.

    Refuse an address at which nothing listens that could be Ray: that would try again for minutes.
    """
    named = os.environ.get("RAY_ADDRESS") if address == "auto" else None
    shown = f"{address} (RAY_ADDRESS={named})" if named else address
    if "://" in (named or address):
        raise UserError(
            f"--address {shown}: Ray's client cannot run a campaign; give the head's own address (host:6379), "
            "or --address auto on one of the cluster's machines"
        )
    if address == "auto" and not named:
        try:
            where = str(services.canonicalize_bootstrap_address("auto"))
        except (ConnectionError, ValueError):
            raise UserError(f"--address auto: no Ray cluster runs on this machine; {_START}") from None
    else:
        where = named or address
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {shown}: must be host:port of a Ray cluster's head, or auto")
    _check_port_is_open(shown, host, int(port))
    if host not in _LOOPBACK:
        return where
    ours = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # what Ray makes of it
    try:
        _check_port_is_open(shown, ours, int(port))
    except UserError:
        raise UserError(
            f"--address {shown}: Ray itself looks for it at {ours}:{port}, where nothing answers; start the head "
            f"with: ray start --head --node-ip-address={ours}"
        ) from None
    return f"{ours}:{port}"


def _check_port_is_open(address: str, host: str, port: int) -> None:
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=ANSWER_SECONDS) as server:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return
            server.settimeout(ANSWER_SECONDS)
            server.sendall(_HELLO)
            answer = server.recv(9)
    except TimeoutError:
        raise _no_answer(address, "no answer") from None
    except (OSError, OverflowError) as error:
        raise _no_answer(address, getattr(error, "strerror", None) or str(error)) from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise _no_answer(address, "another program listens")


def _no_answer(address: str, reason: str) -> UserError:
    return UserError(f"--address {address}: no Ray cluster answers there ({reason}); {_START}")


def _bring_token(address: str, where: str, say: Callable[[str], None]) -> None:
    """Try without a token first: a cluster that needs none is open to all who reach it, which the person is told."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    _set_mode("disabled")
    if _lets_in(address, where):
        say(
            f"Warning: the Ray cluster at {where} asks for no token: whoever reaches it over the network can run code "
            "on it; make a token with ray get-auth-token --generate, and start it again with RAY_AUTH_MODE=token."
        )
        return
    _set_mode("token")
    if not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        raise UserError(
            f"--address {address}: the cluster asks for a token and there is none here; copy ~/.ray/auth_token from "
            "its head (chmod 600), or set RAY_AUTH_TOKEN"
        )
    _close_token_file(say)
    if not _lets_in(address, where):
        raise UserError(
            f"--address {address}: the cluster asks for another token than is in RAY_AUTH_TOKEN or ~/.ray/auth_token "
            "here; copy that of its head (chmod 600)"
        )


def _set_mode(mode: str | None) -> None:
    if mode is None:
        os.environ.pop("RAY_AUTH_MODE", None)
    else:
        os.environ["RAY_AUTH_MODE"] = mode
    reread_token()


def _close_token_file(say: Callable[[str], None]) -> None:
    """Have its owner alone read it: Ray makes it with the rights of any new file, often for all with an account."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with suppress(OSError):
        if not file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return
        try:
            file.chmod(stat.S_IRUSR | stat.S_IWUSR)
        except OSError:
            say(f"Warning: others can read the cluster's token in {file}; have its owner run: chmod 600 {file}")


def _lets_in(address: str, where: str) -> bool:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    with _mute():
        try:
            GcsClient(address=where)
        except AuthenticationError:
            return False
        except Exception as error:
            raise _refusal(address, error) from error
    return True


@contextmanager
def _mute() -> Iterator[None]:
    """Keep from standard error what Ray's own logger writes there, which Python cannot stop."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refusal(address: str, error: BaseException) -> UserError:
    causes = [error]
    while (before := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(before)
    said = [" ".join(str(part).split()) or type(part).__name__ for part in causes]
    for line in said:
        if "ersion mismatch" in line:
            return UserError(
                f"--address {address}: {line.rstrip('.')}; install the cluster's versions of Ray and Python here"
            )
        if "node info" in line:
            return UserError(
                f"--address {address}: this machine is no node of that cluster; run it on one of its machines, or make "
                f"this one a node with: ray start --address={address}"
            )
    if any(isinstance(part, ConnectionError | TimeoutError) for part in causes):
        return _no_answer(address, said[-1].rstrip("."))
    return UserError(
        f"--address {address}: Ray does not let this process join the cluster there: {said[0].rstrip('.')}"
    )
