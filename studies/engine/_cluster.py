"""The machines: Ray started or joined, code packed for its nodes, and how many trials fit on them."""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from studies.errors import UserError
from studies.modules import imported_from

ANSWER_SECONDS = 10.0  # for a cluster to accept a connection

WORKER_ENVIRONMENT = {
    # for a stopped trial to leave its worker; Ray's 2 s are little on a busy machine, and then it gives both up
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
}
_CREDENTIALS = ("SOFIM_STORAGE", "PGPASSWORD")


@dataclass(frozen=True, slots=True)
class Resources:
    """Where trials run.

    Attributes:
        address: of a running Ray cluster to join; ``None``: this machine alone (or the Ray that this process started).
        cpus_per_trial: logical CPUs a trial holds, above 0; ``None``: as many as leave each alone on its device, all of
            a node's without GPUs, else its part of the CPUs beside each GPU, at most 1.
        gpus_per_trial: share of a GPU a trial holds, 0 for none; 0.25 packs four trials on a GPU.
        code: directories or files that the nodes need besides this project, for a user's own workload.
    """

    address: str | None = None
    cpus_per_trial: float | None = 1.0
    gpus_per_trial: float = 0.0
    code: tuple[Path, ...] = ()


@contextmanager
def connected(resources: Resources) -> Iterator[None]:
    """Ray, started or joined; what was started here is stopped here."""
    if ray.is_initialized():
        yield
        return
    _check_answers(resources.address)
    _silence()
    with tempfile.TemporaryDirectory(prefix="sofim-code-") as code:
        try:
            with _without_credentials():
                if resources.address is None:
                    ray.init(
                        "local",  # never a cluster that happens to run here, nor the one of RAY_ADDRESS
                        job_config=_Job(),
                        include_dashboard=False,
                        logging_level=logging.ERROR,
                        log_to_driver=False,
                        object_store_memory=200 * 2**20,  # messages only; data are memory-mapped files
                    )
                else:
                    ray.init(
                        resources.address,
                        logging_level=logging.ERROR,
                        log_to_driver=False,
                        runtime_env={
                            "working_dir": str(_pack(Path(code), resources.code)),
                            "env_vars": WORKER_ENVIRONMENT,
                        },
                    )
        except (ConnectionError, ValueError, TimeoutError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if resources.address is None:
                raise UserError(f"Ray did not start on this machine: {reason}") from error
            raise _no_answer(resources.address, reason) from error
        try:
            yield
        finally:
            ray.shutdown()


class _Job(JobConfig):
    """Keeps the driver's directories off the front of its workers' path, where a person's ``studies.py`` would be ours.

    Workers find a person's modules by :attr:`studies.worker.Setting.modules`. There is no public way.
    """

    def _get_proto_job_config(self) -> Any:
        self._py_driver_sys_path.clear()
        return super()._get_proto_job_config()  # type: ignore[no-untyped-call]


def _silence() -> None:
    """Keeps off the screen what Ray's daemons say of workers and nodes that died: pages, whatever it is told.

    It is in Ray's logs; a person reads one line of ours (``LedgerSearcher``). There is no public way.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


@contextmanager
def _without_credentials() -> Iterator[None]:
    """Ray's processes, and the workers after them, inherit what stands in the environment; these need no database."""
    kept = {name: os.environ.pop(name) for name in _CREDENTIALS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _check_answers(address: str | None) -> None:
    """Refuses an address at which nothing listens: Ray would try again for minutes, with a line each time."""
    if address is not None and "://" in address:
        raise UserError(
            f"--address {address}: Ray's client cannot run a campaign; give the head's own address (host:6379), "
            "or --address auto on one of the cluster's machines"
        )
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit():
        return  # this machine, or "auto"
    _knock(address, host, int(port))
    if host in ("localhost", "127.0.0.1", "[::1]"):
        ours = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # what Ray makes of it
        try:
            _knock(address, ours, int(port))
        except UserError:
            raise UserError(
                f"--address {address}: Ray itself looks for it at {ours}:{port}, where nothing answers; start the head "
                f"with: ray start --head --node-ip-address={ours}"
            ) from None


def _knock(address: str | None, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, getattr(error, "strerror", None) or str(error)) from None


def _no_answer(address: str | None, reason: str) -> UserError:
    return UserError(f"--address {address}: no Ray cluster answers there ({reason}); start one with: ray start --head")


def _pack(target: Path, extra: tuple[Path, ...]) -> Path:
    """Copies the project's packages and the user's code to ``target``, which travels to the nodes."""
    import search_spaces
    import sofim
    import studies

    packages = [Path(module.__file__).parent for module in (sofim, search_spaces, studies) if module.__file__]
    sources = {path.name: path for source in extra for path in (*_imported_beside(source), source)}
    for name, source in (sources | {path.name: path for path in packages}).items():
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target


def _imported_beside(source: Path) -> Iterator[Path]:
    """The modules and packages that this process has imported from where ``source`` is: it may need them.

    Not where packages are installed; the nodes have their own.
    """
    installed = {Path(path) for path in sysconfig.get_paths().values()}
    if source.parent not in installed and source.parent.name not in ("site-packages", "dist-packages"):
        yield from map(Path, imported_from(str(source.parent)))


def check_fits(resources: Resources) -> None:
    """Refuses a shape that no node can hold: Ray would wait for ever."""
    assert resources.cpus_per_trial is not None
    nodes = living_nodes()
    for name, option, wanted in (
        ("CPU", "--cpus-per-trial", resources.cpus_per_trial),
        ("GPU", "--gpus-per-trial", resources.gpus_per_trial),
    ):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            raise UserError(f"{option} {wanted:g}: no node has more than {most:g} {name}s; ask for at most that")
    if not any(slots_of(node, resources) for node in nodes):
        raise UserError(
            f"--cpus-per-trial {resources.cpus_per_trial:g} --gpus-per-trial {resources.gpus_per_trial:g}: "
            "no node has both; ask for less of one"
        )


def settled(resources: Resources) -> Resources:
    """``resources`` with a number of CPUs per trial.

    Where nodes without GPUs are unequal, the smaller ones stay idle: one shape fits all, and of a shape that fits the
    smaller ones a larger one would hold several.
    """
    if resources.cpus_per_trial is not None:
        return resources
    nodes = living_nodes()
    if not resources.gpus_per_trial:
        return replace(resources, cpus_per_trial=max((node.get("CPU", 0.0) for node in nodes), default=0.0) or 1.0)
    places = [(node.get("CPU", 0.0), math.floor(node.get("GPU", 0.0) / resources.gpus_per_trial)) for node in nodes]
    parts = [cpus / trials for cpus, trials in places if cpus and trials]
    return replace(resources, cpus_per_trial=math.floor(100 * min([1.0, *parts])) / 100 or 1.0)


@cache
def alone_here(resources: Resources) -> bool:
    """Whether a trial of this shape is alone on its device, on the node of the worker that asks.

    Alone among the trials of this campaign, that is: of what else runs there nothing is known.
    """
    if resources.gpus_per_trial > 0.5:  # a second one does not fit on its GPU
        return True
    own = ray.get_runtime_context().get_node_id()
    return all(slots_of(node["Resources"], resources) <= 1 for node in ray.nodes() if node["NodeID"] == own)  # type: ignore[no-untyped-call]


def living_nodes() -> list[dict[str, float]]:
    """The resources of every node that lives."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def slots_of(node: dict[str, float], resources: Resources) -> int:
    """How many trials fit on a node at once; a trial's share of a GPU lies on one GPU."""
    assert resources.cpus_per_trial is not None
    slots = math.floor(node.get("CPU", 0.0) / resources.cpus_per_trial + 1e-9)
    if resources.gpus_per_trial:
        gpus = node.get("GPU", 0.0)
        share = resources.gpus_per_trial
        slots = min(slots, math.floor((gpus * math.floor(1 / share + 1e-9)) if share < 1 else gpus / share))
    return slots
