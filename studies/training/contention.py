"""How busy other programs keep a machine while one trial runs on it."""

from __future__ import annotations

import time

import psutil

from studies.training.allowance import affinity


class Neighbours:
    """Watches from its making on; only the times of processors are read, at the beginning and when asked.

    Only the cores that this process may run on are looked at. On a machine whose cores are shared out by containers,
    all of its programs are seen there, and all count.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._busy, self._own = _busy(), _own()

    def cores(self) -> float:
        """Cores that other programs kept busy on average, this process and the children it waited for left out."""
        seconds = time.monotonic() - self._since
        if seconds <= 0:
            return 0.0
        others = ((_busy() - self._busy) - (_own() - self._own)) / seconds
        # the times tick every hundredth of a second: of a run of a few of these they may tell more than there is
        return min(max(0.0, others), float(len(affinity())))


def _busy() -> float:
    """Seconds that the cores of this process together have been busy since the machine started."""
    cores = psutil.cpu_times(percpu=True)
    own = [spent for number, spent in enumerate(cores) if number in affinity()]
    if len(own) < len(affinity()):  # some core is switched off, and their numbers are not their places
        own = cores
    return float(sum(sum(s) - s.idle - getattr(s, "iowait", 0.0) - getattr(s, "guest", 0.0) for s in own))


def _own() -> float:
    return float(sum(psutil.Process().cpu_times()[:4]))
