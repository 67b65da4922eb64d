"""Time of a whole report: a campaign of 8 workloads × 5 optimizers × 250 trials of 20 epochs, its winners confirmed.

    python benchmarks/report.py [--trials 250] [--seeds 10] [--keep DIR]

The database is written by the project's own ledger, as a driver writes it; only the training is left out: a trial's
values follow from its configuration by a formula with a ridge, and noise. Then `sofim report` runs as a process of its
own, as a person runs it. The target is five minutes on two cores for the 10,000 trials in 40 studies.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.ledger import Ledger, open_confirmation, open_search
from studies.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studies.trials import Assignment

EPOCHS = 20
OPTIMIZERS = ("sofim", "sgd", "adam", "adamw", "adahessian")
FACTS = {"device": "cpu"}


def goodness(assignment: Assignment, rng: np.random.Generator) -> float:
    """From 0 to about 0.95: best on a ridge of lr/rho (of lr) that lies elsewhere for every pair, and noise."""
    arguments = assignment.arguments
    best = zlib.crc32(f"{assignment.workload}/{assignment.optimizer}".encode()) % 200 / 100 - 2
    rate = math.log10(float(arguments["lr"]) / float(arguments.get("rho", 0.1)))
    size = math.log2(int(arguments["batch_size"])) / 10
    return max(0.0, 0.95 - 0.05 * (rate - best) ** 2 - 0.05 * (size - 0.5) ** 2 + 0.01 * float(rng.standard_normal()))


def records(assignment: Assignment, maximize: bool, rng: np.random.Generator) -> Iterator[dict[str, float]]:
    """Return the epochs of a run."""
    end = goodness(assignment, rng)
    for epoch in range(1, assignment.epochs + 1):
        value = end * (1 - math.exp(-epoch / 5))
        record = {
            "epoch": epoch,
            "seconds": 0.1 * epoch,
            "gradient_evaluations": 100 * epoch,
            "train_loss": 1 - value,
            "validation_loss": 1.1 - value,
            "metric": value if maximize else 1 - value,
        }
        if assignment.confirmation:
            record |= {"test_metric": record["metric"], "test_loss": record["validation_loss"]}
        yield record


def play(ledger: Ledger, rng: np.random.Generator) -> None:
    """Works off all that a ledger asks for: one in fifteen diverges, the pruner stops others."""
    while (assignment := ledger.ask()) is not None:
        maximize = WORKLOADS[assignment.workload].metric.direction == "maximize"
        breaks = not assignment.confirmation and assignment.number % 15 == 14
        stopped = False
        for record in records(assignment, maximize, rng):
            stopped = ledger.report(assignment, record)
            if stopped or breaks:
                break
        if breaks:
            ledger.end(assignment, "diverged", FACTS)
        elif stopped:
            ledger.end(assignment, "pruned", FACTS)
        else:
            ledger.end(assignment, "complete", {**FACTS, "exclusive": True} if assignment.confirmation else FACTS)


def build(url: str, trials: int, seeds: int) -> None:
    """Make the database."""
    workloads = [name for name, workload in WORKLOADS.items() if workload.metric.split == "validation"]
    workloads = (workloads + [name for name in WORKLOADS if name not in workloads])[:8]
    plan = CampaignPlan.of(
        {"name": "large", "workloads": workloads, "optimizers": OPTIMIZERS, "trials": trials, "epochs": EPOCHS}
        | {"sampler": "random", "pruner": "median"}
    )
    resolved = ResolvedCampaign(plan, {name: WORKLOADS[name] for name in workloads})
    rng = np.random.default_rng(0)
    with open_search(url, plan.stored(), resolved.study_plans(), {"benchmark": "1"}) as ledger:
        play(ledger, rng)
    made = open_confirmation(url, plan.stored(), resolved.study_plans(), {"benchmark": "1"}, seeds=seeds)
    with made as ledger:
        play(ledger, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=250, help="of each of the 40 studies (default 250)")
    parser.add_argument("--seeds", type=int, default=10, help="of the confirmation runs (default 10)")
    parser.add_argument("--keep", type=Path, help="a directory for the database and the report, which are kept")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() if options.keep is None else nullcontext(options.keep) as folder:
        url = f"sqlite:///{folder}/large.db"
        if not (Path(folder) / "large.db").exists():
            began = time.perf_counter()
            build(url, options.trials, options.seeds)
            print(f"database made in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "studies.cli",
            "report",
            "large",
            "--storage",
            url,
            "--out",
            f"{folder}/report",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        page = (Path(folder) / "report" / "index.html").stat().st_size
    print(
        f"report on 40 studies of {options.trials} trials, {options.seeds} confirmation runs each: {seconds:.0f} s, a "
        f"page of {page / 2**20:.0f} MiB; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
