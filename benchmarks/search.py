"""Which sampler and which pruner: epochs until a search is as good as 50 random trials usually are.

    python benchmarks/search.py                                            # searches of the recorded trials
    python benchmarks/search.py --record benchmarks/data/search.npz        # trains them, ten minutes on one core

Real training runs stand behind it. ``--record`` draws configurations of the product's search spaces, trains each for
the workload's whole budget, as a trial is trained, and keeps its curve: two thirds are uniform, and a third are near
the best 3 % of these, so that a search that comes close to good configurations finds some. A search is then drawn from
the table: the sampler proposes, the nearest configuration in search coordinates that the search has not had is run,
epoch by epoch as recorded, and the sampler is told of that one. Because the nearest one is taken, a random proposal
falls on each configuration by the volume around it, whether that is one of many there or not.

What is measured is the number of epochs that all trials of a search had together when one that ran to its end was as
good as the median best of 50 random trials that all do; its value is its best epoch's, as everywhere. A search may have
as many epochs as these 50 trials; ``reach`` is the share of searches that came so far. (Those without a pruner go on
three times as long, so that the median of random search is known.) A search that did not come so far counts as
infinitely long. Over all tables, each search counts in units of random search's median on its table; 95 % intervals are
a bootstrap over searches. No search begins with the optimizer's default, as a campaign's does. Accuracies are of 299
images: one trial in twenty ties with the best of 50, so that there random search comes far in less than 50 trials.

The script ends with 1 if the default of campaigns does not need at most an eighth of random search's epochs over all
tables, reaches the quality less often, or is beaten by another row beyond noise.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS, place, random_point

RECORDED = Path(__file__).parent / "data" / "search.npz"
# Configurations of each table, and the schedule of its learning rate.
TABLES = {
    ("digits-mlp", "sofim", "constant"): 600,
    ("digits-mlp", "adamw", "cosine"): 600,
    ("breast-cancer-logreg", "sofim", "constant"): 900,
    ("breast-cancer-logreg", "adamw", "constant"): 900,
    ("digits-lenet5", "adamw", "cosine"): 300,
}
AS_GOOD_AS = 50  # random trials that run to their end
ROUND = 50  # configurations between two savings


# ------------------------------------------------------------------ recording


def record(path: Path) -> None:
    """Train the configurations of all tables, a round of each in turn, and save them in ``path``."""
    from search_spaces import SEARCH_SPACES
    from sofim import OPTIMIZERS
    from studies.training.run import train
    from studies.workloads import load, resolve

    kept: dict[str, Any] = {}
    for done in range(0, max(TABLES.values()), ROUND):
        for (name, optimizer, schedule), number in TABLES.items():
            if done >= number:
                continue
            workload = resolve(name)
            data = load(workload, None)
            space = SEARCH_SPACES[optimizer].capped(len(data.train))
            distributions = space.search_distributions()
            names, key = sorted(distributions), f"{name}/{optimizer}/{schedule}"
            places = kept.get(f"{key}/places", np.empty((0, len(names))))
            curves = kept.get(f"{key}/curves", np.empty((0, workload.epochs)))
            new_places = [draw(i, number, places, curves, workload.metric.direction) for i in range(done, done + ROUND)]
            new_curves = []
            for point in new_places:
                search = {n: place(float(u), distributions[n]) for n, u in zip(names, point, strict=True)}
                arguments = space.arguments(space.decode(search))
                run = train(
                    workload, OPTIMIZERS[optimizer], arguments, 0, workload.epochs, data=data, schedule=schedule
                )
                metrics = [epoch.metric for epoch in run if not epoch.diverged]
                new_curves.append(metrics + [math.nan] * (workload.epochs - len(metrics)))
            kept[f"{key}/places"] = np.vstack([places, new_places])
            kept[f"{key}/curves"] = np.vstack([curves, new_curves])
            space_told = {name: distribution_to_json(distributions[name]) for name in names}
            kept[f"{key}/about"] = json.dumps({"direction": workload.metric.direction, "space": space_told})
            print(f"{key}: {len(kept[f'{key}/curves'])}", flush=True)
        save(path, kept)


def draw(index: int, number: int, places: NDArray[Any], curves: NDArray[Any], direction: str) -> NDArray[np.float64]:
    """Return the place of configuration ``index`` of ``number``, shape ``(dimensions,)``, on a grid in [0, 1)."""
    grid, uniform = 2.0**-16, number * 2 // 3
    if index < uniform:
        return np.floor(random_point(0, index, places.shape[1]) / grid) * grid
    rng = np.random.default_rng([1, index])
    costs = final_costs(curves[:uniform], direction)
    parent = places[rng.choice(np.argsort(costs)[: uniform * 3 // 100])]
    near = np.clip(parent + rng.normal(0, 0.07, len(parent)), 0, 1 - grid)
    return np.floor(near / grid) * grid


def final_costs(curves: NDArray[Any], direction: str) -> NDArray[np.float64]:
    """Return what complete trials are worth, less being better; infinite where one diverged. Shape ``(n,)``."""
    costs = np.where(np.isnan(curves[:, -1:]), np.inf, -curves if direction == "maximize" else curves)
    return np.asarray(costs.min(axis=1))


def save(path: Path, kept: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    small = {}
    for name, entry in kept.items():
        if name.endswith("places"):
            small[name] = np.round(entry * 2**16).astype(np.uint16).T
        elif name.endswith("curves"):
            small[name] = rounded(entry).astype(np.float32).T
        else:
            small[name] = np.array(entry)
    np.savez_compressed(path, **small)


def rounded(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``values`` to four digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(values == 0, 1.0, 10.0 ** (3 - np.floor(np.log10(np.abs(values)))))
    return np.asarray(np.round(values * scale) / scale)


# ------------------------------------------------------------------ searching


class Table:
    """Recorded trials of one optimizer on one workload.

    Attributes:
        distributions: By the parameters' names, in alphabetical order: of the search values.
        values: By trial: its search values.
        places: Of these in their ranges, ``(trials, parameters)``, from 0 to 1.
        costs: Of a trial epoch by epoch, less being better, NaN after it diverged: ``(trials, epochs)``.
        final: Of a trial that ran to its end: the best of these; infinite where it diverged. ``(trials,)``
        uniform: The number of the first trials, which are uniform.
    """

    def __init__(self, key: str, archive: Mapping[str, Any]) -> None:
        about = json.loads(str(archive[f"{key}/about"]))
        sign = -1.0 if about["direction"] == "maximize" else 1.0
        self.name = key
        self.distributions = {name: json_to_distribution(text) for name, text in about["space"].items()}
        self.places = archive[f"{key}/places"].T / 2**16
        self.values = [
            {n: place(float(u), d) for u, (n, d) in zip(point, self.distributions.items(), strict=True)}
            for point in self.places
        ]
        curves = archive[f"{key}/curves"].T.astype(float)
        self.costs, self.epochs = sign * curves, curves.shape[1]
        self.final = final_costs(curves, about["direction"])
        self.uniform = len(curves) * 2 // 3

    def target(self) -> float:
        """Return the cost of the median best of so many uniform trials, drawn again and again."""
        rng = np.random.default_rng(0)
        return float(np.median([rng.choice(self.final[: self.uniform], AS_GOOD_AS).min() for _ in range(4001)]))

    def nearest(self, values: Mapping[str, Any], used: NDArray[np.bool_]) -> int:
        """Return the trial that is nearest to search values, of those that are not used."""
        here = np.array([position(self.distributions[name], values[name]) for name in self.distributions])
        return int(np.argmin(np.where(used, np.inf, ((self.places - here) ** 2).sum(axis=1))))


def position(distribution: Any, value: float) -> float:
    """Return where in its range a value is, from 0 to 1."""
    scale = math.log if distribution.log else float
    return (scale(value) - scale(distribution.low)) / (scale(distribution.high) - scale(distribution.low))


@dataclass(frozen=True)
class Row:
    """A sampler and a pruner."""

    sampler: Callable[[int], optuna.samplers.BaseSampler] | None  # None: random search
    pruner: Callable[[int], BasePruner]
    prunes: bool = True


def search(table: Table, row: Row, seed: int, target: float) -> float:
    """Return the epochs until a search is as good as ``target`` (infinite where it never is)."""
    study = optuna.create_study(
        study_name=f"search-{seed}/{table.name}",  # Optuna's Hyperband makes its brackets of it
        sampler=optuna.samplers.RandomSampler(seed) if row.sampler is None else row.sampler(seed),
        pruner=row.pruner(table.epochs),
    )
    budget = AS_GOOD_AS * table.epochs * (1 if row.prunes else 3)
    used = np.zeros(len(table.costs), dtype=bool)
    spent = 0
    while spent < budget and not used.all():
        if row.sampler is None:
            study.enqueue_trial(SAMPLERS["random"].configuration(seed, int(used.sum()), table.distributions) or {})
        trial = study.ask(table.distributions)
        number = table.nearest(trial.params, used)
        used[number] = True
        tell_params(study, trial, table, number)
        for epoch, cost in enumerate(table.costs[number], start=1):
            spent += 1
            if math.isnan(cost):
                trial.set_constraint("diverged", 1.0)
                study.tell(trial, state=TrialState.PRUNED)
                break
            trial.report(cost, epoch)
            if epoch < table.epochs and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, table.final[number])
            if table.final[number] <= target and spent <= budget:
                return spent
    return math.inf


def tell_params(study: optuna.Study, trial: optuna.Trial, table: Table, number: int) -> None:
    """Make recorded values those of a trial that was asked for."""
    for name, value in table.values[number].items():
        distribution = table.distributions[name]
        study._storage.set_trial_param(trial._trial_id, name, distribution.to_internal_repr(value), distribution)


def own_hyperband(epochs: int) -> BasePruner:
    """Return Optuna's Hyperband, which hides other brackets from the sampler."""
    return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)


def halving(first: int, factor: int) -> BasePruner:
    return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)


def tpe(**settings: Any) -> Callable[[int], optuna.samplers.BaseSampler]:
    return lambda seed: optuna.samplers.TPESampler(seed=seed, **settings)


def product_tpe(seed: int) -> optuna.samplers.BaseSampler:
    make = SAMPLERS["tpe"].make
    assert make is not None
    return make(seed, False)


PRUNER_ROWS: dict[str, Callable[[int], BasePruner]] = {
    "none": PRUNERS["none"].make,
    "asha": PRUNERS["asha"].make,
    "Optuna's Hyperband": own_hyperband,
    "hyperband": PRUNERS["hyperband"].make,
    "first-epoch": PRUNERS["first-epoch"].make,
}
SAMPLER_ROWS = {"random": None, "tpe": product_tpe}
ROWS = {
    f"{sampler}, {pruner}": Row(make, PRUNER_ROWS[pruner], pruner != "none")
    for sampler, make in SAMPLER_ROWS.items()
    for pruner in PRUNER_ROWS
}
RANDOM = "random, none"
MORE = {
    "tpe of 5 starts, asha": Row(tpe(n_startup_trials=5), PRUNERS["asha"].make),
    "tpe joint, asha": Row(tpe(multivariate=True), PRUNERS["asha"].make),
    "tpe joint of 5 starts, asha": Row(tpe(n_startup_trials=5, multivariate=True), PRUNERS["asha"].make),
    "tpe, asha by 2": Row(product_tpe, lambda _: halving(1, 2)),
    "tpe, asha by 4": Row(product_tpe, lambda _: halving(1, 4)),
    "tpe, asha from 2 by 3": Row(product_tpe, lambda _: halving(2, 3)),
    "tpe joint, first-epoch": Row(tpe(multivariate=True), PRUNERS["first-epoch"].make),
    "tpe joint, hyperband": Row(tpe(multivariate=True), PRUNERS["hyperband"].make),
}
"""Other settings of what the product has."""


# ------------------------------------------------------------------ judging

Lengths = Mapping[str, list[NDArray[np.float64]]]  # by row, a table each: epochs of each search


def median(lengths: NDArray[np.float64], share: float = 0.5) -> float:
    """Return a quantile of lengths some of which may be infinite."""
    return float(np.quantile(lengths, share, method="inverted_cdf"))


def shares(row: list[NDArray[np.float64]], random: list[NDArray[np.float64]]) -> float:
    """Return the median over all searches of all tables, each in units of random search's median on its table."""
    return median(np.concatenate([own / median(base) for own, base in zip(row, random, strict=True)]))


def intervals(found: Lengths, default: str, draws: int = 2000) -> Mapping[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return by row the 95 % intervals of its share and of the default's share over its own."""
    rng = np.random.default_rng(0)
    drawn: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for _ in range(draws):
        again = {name: [own[rng.integers(len(own), size=len(own))] for own in row] for name, row in found.items()}
        base = shares(again[default], again[RANDOM])
        for name in found:
            share = shares(again[name], again[RANDOM])
            drawn[name].append((share, base / share if math.isfinite(share) else 0.0))
    both = {name: np.array(entry).T for name, entry in drawn.items()}
    ends = [0.025, 0.975]
    return {n: tuple(np.quantile(e, ends, method="inverted_cdf") for e in entry) for n, entry in both.items()}  # type: ignore[misc]


def report(tables: list[Table], found: Lengths, default: str) -> bool:
    """Print what was found; return whether the default keeps what is asked of it."""
    limits = {table.name: AS_GOOD_AS * table.epochs for table in tables}
    reach = {
        name: float(np.mean(np.concatenate([own <= limits[t.name] for own, t in zip(row, tables, strict=True)])))
        for name, row in found.items()
    }
    told = intervals(found, default)
    print(f"\nall tables: epochs in units of random search's median; {default} against the row; reach")
    good = True
    for name, row in found.items():
        (low, high), (least, most) = told[name]
        share = shares(row, found[RANDOM])
        print(f"  {name:28} {share:6.3f} [{low:.3f}, {high:.3f}]   {least:5.2f} to {most:5.2f}   {reach[name]:4.0%}")
        if least > 1 and reach[name] >= reach[default]:
            print(f"    beats {default}")
            good = False
    return good and shares(found[default], found[RANDOM]) <= 1 / 8 and reach[default] >= reach[RANDOM]


def main() -> None:
    from studies.campaign.model import Campaign

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, metavar="FILE", help="train, and save the curves in FILE")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--more", action="store_true", help="other settings of TPE and successive halving too")
    options = parser.parse_args()
    if options.record:
        return record(options.record)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    fields = Campaign.model_fields
    default = f"{fields['sampler'].default}, {fields['pruner'].default}"
    with np.load(RECORDED) as archive:
        keys = sorted({name.rpartition("/")[0] for name in archive})
        tables = [Table(key, archive) for key in keys]
    rows = ROWS | (MORE if options.more else {})
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in rows}
    for table in tables:
        target, limit = table.target(), AS_GOOD_AS * table.epochs
        print(f"\n{table.name}: epochs to {abs(target):.4g}, median [quartiles], reach")
        for name, lengths in found.items():
            row = np.array([search(table, rows[name], seed, target) for seed in range(options.seeds)])
            lengths.append(row)
            low, middle, high = (median(row, share) for share in (0.25, 0.5, 0.75))
            print(f"  {name:28} {middle:6.0f} [{low:6.0f}, {high:6.0f}]  {np.mean(row <= limit):4.0%}", flush=True)
    sys.exit(0 if report(tables, found, default) else 1)


if __name__ == "__main__":
    main()
