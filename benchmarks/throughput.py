"""Trials per minute of this engine, of a plain Ray Tune script, and of Optuna alone, on the same trials.

    python benchmarks/throughput.py                     # digits-mlp: trials under a second
    python benchmarks/throughput.py --workload fashion-lenet5 --optimizer sgd --trials 6 --ways engine

The same configurations (uniform in the optimizer's search space, no pruning) are run

- by this engine (``engine``),
- by Ray Tune's Tuner with OptunaSearch and nothing else set (``plain``), and
- by ``study.optimize`` of Optuna in one process on an SQLite file (``optuna``),

each in a process of its own, one after the other. The clock runs from the call that starts the trials to its return,
start of the workers included, start of Ray excluded (it is the same for both). The plain script may get fewer trials:
its pace hardly depends on their number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WAYS = ("engine", "plain", "optuna")
SEED = 0


def configurations(optimizer: str, trials: int, batch_size: int | None) -> list[dict[str, object]]:
    """Return the stored configurations that every way runs."""
    from search_spaces.samplers import SAMPLERS

    space = space_of(optimizer, batch_size)
    draw = SAMPLERS["random"].configuration
    return [space.decode(draw(SEED, i, space.search_distributions()) or {}) for i in range(trials)]


def space_of(optimizer: str, batch_size: int | None):
    from search_spaces import SEARCH_SPACES

    return SEARCH_SPACES[optimizer].override({} if batch_size is None else {"batch_size": batch_size})


def records_of(options: argparse.Namespace, arguments: dict[str, object]):
    import torch

    from sofim import OPTIMIZERS
    from studies.training.run import train

    torch.set_num_threads(1)
    workload, data = loaded(options.workload)
    return train(workload, OPTIMIZERS[options.optimizer], arguments, SEED, epochs_of(options), data=data)


def loaded(name: str):
    """Return a workload and its data, loaded once a process, as the engine's workers do."""
    from studies.workloads import load, resolve

    if name not in LOADED:
        workload = resolve(name)
        LOADED[name] = (workload, load(workload, None))
    return LOADED[name]


LOADED = {}  # of this process; Ray's workers get a copy


def epochs_of(options: argparse.Namespace) -> int:
    from studies.workloads import resolve

    return options.epochs or resolve(options.workload).epochs


def run_engine(options: argparse.Namespace, trials: int, directory: Path) -> dict[str, float]:
    import optuna
    import ray

    from studies.campaign.plan import StudyPlan
    from studies.engine import Resources, execute
    from studies.ledger import open_search
    from studies.training.worker import TrainingOptions
    from studies.workloads import resolve

    metric = resolve(options.workload).metric
    plan = StudyPlan(
        name="bench",
        workload=options.workload,
        optimizer=options.optimizer,
        metric=metric.name,
        metric_split=metric.split,
        direction=metric.direction,
        epochs=epochs_of(options),
        trials=trials,
        sampler="random",
        pruner="none",
        seed=SEED,
        space=space_of(options.optimizer, options.batch_size),
    )
    url = f"sqlite:///{directory}/engine.db"
    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init("local", object_store_memory=200 * 2**20, **quiet)
    memory = WorkerMemory()
    began = time.perf_counter()
    with open_search(url, {"name": "bench"}, [plan], {}) as ledger:
        execute(ledger, TrainingOptions(), Resources())
    seconds = time.perf_counter() - began
    done = optuna.load_study(study_name="bench", storage=url).trials
    starts = sorted(t.datetime_start for t in done)
    slots = int(ray.cluster_resources()["CPU"])
    # a trial's first epoch begins its busy time before its end
    first = min(t.datetime_complete.timestamp() - t.user_attrs["busy_seconds"] for t in done)
    last_start = max(t.datetime_complete.timestamp() - t.user_attrs["busy_seconds"] for t in done)
    end = max(t.datetime_complete.timestamp() for t in done)

    def share(attribute: str) -> float:
        """Of the slots' time while trials were left to start: after that, slots idle whatever the engine."""
        spent = 0.0
        for t in done:
            busy, stop = t.user_attrs["busy_seconds"], t.datetime_complete.timestamp()
            overlap = max(0.0, min(stop, last_start) - (stop - busy))
            spent += t.user_attrs[attribute] * overlap / busy
        return spent / (slots * (last_start - first))

    return {
        "seconds": seconds,
        "start_seconds": first - starts[0].timestamp(),
        "tail_seconds": end - last_start,
        "slots": slots,
        "training_share": share("seconds"),
        "busy_share": share("busy_seconds"),
        "trial_seconds": statistics.median(t.user_attrs["busy_seconds"] for t in done),
        "worker_memory": memory.stop(),
    }


def run_plain(options: argparse.Namespace, trials: int, directory: Path) -> dict[str, float]:
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from studies.workloads import resolve

    metric = resolve(options.workload).metric
    space = space_of(options.optimizer, options.batch_size)

    def objective(config):
        for record in records_of(options, space.arguments(config)):
            tune.report({metric.name: record.metric})

    ray.init("local", include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    search = OptunaSearch(
        space.stored_distributions(),
        metric=metric.name,
        mode=metric.direction[:3],
        points_to_evaluate=configurations(options.optimizer, trials, options.batch_size),
    )
    tuner = tune.Tuner(
        objective,
        tune_config=tune.TuneConfig(search_alg=search, num_samples=trials),
        run_config=tune.RunConfig(storage_path=str(directory), verbose=0),
    )
    began = time.perf_counter()
    tuner.fit()
    return {"seconds": time.perf_counter() - began}


def run_optuna(options: argparse.Namespace, trials: int, directory: Path) -> dict[str, float]:
    import optuna

    from studies.workloads import resolve

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    metric = resolve(options.workload).metric
    space = space_of(options.optimizer, options.batch_size)

    def objective(trial):
        for name, distribution in space.stored_distributions().items():
            trial._suggest(name, distribution)
        for record in records_of(options, space.arguments(trial.params)):
            trial.report(record.metric, record.epoch)
        return record.metric if record.metric == record.metric else float("inf")

    study = optuna.create_study(storage=f"sqlite:///{directory}/optuna.db", direction=metric.direction)
    for params in configurations(options.optimizer, trials, options.batch_size):
        study.enqueue_trial(params)
    began = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return {"seconds": time.perf_counter() - began}


class WorkerMemory:
    """The memory that each worker alone holds (USS), bytes: the highest median over the workers while they ran."""

    def __init__(self) -> None:
        self._most = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        import psutil

        while not self._stop.wait(1.0):
            found = []
            for process in psutil.Process(os.getpid()).children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        found.append(process.memory_full_info().uss)
                except psutil.Error:
                    continue
            if found:
                self._most = max(self._most, statistics.median(found))

    def stop(self) -> float:
        """End the watch and return the figure."""
        self._stop.set()
        self._thread.join()
        return self._most


def machine() -> str:
    """Return the machine in a line."""
    from importlib.metadata import version

    names = [s.split(":", 1)[1].strip() for s in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in s]
    packages = ", ".join(f"{p} {version(p)}" for p in ("ray", "optuna", "torch"))
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {packages}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="digits-mlp")
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--plain-trials", type=int, default=16, help="trials of the plain script")
    parser.add_argument("--epochs", type=int, help="per trial, instead of the workload's own")
    parser.add_argument("--batch-size", type=int, help="fixed, instead of searched")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        trials = options.plain_trials if options.way == "plain" else options.trials
        found = {"engine": run_engine, "plain": run_plain, "optuna": run_optuna}[options.way](
            options, trials, options.directory
        )
        print("RESULT", json.dumps(found | {"trials": trials}))
        return
    results = {}
    print(f"{machine()}\n{options.workload} · {options.optimizer}, {epochs_of(options)} epochs a trial\n")
    for way in options.ways.split(","):
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way, "--directory", directory]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            sys.exit(f"{way} failed:\n{done.stdout}\n{done.stderr}")
        results[way] = json.loads(line.removeprefix("RESULT"))
        found = results[way]
        print(
            f"{way:8} {found['trials']:5d} trials in {found['seconds']:7.1f} s: "
            f"{60 * found['trials'] / found['seconds']:8.1f} trials a minute"
        )
    if "engine" in results:
        engine = results["engine"]
        rate = engine["trials"] / engine["seconds"]
        for way, found in results.items():
            if way != "engine":
                print(f"engine / {way}: {rate / (found['trials'] / found['seconds']):.1f} times")
        shares = (engine["training_share"], engine["busy_share"] - engine["training_share"], 1 - engine["busy_share"])
        training, evaluation, neither = (f"{share:.1%}" for share in shares)
        print(f"engine: {engine['slots']} slots; a trial takes {engine['trial_seconds']:.2f} s (median)")
        print("  of the slots' time from the first trial's first epoch to the start of the last trial,")
        print(f"  {training} went into training, {evaluation} into evaluation, {neither} into neither")
        print(f"  workers took {engine['start_seconds']:.1f} s to start")
        print(f"  each additional worker holds {engine['worker_memory'] / 2**20:.0f} MiB of its own")


if __name__ == "__main__":
    main()
