"""A Ray cluster of three nodes on this machine: workers to be killed, nodes to be lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

_MEMORY = 80 * 2**20  # of an object store; only messages go through it
_TRIAL = "ray::ImplicitFunc.train"  # how Ray calls a process while it runs a trial
_TRAINING = 2  # nodes, beside the head

# of the workers: what is set for the test that runs just now; and where that says so, none of them finds the driver's
# mark, by which it would know that they share a disk
_CUSTOMIZE = """
import json, os
from pathlib import Path

os.environ.update(json.loads(Path(__file__).with_name("environment.json").read_text()))
if os.environ.get("SOFIM_TEST_DISTANT"):
    whole = Path.exists
    def exists(self, **options):
        if self.name.startswith("driver-"):
            (Path(os.environ["PROBE_NOTES"]) / "blind").touch()
            return False
        return whole(self, **options)
    Path.exists = exists
"""


class Nodes:
    """The cluster; its nodes outlive every driver, and every test that uses them.

    Attributes:
        address: for a driver's ``--address``.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._place = Path(tempfile.mkdtemp(prefix="sofim-nodes-"))
        (self._place / "sitecustomize.py").write_text(_CUSTOMIZE)
        self.use({})
        with self._customized():
            self._cluster: Any = Cluster(
                initialize_head=True,
                # as on most clusters it trains nothing; with a third worker every start takes twice as long here
                head_node_args={
                    "num_cpus": 0,
                    "object_store_memory": _MEMORY,
                    "include_dashboard": False,
                    "_system_config": {
                        "health_check_period_ms": 500
                    },  # a node that is lost is known to be in 3 s, not 15
                },
            )
        self.address: str = self._cluster.address
        self._plain: set[str] = set()
        self._added = 0  # nodes, ever

    def _customized(self) -> Any:
        path = os.pathsep.join(filter(None, [str(self._place), os.environ.get("PYTHONPATH")]))
        return patch.dict(os.environ, PYTHONPATH=path)

    def use(self, environment: Mapping[str, str]) -> None:
        """From now on, workers start with these variables too."""
        (self._place / "environment.json").write_text(json.dumps(dict(environment)))

    def restore(self) -> None:
        """Two nodes that train, of one CPU each, whatever the test before made of them."""
        for node in set(self.training()) - self._plain:
            self.lose(node)
        while len(self.training()) < _TRAINING:
            self.add()
        self._cluster.wait_for_nodes()

    def add(self, cpus: int = 1, gpus: int = 0) -> str:
        """Adds a node and returns its id."""
        # as machines have, a directory of its own: where nodes share one, each unpacks the code that is sent anew,
        # over the working directories of the others' workers, and those that start just then die of it
        self._added += 1
        place = str(self._place / str(self._added))
        with self._customized():
            node = self._cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=_MEMORY, temp_dir=place)
        if (cpus, gpus) == (1, 0):
            self._plain.add(str(node.node_id))
        return str(node.node_id)

    def training(self) -> list[str]:
        """The ids of the nodes that can train."""
        return [str(node.node_id) for node in self._cluster.worker_nodes]

    def busy_workers(self) -> dict[int, str]:
        """The processes that train just now, of this cluster alone, with the ids of their nodes."""
        found = {}
        for node in self._cluster.worker_nodes:
            for raylet in node.all_processes["raylet"]:
                with suppress(psutil.NoSuchProcess):
                    for process in psutil.Process(raylet.process.pid).children():
                        with suppress(psutil.Error):
                            if " ".join(process.cmdline()).startswith(_TRIAL):
                                found[process.pid] = str(node.node_id)
        return found

    def kill_worker(self, pid: int) -> None:
        """Kills a process that :meth:`busy_workers` named."""
        os.kill(pid, signal.SIGKILL)

    def lose(self, node_id: str) -> None:
        """Kills a node (not the head) with all that runs on it."""
        (node,) = (node for node in self._cluster.worker_nodes if node.node_id == node_id)
        self._cluster.remove_node(node, allow_graceful=False)

    def shut_down(self) -> None:
        """Ends all nodes and removes what they left."""
        self._cluster.shutdown()
        shutil.rmtree(self._place, ignore_errors=True)
