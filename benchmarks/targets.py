"""Measure the targets of workloads, the way AlgoPerf sets them (Dahl et al. 2023, arXiv 2306.07179, section 4).

    python benchmarks/targets.py digits-mlp breast-cancer-regression          # 100 trials a baseline, 20 seeds
    python benchmarks/targets.py digits-mlp --trials 8 --seeds 5 --out try.toml  # a small budget, to try it

On each workload four baselines are tuned, the winner of each is run again on fresh seeds, and the target is the best
of their medians: what the best baseline reaches in half of its runs. The value is the one that a search chooses by, on
validation data. A run that broke or diverged is worse than any. The baselines are those of AlgoPerf, AdamW, NAdamW,
heavy-ball and Nesterov momentum, the last two as one row of the table, SGD, whose search chooses between them; in the
fourth place is Shampoo, which won AlgoPerf's first contest. SOFIM is not among them: no contestant sets its own goal.

Searches and runs are campaigns ``targets-WORKLOAD`` in ``--storage``: a second call goes on where the first ended. The
outcome replaces the workload's table in ``--out``, from where ``sofim list`` and reports have it; the target in the
workload's row is changed by hand, and a test compares both.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASELINES = ("adamw", "nadamw", "sgd", "shampoo")
DIGITS = 4  # of a target, which is rounded to the side that is easier to reach


def campaign(workload: str, trials: int) -> str:
    """Return the campaign's file."""
    return f"""
name = "targets-{workload}"
workloads = ["{workload}"]
optimizers = {json.dumps(BASELINES)}
trials = {trials}
schedule = "cosine"
warmup = 0.05
[search_space.sgd]
nesterov = [false, true]
"""


def measured(workload: str, storage: str, options: argparse.Namespace) -> dict[str, Any]:
    """Tune and confirm what is not done yet; return the table for ``targets.toml``."""
    data = ["--data", options.data] if options.data else []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "campaign.toml"
        file.write_text(campaign(workload, options.trials))
        sofim("launch", str(file), "--storage", storage, *data)
    seeds = ["--seeds", str(options.seeds), "--cpus-per-trial", "1"]  # not one at a time: no seconds are read off
    sofim("confirm", f"targets-{workload}", *seeds, "--storage", storage, *data)
    return outcome(workload, storage)


def sofim(*arguments: str) -> None:
    """Run a command; its output goes to this program's standard error."""
    subprocess.run([sys.executable, "-m", "studies.cli", *arguments], check=True, stdout=sys.stderr)


def outcome(workload: str, storage: str) -> dict[str, Any]:
    """Return what a finished campaign says."""
    from analysis.load import confirmations, studies
    from studies.storage.database import close_storage, open_storage

    opened = open_storage(storage)
    try:
        found = studies(opened, f"targets-{workload}")
        runs = confirmations(opened, found)
    finally:
        close_storage(opened)
    sign = 1.0 if found[0].direction == "maximize" else -1.0
    runs = runs[~runs["outcome"].isin(("running", "lost"))].copy()  # which are to be run again
    runs["score"] = (sign * runs["value"]).where(runs["outcome"] == "complete", -math.inf)
    medians = {str(name): sign * float(value) for name, value in runs.groupby("optimizer")["score"].median().items()}
    best = max(medians.values(), key=lambda median: sign * median)
    return {
        "target": easier(best, sign),
        "metric": found[0].metric,
        "best": sorted(name for name, median in medians.items() if median == best),
        "baselines": list(BASELINES),
        "trials": int(found[0].campaign["trials"]),
        "seeds": int(runs.groupby("optimizer").size().min()),
        "medians": medians,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": dict(found[0].attributes["versions"]),
    }


def easier(value: float, sign: float) -> float:
    """Round to ``DIGITS`` significant digits, down what is to be maximized (``sign`` 1), up what is to be minimized.

    >>> easier(0.97659, 1.0), easier(0.97651, -1.0), easier(123456.0, -1.0)
    (0.9765, 0.9766, 123500.0)
    """
    if value == 0 or not math.isfinite(value):
        return value
    unit = DIGITS - 1 - math.floor(math.log10(abs(value)))
    rounded = math.floor if sign > 0 else math.ceil
    return round(rounded(value * 10.0**unit) / 10.0**unit, max(unit, 0))


def machine() -> str:
    """Return on what was measured, in words."""
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return f"{len(os.sched_getaffinity(0))} cores, {names[0].strip() if names else platform.machine()}"


def stored(before: str, workload: str, row: Mapping[str, Any]) -> str:
    """Return the text of a TOML file with the workload's table replaced, or put at its end."""
    table = "".join(f"{name} = {_toml(value)}\n" for name, value in row.items())
    text = f"[{workload}]\n{table}"
    pattern = re.compile(rf"^\[{re.escape(workload)}\]\n(?:(?!\[).*\n?)*", re.MULTILINE)
    if pattern.search(before):
        return pattern.sub(lambda _: text + "\n", before, count=1).rstrip() + "\n"
    return f"{before.rstrip()}\n\n{text}".lstrip()


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(name))} = {_toml(one)}" for name, one in value.items()) + " }"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="+", metavar="WORKLOAD")
    parser.add_argument("--trials", type=int, default=100, help="of each baseline")
    parser.add_argument("--seeds", type=int, default=20, help="fresh ones, of each winner")
    parser.add_argument("--storage", default="sqlite:///targets.db")
    parser.add_argument("--data", help="where data sets are")
    parser.add_argument("--out", type=Path, help="file of targets; without it the package's own")
    options = parser.parse_args()
    from studies.workloads._targets import TARGETS, in_words

    out = options.out or TARGETS
    for workload in options.workloads:
        row = measured(workload, options.storage, options)
        out.write_text(stored(out.read_text() if out.exists() else "", workload, row))
        told = ", ".join(f"{name} {median:.5g}" for name, median in row["medians"].items())
        print(f"{workload}: {row['metric']} {row['target']:g}, {in_words(row)} (medians: {told})")


if __name__ == "__main__":
    main()
