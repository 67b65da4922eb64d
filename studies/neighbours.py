"""How busy other programs keep a machine while one trial runs on it."""

from __future__ import annotations

import time

import psutil


class Neighbours:
    """Watches from its making on; only the times of processors are read, at the beginning and when asked.

    On a machine whose cores are shared out by containers, all of its programs are seen, and all count.
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
        return min(max(0.0, others), float(psutil.cpu_count() or 1))


def _busy() -> float:
    """Seconds that all cores together have been busy since the machine started."""
    spent = psutil.cpu_times()
    return float(sum(spent) - spent.idle - getattr(spent, "iowait", 0.0) - getattr(spent, "guest", 0.0))


def _own() -> float:
    return float(sum(psutil.Process().cpu_times()[:4]))
