"""Time of importances with intervals, against Optuna's fANOVA for bare ones, and on ten thousand trials.

    python benchmarks/importance_time.py [--rounds N] [--skip-fanova]

Ours: 20 bootstrap refits, first-order, total-order and pair shares with intervals, a planted noise parameter. Optuna's:
FanovaImportanceEvaluator as it comes, on the same trials. The two take turns, one thread each; only the run on ten
thousand trials uses two. Targets: a twentieth of Optuna's time on 1,000 trials x 4 parameters, two minutes on 10,000.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import sklearn
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution

from analysis.sensitivity.importance import importance, refits

Floats = NDArray[np.float64]
DIMENSION = 4


def metric(points: Floats, rng: np.random.Generator) -> Floats:
    """Return a ridge, a bowl and a little noise on the unit cube."""
    ridge = (points[:, 0] - points[:, 1]) ** 2
    return np.asarray(-ridge - 0.3 * (points[:, 2] - 0.7) ** 2 + 0.02 * rng.standard_normal(len(points)))


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ours(points: Floats, values: Floats, workers: int) -> object:
    return importance(refits(points, values, np.random.default_rng(0), workers=workers), values)


def study_of(points: Floats, values: Floats) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {f"x{j}": FloatDistribution(0.0, 1.0) for j in range(DIMENSION)}
    study = optuna.create_study(direction="maximize")
    for row, value in zip(points, values, strict=True):
        params = {name: float(x) for name, x in zip(space, row, strict=True)}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(space), value=float(value)))
    return study


def machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, Optuna {optuna.__version__}"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {load}; {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="how often each is timed (default 1)")
    parser.add_argument("--skip-fanova", action="store_true", help="time only ours")
    arguments = parser.parse_args()
    print(machine())
    rng = np.random.default_rng(0)
    points = rng.random((1000, DIMENSION))
    values = metric(points, rng)
    ours(points[:50], values[:50], 1)  # imports and caches
    own, fanova = [], []
    study = study_of(points, values)
    for _ in range(arguments.rounds):
        own.append(seconds(lambda: ours(points, values, 1)))
        if not arguments.skip_fanova:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            fanova.append(seconds(lambda evaluator=evaluator: evaluator.evaluate(study)))  # type: ignore[misc]
    print(f"1,000 trials x {DIMENSION}, with intervals: {statistics.median(own):.2f} s")
    if fanova:
        ratio = statistics.median(theirs / mine for theirs, mine in zip(fanova, own, strict=True))
        bare = statistics.median(fanova)
        print(f"1,000 trials x {DIMENSION}, Optuna's fANOVA, bare: {bare:.1f} s, {ratio:.0f} times as long")
    points = rng.random((10_000, DIMENSION))
    values = metric(points, rng)
    print(f"10,000 trials x {DIMENSION}, with intervals, two threads: {seconds(lambda: ours(points, values, 2)):.1f} s")


if __name__ == "__main__":
    main()
