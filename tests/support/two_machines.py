"""A job file of Slurm's, run on two machines: network and processes are each one's own, the disk is shared."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_SPACE = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]
_SPACES = [*_SPACE, "--user", "--map-root-user", "--net"]
_WAITING = "while true; do sleep 1; done"  # by a shell, which buries what dies around it

# the machine of the batch script, with another in it, which stays: so that who runs there twice is on one machine
_MACHINES = f"""
{" ".join(_SPACE)} bash -c '{_WAITING}' &
until [ -n "$(cat /proc/$!/task/$!/children)" ]; do sleep 0.1; done
cat /proc/$!/task/$!/children > "$PLACE/first.part" && mv "$PLACE/first.part" "$PLACE/first"
{_WAITING}
"""
_FIRST = 'nsenter -p -m --wd="$PWD" -t $(cat "$PLACE/first")'

# what Slurm gives a job of two nodes; the second machine is made anew each time
_COMMANDS = {
    "scontrol": "echo 10.77.0.1\n",
    "srun": f"""
[[ $1 == --wait=* ]] && shift
ip link show head > /dev/null 2>&1 && ip link delete head
{" ".join(_SPACE)} --net bash -c '
    until ip link show worker > /dev/null 2>&1; do sleep 0.1; done
    ip link set lo up && ip address add 10.77.0.2/24 dev worker && ip link set worker up
    exec env RAY_gcs_rpc_server_reconnect_timeout_s=5 "$@"' - "$@" &  # a node leaves so long after its head, not 60
while [ "$(readlink /proc/$!/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link set lo up
ip link add head type veth peer name worker netns $! && ip address add 10.77.0.1/24 dev head && ip link set head up
{_FIRST} "$@"
code=$?
wait
exit $code
""",
}


def available() -> bool:
    """Whether this user may have machines of that kind here."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    made = [*_SPACES, "ip", "link", "add", "head", "type", "veth", "peer", "name", "worker"]
    return subprocess.run(made, capture_output=True, check=False).returncode == 0


class Slurm:
    """Runs job files on two machines of one CPU each.

    Args:
        home: Where a person submits them, and is at home.
        environment: Of the person's shell.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        self._place = Path(tempfile.mkdtemp(prefix="sofim-slurm-"))  # short, for the sockets in it
        bin_directory = self._place / "bin"
        bin_directory.mkdir()
        for name, text in _COMMANDS.items():
            (bin_directory / name).write_text(f"#!/bin/bash\n{text}")
            (bin_directory / name).chmod(0o755)
        path = os.pathsep.join([str(bin_directory), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "HOME": str(home),
            "PATH": path,
            "PLACE": str(self._place),
            "RAY_TMPDIR": str(self._place),
            "RAY_worker_niceness": "0",  # as of all tests
            "SLURM_JOB_ID": "1",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "1",
            **environment,
        }
        self._job: subprocess.Popen[bytes] | None = None
        self._machine = subprocess.Popen(
            [*_SPACES, "bash", "-c", _MACHINES], env=self._environment, start_new_session=True
        )
        while not (self._place / "first").exists():
            time.sleep(0.1)

    def _within(self, *command: str) -> list[str]:
        (init,) = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text().split()
        return ["nsenter", "-t", init, "-U", "--preserve-credentials", "-n", "-p", "-m", f"--wd={self._home}", *command]

    def submit(self, job: Path, output: Path) -> subprocess.Popen[bytes]:
        """Runs a job file; what it prints goes to ``output``."""
        with output.open("wb") as file:
            self._job = subprocess.Popen(
                self._within("bash", str(job)), env=self._environment, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        return self._job

    def lose_all(self) -> None:
        """Kills all that runs on both machines, and the job, as a power cut does; both are there again."""
        assert self._job is not None
        os.killpg(self._job.pid, signal.SIGKILL)
        kill = self._within("bash", "-c", f"{_FIRST} bash -c 'kill -9 -1'")
        subprocess.run(kill, env=self._environment, check=False)
        self._job.wait(timeout=60)

    def shut_down(self) -> None:
        """Ends it, with all that runs there."""
        self._machine.send_signal(signal.SIGKILL)
        self._machine.wait(timeout=60)
        shutil.rmtree(self._place, ignore_errors=True)
