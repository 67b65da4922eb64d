"""A Ray cluster of three nodes on this machine: workers to be killed, nodes to be lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import psutil

_MEMORY = 80 * 2**20  # of an object store; only messages go through it
_TRIAL = "ray::ImplicitFunc.train"  # how Ray calls a process while it runs a trial
NODES = 3


class Nodes:
    """The cluster; its nodes outlive every driver.

    Attributes:
        address: for a driver's ``--address``.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(
            initialize_head=True,
            # as on most clusters it trains nothing; on a small machine a third worker doubles the time of every start
            head_node_args={"num_cpus": 0, "object_store_memory": _MEMORY, "include_dashboard": False},
        )
        for _ in range(NODES - 1):
            self.add()
        self._cluster.wait_for_nodes()
        self.address: str = self._cluster.address

    def add(self) -> str:
        """Adds a node and returns its id."""
        node = self._cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
        return str(node.node_id)

    def busy_workers(self, *, head: bool = True) -> dict[int, str]:
        """The processes that train just now, of this cluster alone, with the ids of their nodes."""
        found = {}
        for node in self._cluster.list_all_nodes():
            if node is self._cluster.head_node and not head:
                continue
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

    def shutdown(self) -> None:
        """Ends all nodes."""
        self._cluster.shutdown()


@contextmanager
def three_nodes(environment: Mapping[str, str]) -> Iterator[Nodes]:
    """A cluster whose workers have this environment."""
    with patch.dict(os.environ, environment):
        nodes = Nodes()
        try:
            yield nodes
        finally:
            nodes.shutdown()
