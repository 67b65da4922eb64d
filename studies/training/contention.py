"""How busy other programs keep a machine while one trial runs on it."""

from __future__ import annotations

import time

import psutil

from studies.training.allowance import affinity


class CpuContention:
    """How many cores others use, from the making of this on; the times of processors are read then and when asked.

    Only the cores that this process may run on are looked at. On a machine whose cores are shared out by containers,
    all of its programs are seen there, and all count.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def other_cores(self) -> float:
        """Return how many cores other programs kept busy on average, without this process and its children."""
        seconds = time.monotonic() - self._since
        if seconds <= 0:
            return 0.0
        others = ((_busy_seconds() - self._busy) - (_own_seconds() - self._own)) / seconds
        # the times tick every hundredth of a second: of a run of a few of these they may tell more than there is
        return min(max(0.0, others), float(len(affinity())))


def _busy_seconds() -> float:
    """Return how long the cores of this process together have been busy since the machine started."""
    machine = psutil.cpu_times(percpu=True)
    cores = [spent for number, spent in enumerate(machine) if number in affinity()]
    if len(cores) < len(affinity()):  # some core is switched off, and their numbers are not their places
        cores = machine
    return float(sum(sum(s) - s.idle - getattr(s, "iowait", 0.0) - getattr(s, "guest", 0.0) for s in cores))


def _own_seconds() -> float:
    return float(sum(psutil.Process().cpu_times()[:4]))
