"""The machines: Ray started or joined, code packed for its nodes, and how many trials fit on them."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ray

from search_spaces.errors import UserError, number_of
from studies.engine._joining import joined
from studies.engine._local import offered, started, temporary_directory
from studies.modules import imported_from
from studies.trials import Resources

WORKER_ENVIRONMENT = {
    # for a stopped trial to leave its worker; Ray's 2 s are little on a busy machine, and then it gives both up
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # of what a worker prints, which fills the disk otherwise: the last 2 x 32 MiB
    "RAY_ROTATION_MAX_BYTES": str(32 * 2**20),
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
_CREDENTIALS = ("SOFIM_STORAGE", "PGPASSWORD")


@contextmanager
def connected(resources: Resources, say: Callable[[str], None] = lambda _line: None) -> Iterator[None]:
    """Start Ray, or join it; stop what was started here. ``say`` takes what the person should read of it.

    Raises:
        UserError: It does not start, or the cluster cannot be joined.
    """
    if ray.is_initialized():
        yield
        return
    if resources.address is None:
        with silence(), started(resources.cpus, resources.gpus, say, _without_credentials):
            yield
        return
    with silence(), temporary_directory() as code:

        def packed() -> dict[str, Any]:
            return {"working_dir": str(_pack(code, resources.code)), "env_vars": WORKER_ENVIRONMENT}

        with joined(resources.address, packed, say, _without_credentials):
            yield


@contextmanager
def silence() -> Iterator[None]:
    """Keep off the screen what Ray's daemons say of workers and nodes that died: pages, whatever it is told.

    It is in Ray's logs; a person reads one line of ours (``LedgerSearcher``). There is no public way.
    """
    from ray._private import worker

    before = getattr(worker, "print_to_stdstream", None)
    if before is not None:
        worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        if before is not None:
            worker.print_to_stdstream = before


@contextmanager
def _without_credentials() -> Iterator[None]:
    """Hide from Ray's processes, and the workers after them, what lets one into the database: they need none."""
    kept = {name: os.environ.pop(name) for name in _CREDENTIALS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _pack(target: Path, extra: tuple[Path, ...]) -> Path:
    """Copy the project's packages and the user's code to ``target``, which travels to the nodes."""
    specs = map(importlib.util.find_spec, ("sofim", "search_spaces", "analysis", "studies"))
    packages = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]
    sources = {path.name: path for source in extra for path in (*_imported_beside(source), source)}
    for name, source in (sources | {path.name: path for path in packages}).items():
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target


def _imported_beside(source: Path) -> Iterator[Path]:
    """Yield what this process has imported from where ``source`` is, modules and packages: it may need them.

    Not where packages are installed; the nodes have their own.
    """
    installed = {Path(path) for path in sysconfig.get_paths().values()}
    if source.parent not in installed and source.parent.name not in ("site-packages", "dist-packages"):
        yield from map(Path, imported_from(str(source.parent)))


def check_fits(resources: Resources, nodes: Sequence[Mapping[str, float]] | None = None) -> None:
    """Refuse a shape that none of the nodes, or of those that live, can hold: Ray would wait for ever."""
    assert resources.cpus_per_trial is not None
    nodes = living_nodes() if nodes is None else nodes
    for name, option, wanted in (
        ("CPU", "--cpus-per-trial", resources.cpus_per_trial),
        ("GPU", "--gpus-per-trial", resources.gpus_per_trial),
    ):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            there = f"{most:g} {name}{'' if most == 1 else 's'}"
            raise UserError(f"{option} {wanted:g}: no node has more than {there}; ask for at most that")
    if not any(slots_of(node, resources) for node in nodes):
        raise UserError(
            f"--cpus-per-trial {resources.cpus_per_trial:g} --gpus-per-trial {resources.gpus_per_trial:g}: "
            "no node has both; ask for less of one"
        )


def idle_gpus(resources: Resources) -> str | None:
    """Return what to tell whoever has GPUs and asked for none, of a search; `None` where there is nothing to tell."""
    gpus = sum(node.get("GPU", 0.0) for node in living_nodes())
    if not gpus or resources.gpus_per_trial or resources.cpus_per_trial is None:  # winners run where they were tuned
        return None
    there = number_of(int(gpus), "GPU")
    return f"Trials train on CPUs, not on the {there} there: --gpus-per-trial 1 is a GPU for each, 0.25 four on one."


def settled(resources: Resources) -> Resources:
    """Return ``resources`` with a number of CPUs per trial.

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
    """Return whether a trial of this shape is alone on its device, on the node of the worker that asks.

    Alone among the trials of this campaign, that is: of what else runs there nothing is known.
    """
    if resources.gpus_per_trial > 0.5:  # a second one does not fit on its GPU
        return True
    own = ray.get_runtime_context().get_node_id()
    return all(slots_of(node["Resources"], resources) <= 1 for node in ray.nodes() if node["NodeID"] == own)  # type: ignore[no-untyped-call]


def slots_offered(resources: Resources) -> int:
    """Return how many trials would run at once: what a run finds when it begins.

    Raises:
        UserError: No node can hold a trial, or the cluster cannot be joined.
    """
    if resources.address is None and not ray.is_initialized():
        nodes = [offered(resources.cpus, resources.gpus)]
        check_fits(resources, nodes)
        return slots_of(nodes[0], resources)
    with connected(resources):
        check_fits(resources)
        return sum(slots_of(node, resources) for node in living_nodes())


def living_nodes() -> list[dict[str, float]]:
    """Return the resources of every node that lives."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def slots_of(node: Mapping[str, float], resources: Resources) -> int:
    """Return how many trials fit on a node at once; a trial's share of a GPU lies on one GPU."""
    assert resources.cpus_per_trial is not None
    slots = math.floor(node.get("CPU", 0.0) / resources.cpus_per_trial + 1e-9)
    if resources.gpus_per_trial:
        gpus = node.get("GPU", 0.0)
        share = resources.gpus_per_trial
        slots = min(slots, math.floor((gpus * math.floor(1 / share + 1e-9)) if share < 1 else gpus / share))
    return slots
