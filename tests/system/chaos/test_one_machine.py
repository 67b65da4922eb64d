"""A person's own machine: drivers are killed, their Ray with them, and the same command goes on."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.probe_home import left_of, wait_until
from tests.system.chaos.havoc import PATIENCE_SECONDS, Havoc, told_if_it_fails
from tests.system.chaos.home import Home
from tests.system.chaos.verdict import Verdict

SEED = int(os.environ.get("CHAOS_SEED", "1"))

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def test_killed_drivers_cost_no_trial_and_leave_no_process(tmp_path: Path, nightly: bool) -> None:
    """By day ``test_tune_run.py`` has a driver killed whose Ray goes with it, and the exact number behind it."""
    if not nightly:
        pytest.skip("with --nightly")
    home = Home.settle(tmp_path, trials=10, nap_seconds=0.15)
    url = f"sqlite:///{tmp_path}/chaos.db"
    havoc = Havoc(home, url, random.Random(SEED))
    try:
        with told_if_it_fails(havoc, SEED):
            deaths = ("kill_at_first_results", "kill_at_work")
            for death in deaths:
                havoc.live([death])
            last = havoc.launch()
            assert last.wait(PATIENCE_SECONDS) == 0
            assert last.said() == ""
            found = Verdict.of(home, url)
            found.check()
            assert found.lost >= len(deaths)
            assert found.continued() >= 1
            assert not (tmp_path / "chaos.db.checkpoints").exists()
            wait_until(lambda: not any(left_of(driver.pid) for driver in havoc.drivers))
            havoc.note(f"all is well: {dict(found.endings())}, {found.continued()} continued")
            print(havoc.told())
    finally:
        for driver in havoc.drivers:
            for process in left_of(driver.pid):
                with suppress(psutil.Error):
                    process.kill()
