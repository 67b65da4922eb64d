"""How much a default is regretted on a workload that nobody tuned: SOFIM's recommended one, torch's SGD and AdamW.

    python benchmarks/defaults.py CAMPAIGN... [--storage URL] [--seeds 5] [--workloads A,B]

For each workload, SOFIM gets the default that the *other* workloads of the campaigns recommend (as ``sofim export``
says, from the runs of ``sofim evaluate`` where the storage has them), and SGD and AdamW what people type. All are
trained on fresh seeds with the workload's budget, one after the other, one thread. Regret is (best − value) / (best −
start), on validation data: 0 is the best confirmed winner of any optimizer there, 1 what training starts from (as
``sofim export`` has it: of complete trials after their first epoch, the median over optimizers), or worse. Intervals
are Student's t over seeds on a workload, and over workloads at the end.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from analysis.defaults import Evaluated, SurrogateStudy, common_start, recommend, surrogate_study
from analysis.intervals import mean
from analysis.load import Study, evaluations, read, studies
from search_spaces import from_dict
from sofim import OPTIMIZERS
from studies.ledger import fresh_seeds
from studies.storage.database import close_storage, open_storage
from studies.training.run import train
from studies.workloads import WORKLOADS

TYPED: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD(lr=1e-3), torch's defaults": ("sgd", {"lr": 1e-3, "momentum": 0.0, "batch_size": 64}),
    "SGD(lr=0.1, momentum=0.9)": ("sgd", {"lr": 0.1, "momentum": 0.9, "batch_size": 64}),
    "AdamW(), torch's defaults": ("adamw", {"lr": 1e-3, "weight_decay": 1e-2, "batch_size": 64}),
}
OURS = "SOFIM, recommended by the other workloads"


def trained(workload: str, optimizer: str, arguments: Mapping[str, Any], seed: int, epochs: int) -> float:
    """Return the best metric over the epochs of one run; NaN for one that diverged before its first epoch ended."""
    known = WORKLOADS[workload]
    run = train(known, OPTIMIZERS[optimizer], dict(arguments), seed, epochs)
    values = [record.metric for record in run if not record.diverged and math.isfinite(record.metric)]
    best = max if known.metric.direction == "maximize" else min
    return best(values, default=math.nan)


def regret(values: list[float], best: float, start: float) -> np.ndarray:
    """Of runs: 0 for the best, 1 for the start or worse, also for one that diverged."""
    found = (best - np.array(values)) / (best - start)
    return np.clip(np.where(np.isnan(found), 1.0, found), 0.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaigns", nargs="+")
    parser.add_argument("--storage", default="sqlite:///sofim.db")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workloads", help="only these, separated by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    storage = open_storage(options.storage, create=False)
    every = [study for name in options.campaigns for study in studies(storage, name)]
    frames = read(storage, every)
    own = [study for study in every if study.optimizer == "sofim"]
    runs = evaluations(storage, own)
    close_storage(storage)
    surrogates = [surrogate_study(study, frames.trials, frames.curves, np.random.default_rng(0)) for study in every]
    ours = [surrogate for surrogate in surrogates if surrogate.study.optimizer == "sofim"]
    [found] = recommend(ours, frames.trials, frames.confirmations, measured=Evaluated(runs) if len(runs) else None)
    table: dict[str, list[float]] = {}
    for study in own:
        if options.workloads and study.workload not in options.workloads.split(","):
            continue
        for name, regrets in on_workload(study, every, surrogates, frames, found, options.seeds).items():
            middle, low, high = mean(regrets)
            print(f"{study.workload:22} {name:44} {middle:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]", flush=True)
            table.setdefault(name, []).append(middle)
    for name, middles in table.items():
        middle, low, high = mean(np.array(middles))
        print(f"{'mean over workloads':22} {name:44} {middle:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]")


def on_workload(
    study: Study, every: list[Study], surrogates: list[SurrogateStudy], frames: Any, found: Any, num_seeds: int
) -> dict[str, np.ndarray]:
    """Regrets of the runs (seeds,) by what was typed."""
    workload = study.workload
    names = [other.name for other in every if other.workload == workload]
    confirmed = frames.confirmations
    runs = confirmed[confirmed["study"].isin(names) & (confirmed["outcome"] == "complete")]
    means = runs.groupby("study")["value"].mean()
    best = float(means.max() if study.direction == "maximize" else means.min())
    sign = 1.0 if study.direction == "maximize" else -1.0
    start = sign * common_start([surrogate for surrogate in surrogates if surrogate.study.workload == workload])
    source = found.left_out[workload].source
    space = from_dict(
        next(other for other in every if other.name.endswith(f"/{source.workload}/sofim")).attributes["search_space"]
    )
    candidates = {f"{OURS}": ("sofim", space.arguments(source.params)), **TYPED}
    epochs = int(study.attributes["epochs"])
    seeds = fresh_seeds(int(study.campaign["seed"]), num_seeds)
    print(f"{workload}: best {best:.4g}, start {start:.4g}; SOFIM as on {source.workload}: {candidates[OURS][1]}")
    found_regrets = {}
    for name, (optimizer, arguments) in candidates.items():
        values = [trained(workload, optimizer, arguments, seed, epochs) for seed in seeds]
        print(f"  {name}: {', '.join(f'{value:.4g}' for value in values)}", flush=True)
        found_regrets[name] = regret(values, best, start)
    return found_regrets


if __name__ == "__main__":
    main()
