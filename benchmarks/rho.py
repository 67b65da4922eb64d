"""How often an atlas says wrongly that one η/ρ does, or that none does, and how often it says so rightly.

    python benchmarks/rho.py [--campaigns 40] [--trials 60] [--noise 0.01] [--workloads 3 8] [--loss 0 5 10.5 20 40]

Campaigns are simulated: SOFIM on workloads whose accuracy after training is 0.9 less a parabola in log10 η/ρ, with the
noise of a seed; quasi-random trials in η and ρ, as the preset atlas-rho has. ``loss`` is what the best common ratio
loses on the worst of the workloads, in percent of what training gains (0.8): at or below 5 "none does" is wrong, above
10 "one does" is, in between neither, for a workload is judged by 5 or by 10, whichever its surrogate resolves.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter

import numpy as np
import pandas as pd
from scipy.stats import qmc

from analysis.atlas.coordinates import RATIO, profiles, shared
from analysis.defaults import SurrogateStudy, surrogate_study
from analysis.parameters import ParameterInfo
from analysis.study import Study

PARAMETERS = {name: ParameterInfo(name, "float", 1e-3, 10.0, log=True, default=0.1) for name in ("lr", "rho")}
START, BEST, CURVATURE = 0.1, 0.9, 0.12


def searched(name: str, best: float, trials: int, noise: float, rng: np.random.Generator) -> SurrogateStudy:
    """Return the surrogate of one workload, on which 10**best is the best η/ρ."""
    attributes = {"search_space": {"fixed": {"beta": 0.9}}, "metric_scale": "linear"}
    study = Study(0, name, {"name": "made"}, name, "sofim", "m", "maximize", attributes, PARAMETERS)
    points = 10 ** (4 * qmc.Halton(2, rng=rng).random(trials) - 3)
    away = np.log10(points[:, 0] / points[:, 1]) - best
    values = np.maximum(START, BEST - CURVATURE * away**2) + rng.normal(0, noise, trials)
    rows = [
        (name, name, "sofim", number, "complete", value, dict(zip(PARAMETERS, map(float, point), strict=True)))
        for number, (point, value) in enumerate(zip(points, values, strict=True))
    ]
    columns = ["study", "workload", "optimizer", "number", "outcome", "value", "params"]
    epochs = [(name, number, epoch, v) for number, value in enumerate(values) for epoch, v in ((1, START), (2, value))]
    curves = pd.DataFrame(epochs, columns=["study", "number", "epoch", "value"])
    return surrogate_study(study, pd.DataFrame(rows, columns=columns), curves, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=40)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--workloads", type=int, nargs="+", default=[3, 8])
    parser.add_argument("--loss", type=float, nargs="+", default=[0.0, 5.0, 10.5, 20.0, 40.0])
    given = parser.parse_args()
    print("| workloads | loss | one does | none does | cannot be told |\n|---|---|---|---|---|")
    for workloads in given.workloads:
        for loss in given.loss:
            half = math.sqrt(loss / 100 * (BEST - START) / CURVATURE)
            said: Counter[str] = Counter()
            for seed in range(given.campaigns):
                rng = np.random.default_rng([workloads, round(10 * loss), seed])
                bests = np.linspace(-half, half, workloads)
                made = [searched(f"w{i}", best, given.trials, given.noise, rng) for i, best in enumerate(bests)]
                table = shared(profiles(made, rng)[0], made).set_index("coordinate")
                said[str(table.loc[RATIO, "verdict"])] += 1
            shares = (f"{100 * said[word] / given.campaigns:.0f} %" for word in ("within", "beyond", "cannot be told"))
            print(f"| {workloads} | {loss:g} % | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
