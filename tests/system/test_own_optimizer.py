"""An optimizer that lies in a person's directory alone, tuned beside the table's: on this machine and on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.support.nodes import Nodes
from tests.support.one_ray import OneRay
from tests.support.own_optimizer import CAMPAIGN, MINE, SCRIPT
from tests.support.probe_home import called, python, trials_in

pytestmark = pytest.mark.cluster


def finished(home: Path, study: str) -> int:
    trials = trials_in(home, study)
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    return sum(trial.state == TrialState.COMPLETE for trial in trials)


def test_on_this_machine_a_table_and_a_row_stand_beside_sgd(tmp_path: Path, one_ray: OneRay) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own.toml").write_text(CAMPAIGN)
    one_ray.use(tmp_path)
    done = called(tmp_path, "launch", "own.toml", "--optimizer", "mine:spec", "--cpus-per-trial", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for optimizer in ("sgd", "signed", "signed-row"):
        assert finished(tmp_path, f"own/digits-mlp/{optimizer}") == 3
        assert f" {optimizer} " in done.stdout
    searched = [set(trial.params) for trial in trials_in(tmp_path, "own/digits-mlp/signed")]
    assert searched == 3 * [{"lr", "weight_decay"}], "of so few trials the first, and what is said to be"
    confirmed = called(tmp_path, "confirm", "own", "--seeds", "2")
    assert (confirmed.returncode, confirmed.stderr) == (0, ""), confirmed.stdout
    assert finished(tmp_path, "own/digits-mlp/signed-row/confirm") == 2
    more = called(tmp_path, "launch", "own", "--extend", "--trials", "4", "--cpus-per-trial", "2")
    assert (more.returncode, more.stderr) == (0, ""), more.stdout
    assert finished(tmp_path, "own/digits-mlp/signed-row") == 4


@pytest.mark.nightly
def test_on_a_cluster_its_module_travels_and_a_script_s_own_is_carried(tmp_path: Path, three_nodes: Nodes) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "notes").mkdir()
    three_nodes.use({"PROBE_NOTES": str(tmp_path / "notes"), "SOFIM_TEST_DISTANT": "1"})
    tuned = python(tmp_path, "script.py", three_nodes.address)
    assert tuned.returncode == 0, tuned.stderr
    assert "of-a-module sgd signed-row" in tuned.stdout
    chosen = {trial.params["optimizer"] for trial in trials_in(tmp_path, "tune-digits-mlp/digits-mlp/any")}
    assert chosen == {"of-a-module", "sgd", "signed-row"}
    weights = tmp_path / "best" / "model.safetensors"
    assert weights.stat().st_size > 10_000, "a node trained it, and it is on the driver's disk"
