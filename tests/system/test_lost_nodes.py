"""A trial may lose its node more often than its worker may die: the one is the cluster's doing, the other its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from optuna.trial import TrialState

from tests.support.nodes import Nodes
from tests.support.probe_home import environment, notes_of, settle, trials_of, undisturbed, wait_until

pytestmark = pytest.mark.cluster

SLOW, DEADLY = "probe_workload:slow", "probe_workload:deadly"
LOST = 4


def test_a_trial_that_loses_four_nodes_completes_and_one_whose_worker_dies_four_times_fails(
    tmp_path, three_nodes: Nodes
):
    home = settle(tmp_path, SLOW, trials=1)
    file = home / "probe.toml"
    file.write_text(file.read_text().replace(f'"{SLOW}"', f'"{SLOW}", "{DEADLY}"').replace('"sofim", ', ""))
    three_nodes.use({"PROBE_NOTES": str(home / "notes"), "PROBE_EPOCH": "0.7"})
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", "launch", "probe.toml", f"--address={three_nodes.address}",
         "--checkpoint-every=0"],
        cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        lost: set[str] = set()
        for _ in range(LOST):
            three_nodes.add()
            wait_until(lambda: notes_of(home, "epoch")[-1:] != [] and notes_of(home, "epoch")[-1][1] not in lost)
            node = notes_of(home, "epoch")[-1][1]
            three_nodes.lose(node)
            lost.add(node)
        wait_until(lambda: notes_of(home, "epoch")[-1][1] not in lost)
        (home / "notes" / "hurry").touch()
        out, _ = driver.communicate(timeout=180)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.communicate()
    assert driver.returncode == 0, out
    (trial,) = trials_of(home, f"{SLOW}/sgd")
    assert trial.state == TrialState.COMPLETE
    history = trial.user_attrs["history"]
    right = undisturbed(home, SLOW, "sgd", trial, 6)
    assert {column: history[column] for column in right} == right
    said = [line for line in out.splitlines() if f"of trial 0 of probe/{SLOW}/sgd died" in line]
    # of the last one it may have ended before Ray knows
    assert sum(line.endswith("counts as no restart.") for line in said) >= LOST - 1, out
    assert "it fails" not in "".join(said)
    (trial,) = trials_of(home, f"{DEADLY}/sgd")
    assert (trial.state, trial.user_attrs["failure"]) == (TrialState.FAIL, "its worker died 4 times")
    name = f"The worker of trial 0 of probe/{DEADLY}/sgd died; it"
    for end in ("goes on elsewhere (restart 1 of 3)", "goes on elsewhere (restart 3 of 3)", "fails"):
        assert f"{name} {end}." in out, out
