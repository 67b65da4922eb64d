"""What the process may use of the machine: affinity, control groups of both versions, batch systems."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import joblib
import psutil
import pytest

from studies.training import allowance
from studies.training.contention import CpuContention

V2 = "0::/user.slice/job_7\n"
V1 = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Makes control groups of files, that this process is in, on a machine of 64 CPUs and 100 GB."""
    for name in [name for pair in allowance._JOBS.items() for name in (pair[0], *pair[1])]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 64)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 100 * 10**9}))

    def make(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        whole = allowance._groups
        monkeypatch.setattr(allowance, "_groups", lambda controller: whole(controller, tmp_path, tmp_path / "own"))

    return make


@pytest.mark.parametrize(
    ("own", "files", "cpus"),
    [
        (V2, {}, 64),
        (V2, {"cpu.max": "max 100000\n"}, 64),
        (V2, {"cpu.max": "200000 100000\n"}, 2),  # a container that sees its own group as the root
        (V2, {"cpu.max": "150000 100000\n"}, 1),  # two trials would have three quarters each
        (V2, {"cpu.max": "25000 100000\n"}, 1),
        (V2, {"user.slice/job_7/cpu.max": "300000 100000\n"}, 3),
        (V2, {"user.slice/cpu.max": "400000 100000\n", "user.slice/job_7/cpu.max": "max 100000\n"}, 4),
        (V2, {"user.slice/cpu.max": "400000 100000\n", "user.slice/job_7/cpu.max": "800000 100000\n"}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1, {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "50000\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, 1),
        (V2, {"cpu.max": "nonsense\n"}, 64),
        ("", {"cpu.max": "100000 100000\n"}, 64),  # not of this process, as far as it is told
    ],
)
def test_a_quota_of_any_group_above_is_kept(groups, own, files, cpus):
    groups(own, files)
    assert allowance.cpus() == cpus


@pytest.mark.parametrize(
    ("own", "files", "memory"),
    [
        (V2, {"memory.max": "max\n"}, 100e9),
        (V2, {"user.slice/memory.max": "3000000000\n"}, 3e9),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 100e9),
        (V1, {"memory/docker/abc/memory.limit_in_bytes": "500000000\n"}, 5e8),
    ],
)
def test_a_limit_of_memory_is_kept(groups, own, files, memory):
    groups(own, files)
    assert allowance.memory() == memory


@pytest.mark.parametrize(
    ("environment", "cpus"),
    [
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "16"}, 16),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"SLURM_CPUS_PER_TASK": "4"}, 64),  # left over from a script: no job
        ({"SLURM_JOB_ID": "7"}, 64),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "128"}, 64),
        ({"PBS_JOBID": "7.head", "NCPUS": "8"}, 8),
        ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "12"}, 12),
        ({"SGE_TASK_ID": "undefined", "NSLOTS": "3"}, 3),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": ""}, 64),
    ],
)
def test_a_batch_job_gets_what_it_was_given(groups, monkeypatch, environment, cpus):
    groups(V2, {})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert allowance.cpus() == cpus


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_a_pinned_process_has_the_cpus_it_is_pinned_to():
    code = (
        "import os; from studies.training import allowance; one = min(os.sched_getaffinity(0))\n"
        "os.sched_setaffinity(0, {one})\n"
        "assert allowance.affinity() == {one}; print(allowance.cpus())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_there_is_always_a_cpu_and_some_memory():
    assert 1 <= allowance.cpus() <= (os.cpu_count() or 1)
    assert 0 < allowance.memory() < math.inf


def test_what_is_busy_elsewhere_does_not_disturb_a_pinned_process(monkeypatch):
    """Of four cores two are this process's; another program keeps one of the others busy."""
    Times = type(psutil.cpu_times())
    zero = Times(*[0.0] * len(Times._fields))
    elsewhere = iter([0.0, 10.0])

    def times(percpu: bool) -> list[object]:
        return [zero, zero, zero._replace(user=next(elsewhere)), zero]

    monkeypatch.setattr(psutil, "cpu_times", times)
    monkeypatch.setattr("studies.training.contention.affinity", lambda: frozenset({0, 1}))
    assert CpuContention().other_cores() == 0.0


def test_no_program_of_this_project_counts_the_machine_instead():
    """Their number of processes would be that of the machine."""
    root = Path(allowance.__file__).parents[2]
    for package in ("sofim", "search_spaces", "studies", "analysis"):
        for file in (root / package).rglob("*.py"):
            if file.name != "allowance.py":
                text = file.read_text(encoding="utf-8")
                assert "os.cpu_count" not in text, file
                assert "psutil.cpu_count" not in text, file
                assert "n_jobs=-1" not in text, file
