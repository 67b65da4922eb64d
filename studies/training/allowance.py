"""What of this machine the process may use: a container, a batch job or ``taskset`` may leave it less than there is."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")

# what marks a job of a batch system, and where that says how many CPUs the job has; not all of them pin processes
_JOBS = {
    "SLURM_JOB_ID": ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"),
    "PBS_JOBID": ("NCPUS",),
    "LSB_JOBID": ("LSB_DJOB_NUMPROC",),
    "SGE_TASK_ID": ("NSLOTS",),
}


def cpus() -> int:
    """Return how many CPUs this process may keep busy, at least 1.

    The least of its affinity, the quotas of its control groups (rounded down: a trial that holds a CPU gets one), and
    what a batch system gave its job; also of ``LOKY_MAX_CPU_COUNT``, as in joblib.
    """
    import joblib

    quotas = [_cpu_quota(group) for group in _groups("cpu")]
    return max(1, math.floor(min([float(joblib.cpu_count()), _job_cpus(os.environ), *quotas])))


def memory() -> int:
    """Return how many bytes of memory this process and its children may use."""
    limits = [_memory_limit(group) for group in _groups("memory")]
    return int(min([psutil.virtual_memory().total, *limits]))


def affinity() -> frozenset[int]:
    """Return the CPUs that this process may run on, whatever its share of their time."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(psutil.cpu_count() or 1))


def _groups(controller: str, root: Path = _CONTROL_GROUPS, own: Path = _OWN_GROUPS) -> Iterator[Path]:
    """Yield the control groups that limit this process: its own and all above it, of version 2 and of version 1.

    A container often sees its own group as the root, but is told the path that it has outside.
    """
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        group = Path(path.lstrip("/"))
        yield from (top / part for part in (group, *group.parents))


def _cpu_quota(group: Path) -> float:
    """Return the CPUs' worth of time in each period; infinite without a limit."""
    numbers = _read(group / "cpu.max").split() or [
        *_read(group / "cpu.cfs_quota_us").split(),
        *_read(group / "cpu.cfs_period_us").split(),
    ]
    quota, period = (_number(word) for word in numbers) if len(numbers) == 2 else (math.inf, 1.0)
    return quota / period if quota > 0 and 0 < period < math.inf else math.inf  # -1 is none in version 1


def _memory_limit(group: Path) -> float:
    return min(_number(_read(group / name).strip()) for name in ("memory.max", "memory.limit_in_bytes"))


def _job_cpus(environment: Mapping[str, str]) -> float:
    names = [name for job, names in _JOBS.items() if environment.get(job) for name in names]
    return min((_number(environment.get(name, "")) or math.inf for name in names), default=math.inf)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # not here, or not for us
        return ""


def _number(word: str) -> float:
    """Return a number of a control group; infinite for ``max``, and for what is none."""
    try:
        return float(int(word))
    except ValueError:
        return math.inf
