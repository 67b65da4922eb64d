"""Many drivers of one campaign are killed, each at any moment of its life: opening, leasing, writing, closing."""

from __future__ import annotations

import os
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.system.chaos import forked
from tests.system.chaos.home import Home, progress
from tests.system.chaos.verdict import Verdict

SEED = int(os.environ.get("CHAOS_SEED", "1"))
KILLS = 15
WORK_SECONDS = 0.8  # that a driver may work at most before it is killed

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(1800)]


def wait_for_results(driver: BaseProcess, url: str) -> float:
    """Until a driver has its first results; in seconds."""
    began, before = time.monotonic(), progress(url).epochs
    while progress(url).epochs == before and driver.is_alive() and time.monotonic() < began + 60:
        time.sleep(0.01)
    return time.monotonic() - began


def test_many_killed_drivers_cost_no_trial(tmp_path: Path, any_storage: str) -> None:
    rng = random.Random(SEED)
    home = Home.settle(tmp_path, trials=2 * KILLS, nap_seconds=0.02)
    log = [f"CHAOS_SEED={SEED}"]
    start_seconds = 0.0  # until the first results of the first driver
    forked.prepare()
    for number in range(1, KILLS + 1):
        before, began = progress(any_storage), time.monotonic()
        driver = forked.start(home, any_storage, number)
        try:
            if not start_seconds:
                start_seconds = wait_for_results(driver, any_storage)
            elif rng.random() < 0.5:
                driver.join(rng.uniform(0.0, start_seconds))
            else:
                wait_for_results(driver, any_storage)
                driver.join(rng.uniform(0.0, WORK_SECONDS))
            ended = driver.exitcode
        finally:
            driver.kill()
            driver.join(30)
        log.append(f"driver {number} killed after {time.monotonic() - began:.2f} s, found {before}")
        if ended is not None:
            break
    else:
        driver = forked.start(home, any_storage, KILLS + 1)
        driver.join(200)
        ended = driver.exitcode
        driver.kill()
    said = "".join(path.read_text() for path in sorted(tmp_path.glob("driver-*.err")))
    print("\n".join(log), said, sep="\n")
    assert (ended, said, number) == (0, "", KILLS)
    found = Verdict.of(home, any_storage)
    print(dict(found.endings()))
    found.check()
    assert not (tmp_path / forked.KEPT).exists(), "no checkpoint outlives its trial"
    assert len((tmp_path / forked.CONTINUED).read_text().splitlines()) >= KILLS // 2
    assert found.lost >= KILLS // 2
