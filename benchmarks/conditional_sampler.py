"""Which sampler for a space whose first choice is the optimizer: regret on made-up problems, through the study's book.

    python benchmarks/conditional_sampler.py                   # about two minutes on one core

In each problem every optimizer of the table has a best value of its own (0 to 0.05), reached at a random place of its
search space, and loses quadratically from there, by one parameter more than by the next; a run of 20 epochs comes to
its value exponentially, with a little noise, and Hyperband prunes. Nothing is trained. Regret is what the best complete
trial lacks to the best optimizer's best value; ± is 1.96 standard errors over problems.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from search_spaces import SEARCH_SPACES, ConditionalSpace, samplers
from studies.campaign.plan import StudyPlan
from studies.commands.tuning._initial import initial_configurations
from studies.ledger.search import Search
from studies.ledger.study import StudyLedger

EPOCHS = 20
WEIGHTS = [3.0, 1.0, 0.5, 0.2, 0.05, 0.02]  # of an optimizer's parameters, dealt at random
SAMPLERS: Mapping[str, Any] = {
    "joint, by groups": lambda seed: TPESampler(seed=seed, multivariate=True, group=True),
    "joint": lambda seed: TPESampler(seed=seed, multivariate=True),
    "independent": lambda seed: TPESampler(seed=seed, multivariate=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


class Unwritten:
    """A writer for a study that is in memory alone; it knows the stored parameters of the latest trial."""

    params: Mapping[str, Any] = MappingProxyType({})

    def start(self, _study_id: int, trial: FrozenTrial) -> None:
        """Hear of a trial."""
        self.params = trial.params

    def __getattr__(self, _name: str) -> Any:
        return lambda *_, **__: None


class Problem:
    """What each optimizer gives for each configuration."""

    def __init__(self, number: int) -> None:
        self._number, rng = number, np.random.default_rng(number)
        self.best = {key: rng.uniform(0, 0.05) for key in SEARCH_SPACES}
        self._pace = {key: rng.uniform(1, 4) for key in SEARCH_SPACES}
        self._where = {}
        for key, space in SEARCH_SPACES.items():
            names = list(space.search_distributions())
            weights = rng.permutation(WEIGHTS[: len(names)])
            self._where[key] = {n: (rng.uniform(0.15, 0.85), w) for n, w in zip(names, weights, strict=True)}

    def value(self, optimizer: str, search: Mapping[str, Any]) -> float:
        """Return the value at the end of a run, of search values of the optimizer's own space."""
        distributions = SEARCH_SPACES[optimizer].search_distributions()
        places = {name: position(distributions[name], value) for name, value in search.items()}
        return self.best[optimizer] + sum(w * (places[n] - x) ** 2 for n, (x, w) in self._where[optimizer].items())

    def curve(self, trial: int, optimizer: str, value: float) -> list[float]:
        """Return what is reported, epoch by epoch."""
        noise = np.random.default_rng([self._number, trial]).normal(0, 0.003, EPOCHS)
        return [value + (1 + value) * math.exp(-e / self._pace[optimizer]) + noise[e - 1] for e in range(1, EPOCHS + 1)]


def position(distribution: BaseDistribution, value: Any) -> float:
    """Where in its range a value is, from 0 to 1."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(1, len(distribution.choices) - 1)
    scale = math.log if distribution.log else float
    return (scale(value) - scale(distribution.low)) / (scale(distribution.high) - scale(distribution.low))


def regrets(number: int, trials: int) -> tuple[float, float]:
    """Regret after all trials and after half of them."""
    problem, space = Problem(number), ConditionalSpace(SEARCH_SPACES)
    plan = StudyPlan(
        name=f"made-up/{number}/any", workload="made-up", optimizer="any", metric="loss", direction="minimize",
        metric_split="validation", epochs=EPOCHS, trials=trials, sampler="tpe", pruner="hyperband", seed=number,
        space=space, initial=tuple(initial_configurations(space, "made-up")[0]),
    )  # fmt: skip
    writer = Unwritten()
    study = StudyLedger(plan, 1, writer, [], Search(plan))
    found: list[float] = []
    while study.wants_more:
        assignment = study.ask()
        chosen, prefix = assignment.optimizer, f"{assignment.optimizer}."
        own = {name.removeprefix(prefix): entry for name, entry in writer.params.items() if name.startswith(prefix)}
        value = problem.value(chosen, SEARCH_SPACES[chosen].encode(own))
        best = found[-1] if found else math.inf
        for epoch, metric in enumerate(problem.curve(assignment.number, chosen, value), start=1):
            record = {"epoch": epoch, "seconds": 0.0, "gradient_evaluations": 0, "metric": metric}
            if study.report(assignment.number, record):
                study.end(assignment.number, "pruned", {})
                break
        else:
            study.end(assignment.number, "complete", {})
            best = min(best, value)
        found.append(best)
    floor = min(problem.best.values())
    return found[-1] - floor, found[len(found) // 2] - floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--trials", type=int, default=105)
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name, make in SAMPLERS.items():
        samplers.SAMPLERS["tpe"] = samplers.Sampler(name, lambda seed, _, make=make: make(seed))
        found = np.array([regrets(number, options.trials) for number in range(options.problems)])
        errors = 1.96 * found.std(axis=0, ddof=1) / math.sqrt(len(found))
        (end, half), (end_error, half_error) = found.mean(axis=0), errors
        print(
            f"{name:17} {end:.4f} ± {end_error:.4f}, after half of the trials {half:.4f} ± {half_error:.4f}", flush=True
        )


if __name__ == "__main__":
    main()
