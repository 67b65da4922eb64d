"""The script for a machine with a GPU runs where there is none, so that it is not tried for the first time there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GPU = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.nightly
@pytest.mark.slow
def test_the_checks_of_a_gpu_run_on_a_cpu() -> None:
    parts = ["step_without_waiting", "same_as_cpu", "precisions", "step_times"]
    done = subprocess.run(
        [sys.executable, str(GPU), "--device", "cpu", "--quick", "--only", *parts],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("|") and "OK" in line]
    assert len(rows) >= 12, done.stdout
    for name in ("SOFIM, gradient", "SOFIM, a block a tensor", "GradScaler, float16"):
        assert any(name in row[0] for row in rows), f"{name} was checked: {done.stdout}"
