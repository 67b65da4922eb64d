"""How busy other programs keep the machine while a run is on the clock."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from studies.training.contention import CpuContention

BUSY = "while True: pass"
TICKS = 0.1  # cores: the times of processors tick every hundredth of a second, and are not read at one moment


def measured(programs: list[psutil.Process], seconds: float = 2.0) -> tuple[float, float, float]:
    """While this process computes without a break: cores of others as watched, of ``programs``, its own."""
    began, own, theirs = time.monotonic(), time.process_time(), _spent(programs)
    contention = CpuContention()
    while time.monotonic() < began + seconds:
        pass
    cores = contention.other_cores()
    took = time.monotonic() - began
    return cores, (_spent(programs) - theirs) / took, (time.process_time() - own) / took


def _spent(programs: list[psutil.Process]) -> float:
    return float(sum(sum(program.cpu_times()[:2]) for program in programs))


@pytest.mark.slow
def test_another_program_is_seen_and_this_one_is_not() -> None:
    """However little of the machine each of them gets beside its other work."""
    cores = psutil.cpu_count() or 1
    others, _, own = measured([])
    assert 0 <= others <= cores - own + TICKS, "this process does not count"
    programs = [psutil.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    try:
        others, theirs, own = measured(programs)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    assert theirs - TICKS <= others <= cores - own + TICKS, "two programs that never rest"


def test_whatever_the_clocks_tick_there_are_no_more_cores_than_the_machine_has(monkeypatch) -> None:
    """A run of a hundredth of a second, during which the machine's times went on by five."""
    busy = iter([100.0, 100.05])
    monkeypatch.setattr("studies.training.contention._busy_seconds", lambda: next(busy))
    monkeypatch.setattr("studies.training.contention._own_seconds", lambda: 1.0)
    clock = iter([10.0, 10.01])
    monkeypatch.setattr("studies.training.contention.time.monotonic", lambda: next(clock))
    assert CpuContention().other_cores() == pytest.approx(min(5.0, psutil.cpu_count() or 1), rel=1e-6)
