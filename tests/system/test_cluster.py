"""A Ray cluster for real, whose nodes see none of the driver's files: one is lost, one joins, a worker is killed."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.nodes import Nodes
from tests.support.probe_home import (
    assert_as_if_undisturbed,
    environment,
    notes_of,
    python,
    settle,
    trials_of,
    wait_for_notes,
    wait_until,
)

pytestmark = pytest.mark.cluster

WORKLOAD = "probe_workload:slow"
TRIALS = 25  # as many as last until a node has joined; then the rest is hurried


def amid_a_trial(home: Path, node: str) -> int:
    """A worker there that has trained some epochs of its trial, of which checkpoints are kept, and not nearly all."""
    found: list[int] = []

    def come() -> bool:
        epochs: dict[int, int] = {}
        for line in (home / "notes" / "notes.tsv").read_text().splitlines():
            what, where, pid, *_ = line.split("\t")
            if where == node:
                epochs[int(pid)] = 0 if what == "begin" else epochs.get(int(pid), 0) + (what == "epoch")
        found[:] = [pid for pid, number in epochs.items() if 2 <= number <= 4]
        return bool(found)

    wait_until(come)
    return found[0]


@dataclass
class Ran:
    """What became of a campaign on it."""

    home: Path
    code: int
    out: str
    err: str
    nodes: list[str] = field(default_factory=list)
    joined: str = ""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, three_nodes: Nodes) -> Ran:
    """A worker is killed on one node, another is lost, one joins; the third has a logical GPU. Workers are blind."""
    home = settle(tmp_path_factory.mktemp("cluster"), WORKLOAD, trials=TRIALS)
    three_nodes.use({"PROBE_NOTES": str(home / "notes"), "SOFIM_TEST_DISTANT": "1", "PROBE_EPOCH": "0.8"})
    lost, kept = three_nodes.training()
    nodes = [lost, kept, three_nodes.add(gpus=1)]
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", "launch", "probe.toml", f"--address={three_nodes.address}"],
        cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        found = wait_for_notes(home, "epoch", 3)
        while {line[1] for line in found} < set(nodes):
            found = wait_for_notes(home, "epoch", len(found) + 1)
        three_nodes.kill_worker(amid_a_trial(home, kept))
        three_nodes.lose(lost)
        joined = three_nodes.add(cpus=2)
        wait_until(lambda: joined in {line[1] for line in notes_of(home, "begin")})
        (home / "notes" / "hurry").touch()
        out, err = driver.communicate(timeout=180)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.communicate()
    return Ran(home, driver.returncode, out, err, nodes, joined)


def test_whatever_dies_costs_no_trial_and_no_number(ran):
    assert (ran.code, ran.err) == (0, "")
    assert_as_if_undisturbed(ran.home, WORKLOAD, trials=TRIALS)
    assert not list(ran.home.glob("*.checkpoints"))


def test_that_a_cluster_without_a_token_is_open_is_a_line_and_that_it_is_joined_another(ran):
    """This one, as most that are made in a program, asks for none."""
    _, warning, joining = ran.out.splitlines()[:3]  # the first is of batch sizes
    assert re.fullmatch(r"Warning: the Ray cluster at \S+ asks for no token: whoever reaches it .*", warning)
    assert re.fullmatch(r"Joining the Ray cluster at \S+ \.\.\.", joining)
    assert "on a disk of this machine" not in ran.out  # there is no other


def test_what_died_is_a_line_of_ours_each(ran):
    """The worker, and what ran on the lost node, if it was not between two trials.

    Of that one Ray may see first that its worker died, or cannot be reached; the first is taken back when it sees that
    the node did, and so is the second.
    """
    died = ran.out.count(" died; it goes on elsewhere (restart 1 of 3).")
    taken_back = ran.out.count(" died, and its worker with it, which counts as no restart.")
    unreached = ran.out.count(" cannot be reached; it goes on elsewhere.")
    assert died + unreached - taken_back == 1, ran.out
    assert "(restart 2" not in ran.out, ran.out
    assert taken_back + ran.out.count(" it goes on elsewhere, ") <= 1, ran.out
    assert "raylet" not in ran.out  # Ray has pages to say of it


def test_checkpoints_come_through_an_actor_beside_the_driver_where_workers_do_not_see_its_files(ran):
    assert (ran.home / "notes" / "blind").exists()
    trials = [trial for optimizer in ("sofim", "sgd") for trial in trials_of(ran.home, f"{WORKLOAD}/{optimizer}")]
    assert [trial for trial in trials if "resumed" in trial.user_attrs]


def test_all_nodes_are_put_to_use_and_one_that_joins_too(ran):
    """Trials are shorter than a worker's start: those of the joining node must not be given up for ever."""
    assert {line[1] for line in notes_of(ran.home, "begin")} == {*ran.nodes, ran.joined}


def test_the_code_travels_to_the_nodes(ran):
    """The workers ran copies that Ray brought, not the files of this checkout."""
    for line in notes_of(ran.home, "begin"):
        assert all("runtime_resources" in path for path in line[4:6])


OF_A_JOB = """
import os
from dataclasses import replace
from pathlib import Path

from probe_workload import _in_a_worker, plain


def xor():
    workload = plain()

    def load(directory):
        if _in_a_worker():
            beside = Path(os.environ["TUNE_ORIG_WORKING_DIR"], "beside.txt")  # trials have directories of their own
            assert (os.environ["OF_THE_JOB"], beside.read_text()) == ("yes", "here")
        return workload.load(directory)

    return replace(workload, load=load)
"""
SUBMIT = """
import json, os, subprocess, sys, ray
address, *command = sys.argv[1:]
ray.init(address, runtime_env={"working_dir": ".", "env_vars": {"OF_THE_JOB": "yes"}}, logging_level="ERROR")
job = {"runtime_env": dict(ray.get_runtime_context().runtime_env)}
assert job["runtime_env"]["working_dir"].startswith("gcs://")
sys.exit(subprocess.run(command, env={**os.environ, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)}).returncode)
"""


@pytest.mark.nightly
def test_a_job_s_own_files_and_variables_reach_the_workers_beside_this_project(tmp_path, three_nodes: Nodes):
    """As ``ray job submit`` starts it: with the job's environment in a variable, in a directory that Ray made."""
    (tmp_path / "working_dir_files").mkdir()
    home = settle(tmp_path / "working_dir_files", "probe_workload:plain", trials=1)
    (home / "of_a_job.py").write_text(OF_A_JOB)
    (home / "beside.txt").write_text("here")
    file = home / "probe.toml"
    file.write_text(file.read_text().replace("probe_workload:plain", "of_a_job:xor"))
    three_nodes.use({"PROBE_NOTES": str(home / "notes")})
    address = three_nodes.address
    launch = [sys.executable, "-m", "studies.cli", "launch", "probe.toml", f"--address={address}"]
    done = python(home, "-c", SUBMIT, address, *launch)
    assert done.returncode == 0, done.stderr
    for optimizer in ("sofim", "sgd"):
        (trial,) = trials_of(home, f"of_a_job:xor/{optimizer}")
        assert trial.state.name == "COMPLETE", trial.user_attrs["failure"]
    assert "sofim.db is a file in the directory that Ray made for this job and may remove" in done.stdout
