"""A trial may lose its node more often than its worker may die: the one is the cluster's doing, the other its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from optuna.trial import TrialState

from studies.engine._losses import died
from tests.support.nodes import Nodes
from tests.support.probe_home import environment, notes_of, settle, trials_of, undisturbed, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.nightly]  # by day studies/engine/test_losses.py and test_cluster.py

SLOW, DEADLY = "probe_workload:slow", "probe_workload:deadly"
LOST = 4  # one more than a worker has restarts


def test_a_trial_that_loses_four_nodes_completes_and_one_whose_worker_dies_four_times_fails(
    tmp_path, three_nodes: Nodes
):
    home = settle(tmp_path, SLOW, trials=1)
    file, said = home / "probe.toml", home / "said.txt"
    file.write_text(file.read_text().replace(f'"{SLOW}"', f'"{SLOW}", "{DEADLY}"').replace('"sofim", ', ""))
    three_nodes.use({"PROBE_NOTES": str(home / "notes"), "PROBE_EPOCH": "1"})
    with said.open("wb") as out:
        driver = subprocess.Popen(
            [sys.executable, "-m", "studies.cli", "launch", "probe.toml", f"--address={three_nodes.address}",
             "--checkpoint-every=0"],
            cwd=home, env=environment(home), stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    lost: set[str] = set()
    try:
        for number in range(LOST):
            three_nodes.add()
            wait_until(lambda: {line[1] for line in notes_of(home, "epoch")} > lost)
            (node,) = {line[1] for line in notes_of(home, "epoch")} - lost
            three_nodes.lose(node)
            lost.add(node)
            wait_until(lambda number=number: said.read_text().count("counts as no restart.") > number)
        (home / "notes" / "hurry").touch()
        driver.wait(timeout=180)
    finally:
        driver.kill()
        driver.wait()
    out = said.read_text()
    assert driver.returncode == 0, out
    (trial,) = trials_of(home, f"{SLOW}/sgd")
    assert trial.state == TrialState.COMPLETE
    history = trial.user_attrs["history"]
    right = undisturbed(home, SLOW, "sgd", trial, 6)
    assert {column: history[column] for column in right} == right
    (trial,) = trials_of(home, f"{DEADLY}/sgd")
    assert (trial.state, trial.user_attrs["failure"]) == (TrialState.FAIL, died(4))
    name = f"The worker of trial 0 of probe/{DEADLY}/sgd died; it"
    for end in ("goes on elsewhere (restart 1 of 3)", "goes on elsewhere (restart 3 of 3)", "fails"):
        assert f"{name} {end}." in out, out
