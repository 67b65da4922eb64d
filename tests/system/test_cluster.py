"""A Ray cluster for real, whose nodes see none of the driver's files: one is lost, one joins, a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.support.probe_home import (
    assert_as_if_undisturbed,
    environment,
    notes_of,
    settle,
    sofim,
    trials_of,
    wait_for_notes,
    wait_until,
)

pytestmark = pytest.mark.cluster

WORKLOAD = "probe_workload:slow"
TRIALS = 25  # as many as last until a node has joined; then the rest is hurried

# of the workers: none of them finds the driver's mark, by which it would know that they share a disk
BLIND = """
import os, sys, importlib.abc
if os.environ.get("SOFIM_TEST_DISTANT"):
    from pathlib import Path
    whole = Path.exists
    def exists(self, **options):
        if self.name.startswith("driver-"):
            (Path(os.environ["PROBE_NOTES"]) / "blind").touch()
            return False
        return whole(self, **options)
    Path.exists = exists
"""


@contextmanager
def cluster_of(home: Path) -> Iterator[Any]:
    """Three nodes of a CPU each, one of them with a logical GPU, whose workers are blind."""
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])
    (home / "sitecustomize.py").write_text(BLIND)
    with patch.dict(os.environ, environment(home, SOFIM_TEST_DISTANT="1", PYTHONPATH=path)):
        cluster: Any = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False}
        )
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


def amid_a_trial(home: Path, node: str) -> int:
    """A worker there that has trained some epochs of its trial, of which checkpoints are kept, and not nearly all."""
    found: list[int] = []

    def come() -> bool:
        epochs: dict[int, int] = {}
        for line in (home / "notes" / "notes.tsv").read_text().splitlines():
            what, where, pid, *_ = line.split("\t")
            if where == node:
                epochs[int(pid)] = 0 if what == "begin" else epochs.get(int(pid), 0) + (what == "epoch")
        found[:] = [pid for pid, number in epochs.items() if 2 <= number <= 4]
        return bool(found)

    wait_until(come)
    return found[0]


@dataclass
class Ran:
    """What became of a campaign on it."""

    home: Path
    code: int
    out: str
    err: str
    nodes: list[str] = field(default_factory=list)
    joined: str = ""
    beside: subprocess.CompletedProcess[str] | None = None


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home = settle(tmp_path_factory.mktemp("cluster"), WORKLOAD, trials=TRIALS)
    with cluster_of(home) as cluster:
        nodes = [node.node_id for node in cluster.list_all_nodes()]
        driver = subprocess.Popen(
            [sys.executable, "-m", "studies.cli", "launch", "probe.toml", f"--address={cluster.address}"],
            cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            found = wait_for_notes(home, "epoch", 3)
            while {line[1] for line in found} < set(nodes):
                found = wait_for_notes(home, "epoch", len(found) + 1)
            os.kill(amid_a_trial(home, cluster.head_node.node_id), signal.SIGKILL)
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            joined = cluster.add_node(num_cpus=2).node_id
            wait_until(lambda: joined in {line[1] for line in notes_of(home, "begin")})
            (home / "notes" / "hurry").touch()
            out, err = driver.communicate(timeout=180)
        finally:
            if driver.poll() is None:
                driver.kill()
                driver.communicate()
        beside = sofim(home, "launch", "probe.toml", "--name=other", "--gpus-per-trial=1", RAY_ADDRESS=cluster.address)
    return Ran(home, driver.returncode, out, err, nodes, joined, beside)


def test_whatever_dies_costs_no_trial_and_no_number(ran):
    assert (ran.code, ran.err) == (0, "")
    assert_as_if_undisturbed(ran.home, WORKLOAD, trials=TRIALS)
    assert not list(ran.home.glob("*.checkpoints"))


def test_that_a_cluster_without_a_token_is_open_is_a_line_and_that_it_is_joined_another(ran):
    """This one, as most that are made in a program, asks for none."""
    _, warning, joining = ran.out.splitlines()[:3]  # the first is of batch sizes
    assert re.fullmatch(r"Warning: the Ray cluster at \S+ asks for no token: whoever reaches it .*", warning)
    assert re.fullmatch(r"Joining the Ray cluster at \S+ \.\.\.", joining)


def test_what_died_is_a_line_of_ours_each(ran):
    """The worker, and what ran on the lost node, if it was not between two trials."""
    assert 1 <= ran.out.count(" died; it goes on elsewhere, for the first time.") <= 2, ran.out
    assert "raylet" not in ran.out  # Ray has pages to say of it


def test_checkpoints_come_through_an_actor_beside_the_driver_where_workers_do_not_see_its_files(ran):
    assert (ran.home / "notes" / "blind").exists()
    trials = [trial for optimizer in ("sofim", "sgd") for trial in trials_of(ran.home, f"{WORKLOAD}/{optimizer}")]
    assert [trial for trial in trials if "resumed" in trial.user_attrs]


def test_all_nodes_are_put_to_use_and_one_that_joins_too(ran):
    """Trials are shorter than a worker's start: those of the joining node must not be given up for ever."""
    assert {line[1] for line in notes_of(ran.home, "begin")} == {*ran.nodes, ran.joined}


def test_the_code_travels_to_the_nodes(ran):
    """The workers ran copies that Ray brought, not the files of this checkout."""
    for line in notes_of(ran.home, "begin"):
        assert all("runtime_resources" in path for path in line[4:6])


def test_a_cluster_that_happens_to_run_here_is_not_joined_and_more_gpus_than_a_node_has_are_refused(ran):
    """Here is none; the cluster, which RAY_ADDRESS names and which is noted in Ray's directory, has one."""
    assert ran.beside.returncode == 2
    assert ran.beside.stderr == "sofim: --gpus-per-trial 1: no node has more than 0 GPUs; ask for at most that\n"
