"""How busy other programs keep the machine while a run is on the clock."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from studies.neighbours import Neighbours

BUSY = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


def measured(seconds: float) -> float:
    """Other programs' cores while this process computes without a break."""
    watch = Neighbours()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return watch.cores()


@pytest.mark.slow
def test_another_program_is_seen_and_this_one_is_not() -> None:
    """The machine may have other work: what is started here comes on top, as far as there are cores."""
    before = measured(2.0)
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    try:
        time.sleep(0.5)
        meanwhile = measured(2.0)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    cores = psutil.cpu_count() or 1
    assert 0 <= before <= cores - 0.25, "this process has a core, or a part of one, and does not count"
    assert meanwhile > 0.4, "two programs that never rest"
    assert meanwhile <= cores


def test_whatever_the_clocks_tick_there_are_no_more_cores_than_the_machine_has(monkeypatch) -> None:
    """A run of a hundredth of a second, during which the machine's times went on by five."""
    busy = iter([100.0, 100.05])
    monkeypatch.setattr("studies.neighbours._busy", lambda: next(busy))
    monkeypatch.setattr("studies.neighbours._own", lambda: 1.0)
    clock = iter([10.0, 10.01])
    monkeypatch.setattr("studies.neighbours.time.monotonic", lambda: next(clock))
    assert Neighbours().cores() == pytest.approx(min(5.0, psutil.cpu_count() or 1), rel=1e-6)
