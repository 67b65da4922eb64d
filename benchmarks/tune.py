"""One search that chooses the optimizer, against a study for each optimizer: what do half of the trials find?

    python benchmarks/tune.py                       # digits-mlp and breast-cancer-logreg, 30 trials a study
    python benchmarks/tune.py --trials 12 --seeds 1

For each workload and seed

- every optimizer has a study of ``--trials`` trials (a campaign, as ``sofim launch`` runs it), and the best of their
  winners, by validation data in the search, is confirmed on fresh seeds;
- ``studies.tune`` has half as many trials as these studies together, may end sooner when no improvement is expected,
  and confirms its winner on the same fresh seeds; and so once more for all of its trials (``to the end``).

Both begin with each optimizer's default, and have the same sampler, pruner and epochs. The confirmed values are
compared seed by seed. The time is that of the search alone, on this machine, start of the workers included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

CONFIRMED = 10


def separate(workload: str, trials: int, seed: int, url: str, console: Console) -> dict[str, object]:
    """Tune each optimizer in a study of its own; confirm the best winner."""
    from search_spaces import SEARCH_SPACES
    from studies.campaign.plan import CampaignPlan
    from studies.campaign.resolve import resolve_campaign
    from studies.commands.launch import launch
    from studies.commands.work import versions, work_off
    from studies.engine import Resources
    from studies.ledger import open_confirmation
    from studies.storage.database import open_storage

    optimizers = tuple(SEARCH_SPACES)
    fields = {"name": "separate", "workloads": (workload,), "optimizers": optimizers, "trials": trials, "seed": seed}
    made = CampaignPlan.of(fields, whole=True)  # tune searches whole spaces
    resolved = resolve_campaign(made, test=True)
    began = time.perf_counter()
    tallies = launch(resolved, url, Resources(), console)
    seconds = time.perf_counter() - began
    sign = 1.0 if tallies[0].direction == "maximize" else -1.0
    best = max((tally for tally in tallies if tally.best is not None), key=lambda tally: sign * (tally.best or 0.0))
    plans = [plan for plan in resolved.study_plans() if plan.name == best.study]
    with open_confirmation(url, made.stored(), plans, versions(), seeds=CONFIRMED) as ledger:
        work_off(ledger, resolved, Resources(cpus_per_trial=None), console)
    storage = open_storage(url)
    study_id = storage.get_study_id_from_name(f"{best.study}/confirm")
    runs = {run.user_attrs["seed"]: run for run in storage.get_all_trials(study_id) if run.value is not None}
    return {
        "optimizer": best.optimizer,
        "trials": sum(tally.done for tally in tallies),
        "seconds": seconds,
        "training_seconds": sum(tally.seconds for tally in tallies),
        "searched": best.best,
        "validation": [run.value for run in runs.values()],
        "test": [run.user_attrs["test_metric"] for run in runs.values()],
    }


def together(
    workload: str, trials: int, seed: int, url: str, console: Console, *, to_the_end: bool = False
) -> dict[str, object]:
    """One study that chooses the optimizer, its winner confirmed; its search is not ended early if ``to_the_end``."""
    import studies
    from studies.ledger import budget
    from studies.storage.database import open_storage

    began = time.perf_counter()
    name = f"tune-{'whole' if to_the_end else 'early'}"
    rule = budget.no_improvement_expected
    if to_the_end:
        budget.no_improvement_expected = lambda *_: False
    found = studies.tune(
        workload, budget=trials, optimizers="all", name=name, seed=seed, storage=url, seeds=CONFIRMED, console=console
    )
    budget.no_improvement_expected = rule
    whole = time.perf_counter() - began
    storage = open_storage(url)
    ended = storage.get_all_trials(storage.get_study_id_from_name(found.study))
    last = max(trial.datetime_complete for trial in ended if trial.datetime_complete is not None)
    first = min(trial.datetime_start for trial in ended if trial.datetime_start is not None)
    return {
        "optimizer": found.optimizer,
        "trials": sum(found.trials.values()),
        "seconds": min(whole, (last - first).total_seconds()),
        "training_seconds": sum(trial.user_attrs["seconds"] for trial in ended),
        "searched": found.searched,
        "validation": list(found.validation.values),
        "test": [] if found.test is None else list(found.test.values),
        "ended": found.ended,
    }


def show(name: str, found: dict[str, object]) -> None:
    """One side, with Student's t intervals over the confirmation seeds."""
    from studies.commands.tuning import Estimate

    confirmed, test = Estimate.of(found["validation"]), Estimate.of(found["test"])
    print(
        f"  {name:10} {found['trials']:4} trials, {found['seconds']:6.1f} s ({found['training_seconds']:6.1f} s of "
        f"training): {found['optimizer']:11} searched {found['searched']:.5g}, confirmed {confirmed}, "
        f"test {test}  {found.get('ended', '')}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default="digits-mlp,breast-cancer-logreg")
    parser.add_argument("--trials", type=int, default=30, help="of each separate study")
    parser.add_argument("--seeds", type=int, default=2, help="repetitions")
    options = parser.parse_args()
    from search_spaces import SEARCH_SPACES
    from studies.commands.tuning import Estimate
    from studies.workloads import WORKLOADS

    half = options.trials * len(SEARCH_SPACES) // 2
    with tempfile.TemporaryDirectory() as directory, (Path(directory) / "log").open("w") as log:
        console = Console(file=log)
        for workload in options.workloads.split(","):
            metric = WORKLOADS[workload].metric
            print(f"{workload}: {metric.name}, {metric.direction}", flush=True)
            for seed in range(options.seeds):
                url = f"sqlite:///{directory}/{workload}-{seed}.db"
                apart = separate(workload, options.trials, seed, url, console)
                show("separate", apart)
                for name, to_the_end in (("tune", False), ("to the end", True)):
                    one = together(workload, half, seed, url, console, to_the_end=to_the_end)
                    show(name, one)
                    pairs = zip(one["validation"], apart["validation"], strict=False)
                    paired = Estimate.of([float(np.subtract(a, b)) for a, b in pairs])
                    print(f"  seed {seed}: {name} minus separate, paired by fresh seed: {paired}", flush=True)


if __name__ == "__main__":
    main()
