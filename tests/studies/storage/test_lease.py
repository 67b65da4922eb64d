"""Whether the driver that a lease names is alive, as far as can be told without waiting."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from studies.storage import lease as _lease


def test_a_process_of_the_same_number_in_another_container_is_not_taken_for_the_driver():
    """Containers share the host's name with --network host, and have numbers of their own."""
    gone = {"host": socket.gethostname(), "machine": "boot pid:[1]", "pid": os.getpid(), "started": 1.0}
    assert _lease.alive(gone | {"seen": time.time()})  # by its heartbeat, not by its number
    assert not _lease.alive(gone | {"seen": time.time() - 100})


def test_a_killed_driver_that_its_parent_has_not_waited_for_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = {"host": socket.gethostname(), "pid": child.pid, "started": _lease._started(child.pid), "seen": time.time()}
    assert _lease.alive(mark)
    child.kill()
    until = time.monotonic() + 120
    while _lease.alive(mark):
        assert time.monotonic() < until
    child.wait()
