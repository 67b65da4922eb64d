"""How often a comparison names a difference that is not there, finds one that is, and its intervals cover.

Campaigns are simulated: winners scatter over searches, their runs over seeds, by as much as was measured on built-in
workloads (30 trials, tree-structured Parzen estimator, Hyperband): accuracies of digits-mlp by 0.003 over searches and
0.0065 over seeds, in steps of 1/300; the gap of breast-cancer-logreg by 1 and 0.35 of its logarithm.

    python benchmarks/verdict.py [--campaigns 1000] [--part PART]

It prints a table a claim, and exits with 1 where a documented rate is not kept: at most 5 % of campaigns of equal
optimizers name a difference, and intervals of 95 % cover in 90 %, each beyond what chance explains in one of 1000.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from analysis.comparison.aggregate import aggregate
from analysis.comparison.pairwise import NOT_SHOWN, comparisons
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import CHANCE, found_apart, mean_probability_interval, typical
from analysis.metric_scale import Scale
from analysis.schema import study_name
from analysis.study import Study
from analysis.text import listing
from search_spaces.errors import number_of

Floats = NDArray[np.float64]
SEARCH, SEED, EXAMPLES = 0.003, 0.0065, 300  # of an accuracy
LOG_SEARCH, LOG_SEED = 1.0, 0.35  # of the logarithm of a gap
FAMILY, COVERED = 0.05, 0.9
_RANDOM = {"name": "s", "sampler": "random", "pruner": "none"}
_RUN = [
    "study", "search", "number", "seed", "outcome", "validation", "test", "seconds", "gradient_evaluations", "device",
    "exclusive", "confirms", "other_cores", "cores", "broken",
]  # fmt: skip


def contest(workload: str, values: Floats, scale: Scale = "linear") -> WorkloadRuns:
    """Return confirmation runs (optimizers, searches, seeds) as a comparison has them."""
    optimizers, searches, seeds = values.shape
    direction = "minimize" if scale == "log" else "maximize"
    every: dict[str, tuple[Study, ...]] = {}
    rows = []
    for i in range(optimizers):
        own = tuple(_study(workload, f"o{i}", number, direction) for number in range(1, searches + 1))
        every[own[0].name] = own
        for j in range(searches):
            for at, value in enumerate(values[i, j]):
                rows.append((own[0].name, j + 1, j * seeds + at, 1000 + at, "complete", value, value, 1.0, 1.0, "cpu",
                             True, 0, 0.1, 2, False))  # fmt: skip
    firsts = tuple(own[0] for own in every.values())
    trials = pd.DataFrame(columns=["study", "number", "outcome", "value", "params", "seed", "tested"])
    curves = pd.DataFrame(columns=["study", "number", "epoch", "value"]).astype({"value": "float64"})
    runs = pd.DataFrame(rows, columns=_RUN)
    return WorkloadRuns(
        workload, "metric", direction, "test", firsts, trials, runs, curves, searches=every, scale=scale, floor=1e-300
    )


def _study(workload: str, optimizer: str, number: int, direction: str) -> Study:
    attributes = {"replicate": number, "protocol": 2}
    name = study_name("s", workload, optimizer, number)
    return Study(0, name, {"name": "s", "sampler": "tpe"}, workload, optimizer, "metric", direction, attributes)


def accuracies(rng: np.random.Generator, shape: tuple[int, int, int], shifts: Sequence[float] = ()) -> Floats:
    """Return accuracies (optimizers, searches, seeds), the mean of each optimizer shifted."""
    values = 0.97 + SEARCH * rng.standard_normal(shape[:2])[..., None] + SEED * rng.standard_normal(shape)
    values[: len(shifts)] += np.array(shifts)[:, None, None]
    return np.minimum(np.round(values * EXAMPLES) / EXAMPLES, 1.0)


def gaps(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return gaps (optimizers, searches, seeds)."""
    return np.asarray(
        3e-4 * np.exp(LOG_SEARCH * rng.standard_normal(shape[:2])[..., None] + LOG_SEED * rng.standard_normal(shape))
    )


def named(campaign: Sequence[WorkloadRuns], column: str = "verdict") -> bool:
    """Return whether a campaign names any difference."""
    return bool((~comparisons(campaign)[column].isin([NOT_SHOWN, ""])).any())


class Table:
    """Rates that are printed, and whether all were kept."""

    def __init__(self) -> None:
        self.kept = True

    def at_most(self, what: str, hits: int, of: int, limit: float = FAMILY) -> None:
        """Print a rate that a limit bounds from above."""
        self._row(what, hits, of, f"at most {limit:.2f}", hits <= stats.binom.ppf(0.999, of, limit))

    def at_least(self, what: str, hits: int, of: int, limit: float = COVERED) -> None:
        """Print a rate that a limit bounds from below."""
        self._row(what, hits, of, f"at least {limit:.2f}", hits >= stats.binom.ppf(0.001, of, limit))

    def told(self, what: str, hits: int, of: int) -> None:
        """Print a rate that nothing bounds."""
        self._row(what, hits, of, "", True)

    def _row(self, what: str, hits: int, of: int, limit: str, kept: bool) -> None:
        self.kept &= kept
        print(f"{what:<78} {hits / of:6.3f}  ({of}) {limit}{'' if kept else '  NOT KEPT'}", flush=True)


def equal_optimizers(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Simulate campaigns of equal optimizers: over searches nobody differs."""
    kinds: dict[str, Callable[[tuple[int, int, int]], list[WorkloadRuns]]] = {
        "an accuracy": lambda shape: [contest("u", accuracies(rng, shape))],
        "a gap": lambda shape: [contest("v", gaps(rng, shape), "log")],
        "both": lambda shape: [contest("u", accuracies(rng, shape)), contest("v", gaps(rng, shape), "log")],
    }
    for searches in (3, 5):
        for optimizers in (2, 3, 7):
            for name, make in kinds.items():
                wrong = sum(named(make((optimizers, searches, 3))) for _ in range(campaigns))
                table.at_most(f"named: {optimizers} equal optimizers, {name}, {searches} searches", wrong, campaigns)
    once = sum(named(kinds["both"]((3, 1, 10))) for _ in range(campaigns // 10))
    table.at_most("named: 3 equal optimizers, both, one search", once, campaigns // 10, 0.0)


def unequal(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Simulate campaigns of optimizers with equal means, whose searches scatter by different amounts."""
    kinds: dict[str, Callable[[int], Floats]] = {
        "one scatters 5 times as much": lambda k: np.array([5.0] + [1.0] * (k - 1)),
        "one scatters 20 times as much": lambda k: np.array([20.0] + [1.0] * (k - 1)),
        "one scatters a twentieth": lambda k: np.array([0.05] + [1.0] * (k - 1)),
        "lognormal, 1": lambda k: np.exp(rng.standard_normal(k)),
    }
    for searches in (3, 5):
        for optimizers in (3, 7):
            for name, scatter in kinds.items():
                wrong, of = 0, max(20, campaigns // 2)
                for _ in range(of):
                    means = scatter(optimizers)[:, None] * rng.standard_normal((optimizers, searches))
                    seeds = 0.35 * rng.standard_normal((optimizers, searches, 3))
                    wrong += named([contest("v", 3e-4 * np.exp(means[..., None] + seeds), "log")])
                table.at_most(f"named: {optimizers} optimizers, {name}, {searches} searches", wrong, of)


def moderated(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Try what was not taken: variances moderated by a prior that all optimizers of a workload share (Smyth 2004)."""
    kinds = {"equal": (1.0, 0.0), "one scatters 5 times as much": (5.0, 0.0), "one pair 3.2 sd apart": (1.0, 3.2)}
    for name, (scatter, shift) in kinds.items():
        values = rng.standard_normal((4 * campaigns, 2, 7, 3))
        values[:, :, 0] *= scatter
        values[:, :1, 0] += shift
        for method, variances in (("Welch", _as_they_are), ("moderated", _moderated)):
            told = _told_apart(values, *variances(values.var(axis=-1, ddof=1), 2.0))
            hits = told[:, 0, 0] if shift else told.any(axis=(1, 2))
            table.told(f"{method}: 7 optimizers x 2, 3 searches, {name}", int(hits.sum()), len(hits))


def _as_they_are(squares: Floats, freedom: float) -> tuple[Floats, Floats]:
    return squares, np.full_like(squares, freedom)


def _moderated(squares: Floats, freedom: float) -> tuple[Floats, Floats]:
    """Return variances (…, optimizers) shrunk towards their prior, fitted by the moments of logarithms; its freedom."""
    logs = np.log(squares) - special.digamma(freedom / 2) + np.log(freedom / 2)
    spread = logs.var(axis=-1, ddof=1, keepdims=True) - special.polygamma(1, freedom / 2)
    wanted = np.maximum(spread, 1e-3)
    half = 0.5 + 1 / wanted
    for _ in range(20):  # Newton's steps to the inverse of the trigamma function
        slope = special.polygamma(1, half)
        half += slope * (1 - slope / wanted) / special.polygamma(2, half)
    prior = np.where(spread > 0, 2 * half, 1e4)
    middle = np.exp(logs.mean(axis=-1, keepdims=True) + special.digamma(prior / 2) - np.log(prior / 2))
    return (prior * middle + freedom * squares) / (prior + freedom), np.broadcast_to(prior + freedom, squares.shape)


def _told_apart(values: Floats, variances: Floats, freedom: Floats) -> NDArray[np.bool_]:
    """Return which pairs (campaigns, workloads, pairs) Welch's t tells apart, corrected by Holm over a campaign."""
    one, two = np.triu_indices(values.shape[2], 1)
    means, errors = values.mean(axis=-1), variances / values.shape[-1]
    total = errors[..., one] + errors[..., two]
    own = total**2 / (errors[..., one] ** 2 / freedom[..., one] + errors[..., two] ** 2 / freedom[..., two])
    p = 2 * stats.t.sf(np.abs(means[..., one] - means[..., two]) / np.sqrt(total), own)
    flat = p.reshape(len(p), -1)
    order = flat.argsort(axis=1)
    steps = np.take_along_axis(flat, order, 1) * np.arange(flat.shape[1], 0, -1)
    told = np.zeros_like(flat, bool)
    np.put_along_axis(told, order, np.maximum.accumulate(steps, axis=1) <= FAMILY, 1)
    return np.asarray(told.reshape(p.shape))


def power(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Simulate campaigns of optimizers of which the first is better than the others, which are equal."""
    for optimizers, workloads in ((2, 1), (3, 1), (7, 1), (7, 2)):
        for shift in (0.004, 0.008, 0.016):
            for searches in (3, 5, 10):
                found, wrong, of = 0, 0, max(20, campaigns // 2)
                for _ in range(of):
                    shape = (optimizers, searches, 3)
                    made = [contest(f"u{i}", accuracies(rng, shape, [shift])) for i in range(workloads)]
                    told = comparisons(made)
                    pair = told[(told["workload"] == "u0") & (told["a"] == "o0") & (told["b"] == "o1")].iloc[0]
                    found += pair["verdict"] == "better"
                    wrong += pair["verdict"] == "worse"
                what = f"{optimizers} optimizers x {workloads}, {searches} searches"
                table.told(f"found of one pair: accuracy {shift} apart, {what}", found, of)
                table.at_most("    and told the wrong way round", wrong, of, 0.025)


def planned(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Put one optimizer as far before the others as a report or a dry run says that four campaigns in five find."""
    scatter = np.hypot(LOG_SEARCH, LOG_SEED / np.sqrt(3))
    for optimizers, workloads in ((2, 1), (3, 1), (7, 2)):
        pairs = optimizers * (optimizers - 1) // 2 * workloads
        for searches in (3, 5, 10):
            apart = scatter * found_apart(searches, pairs)
            found, of = 0, max(20, campaigns // 2)
            for _ in range(of):
                every = [gaps(rng, (optimizers, searches, 3)) for _ in range(workloads)]
                every[0][0] *= np.exp(-apart)
                told = comparisons([contest(f"v{i}", values, "log") for i, values in enumerate(every)])
                found += told.loc[(told["workload"] == "v0") & (told["b"] == "o1"), "verdict"].iloc[0] == "better"
            table.at_least(f"found: {optimizers} optimizers x {workloads}, {searches} searches", found, of, CHANCE)


def looks(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Confirm two equal optimizers on more and more seeds, or workloads, and read the report each time."""
    kinds = {"two configurations": ("configurations", (1,)), "an accuracy": ("verdict", (3, 5, 10)),
             "a gap": ("verdict", (3, 5, 10))}  # fmt: skip
    for name, (column, of_each) in kinds.items():
        for searches, numbers in itertools.product(of_each, ((3, 10), (10, 20), (3, 5, 10, 30))):
            wrong, shape = 0, (2, searches, max(numbers))
            for _ in range(campaigns):
                if name == "an accuracy":
                    values = accuracies(rng, shape)
                else:
                    values = gaps(rng, shape) if searches > 1 else 3e-4 * np.exp(LOG_SEED * rng.standard_normal(shape))
                scale: Scale = "linear" if name == "an accuracy" else "log"
                wrong += any(named([contest("v", values[..., :seeds], scale)], column) for seeds in numbers)
            of = f"{name}, {searches} searches" if searches > 1 else name
            what = f"named in one of {len(numbers)} reports, on {listing(list(map(str, numbers)))} seeds: {of}"
            table.told(what, wrong, campaigns)
    for numbers, scatter in itertools.product(((9, 10), (3, 6), (3, 6, 9, 12), tuple(range(2, 21))), (1.0, 5.0)):
        one, two = rng.standard_normal((2, campaigns, max(numbers), 3))
        means = (scatter * one[..., None] > two[..., None, :]).mean(axis=(2, 3))
        wrong = 0
        for campaign in means:
            ends = (mean_probability_interval(float(campaign[:n].mean()), [(3, 3)] * n) for n in numbers)
            wrong += any(low > 0.5 or high < 0.5 for low, high in ends)
        on = listing(list(map(str, numbers))) if len(numbers) < 5 else f"{numbers[0]} to {numbers[-1]}"
        what = f"told apart on the mean of workloads in one of {len(numbers)} reports, on {on}, 3 searches"
        table.told(f"{what}: one scatters {scatter:g} times as much", wrong, campaigns)


def ties(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Let runs and means of searches tie at the metric's resolution, with a ceiling at 1."""
    for searches, seeds in ((1, 3), (1, 5), (1, 10), (3, 3)):
        for steps in (95, 297):
            for spread in (0.25, 0.5, 1.0):
                for optimizers, workloads, share in ((2, 1, 1), (4, 2, 4), (8, 8, 40)):
                    wrong, of = 0, max(20, campaigns // share)
                    for _ in range(of):
                        shape = (workloads, optimizers, searches, seeds)
                        drawn = 0.985 + spread / steps * rng.standard_normal(shape)
                        drawn = np.minimum(np.round(drawn * steps) / steps, 1.0)
                        made = [contest(f"w{i}", values) for i, values in enumerate(drawn)]
                        wrong += named(made, "configurations" if searches == 1 else "verdict")
                    what = f"{searches} searches of {seeds} seeds" if searches > 1 else f"{seeds} seeds"
                    table.at_most(
                        f"ties: {optimizers} equal x {workloads}, {what}, steps of 1/{steps}, sd {spread} steps",
                        wrong,
                        of,
                    )


def coverage(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Count how often intervals of a typical run, and of a pair's probability of improvement, hold it."""

    def collapsing(shape: tuple[int, int]) -> Floats:
        values = 0.98 + 0.005 * rng.standard_normal(shape)
        return np.where(rng.random(shape) < 0.1, 0.2 + 0.1 * rng.random(shape), values)

    kinds: dict[str, Callable[[tuple[int, int]], Floats]] = {
        "normal": lambda shape: rng.standard_normal(shape),
        "t, 2 degrees of freedom": lambda shape: rng.standard_t(2, shape),
        "lognormal, ln 2": lambda shape: np.exp(np.log(2) * rng.standard_normal(shape)),
        "lognormal, 1": lambda shape: np.exp(rng.standard_normal(shape)),
        "one in ten collapses": collapsing,
    }
    for name, draw in kinds.items():
        truth = float(np.median(draw((1, 1_000_001))))
        for runs in (3, 5, 10):
            found = [typical(values) for values in draw((4 * campaigns, runs))]
            told = [one for one in found if not np.isnan(one[1])]
            held = sum(one[1] <= truth <= one[2] for one in told)
            table.at_least(f"covers the typical run: {name}, {runs} runs", held, len(told))
            table.told("    has an interval", len(told), len(found))
    for searches, workloads, scatter in itertools.product((3, 5), (1, 2, 4, 9), (1.0, 2.0, 5.0, 20.0)):
        one, two = rng.standard_normal((2, 4 * campaigns, workloads, searches))
        means = (scatter * one[..., None] > two[..., None, :]).mean(axis=(1, 2, 3))
        ends = [mean_probability_interval(float(mean), [(searches, searches)] * workloads) for mean in means]
        held = sum(low <= 0.5 <= high for low, high in ends)
        what = f"{searches} searches on {number_of(workloads, 'workload')}, one scatters {scatter:g} times as much"
        table.at_least(f"covers one half: {what}", held, len(ends), 0.94)
    scales: dict[str, Callable[[tuple[int, int, int]], WorkloadRuns]] = {
        "an accuracy": lambda shape: contest("u", accuracies(rng, shape)),
        "a gap": lambda shape: contest("v", gaps(rng, shape), "log"),
    }
    for name, make in scales.items():
        for searches in (3, 5):
            pairs = [comparisons([make((2, searches, 3))]).iloc[0] for _ in range(campaigns)]
            held = sum(row["probability_low"] <= 0.5 <= row["probability_high"] for row in pairs)
            table.at_least(f"covers one half: a pair of equal optimizers, {name}, {searches} searches", held, campaigns)


def redrawn(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Simulate single random searches without pruning, of which the best five are confirmed on two seeds each."""
    for shift in (0.0, 0.008, 0.016):
        found = [comparisons([_topped(rng, (shift, 0.0))])["verdict"].iloc[0] for _ in range(max(20, campaigns // 2))]
        if shift:
            table.told(
                f"found: accuracy {shift} apart, one random search, --top 5 --seeds 2",
                found.count("better"),
                len(found),
            )
        else:
            wrong = len(found) - found.count(NOT_SHOWN)
            table.at_most("named: 2 equal optimizers, one random search, --top 5 --seeds 2", wrong, len(found))


def _topped(rng: np.random.Generator, centres: Sequence[float], num_trials: int = 30) -> WorkloadRuns:
    """Return two searches of configurations whose accuracies fall off below the best as random ones do."""
    rows, trials, first = [], [], []
    for i, centre in enumerate(centres):
        study = dataclasses.replace(_study("u", f"o{i}", 1, "maximize"), campaign=_RANDOM)
        first.append(study)
        true = 0.975 + centre - rng.exponential(0.012, num_trials)
        tuned = true + 0.003 * rng.standard_normal(num_trials)
        trials += [(study.name, at, "complete", value, {}, 0, False) for at, value in enumerate(tuned)]
        for place, at in enumerate(np.argsort(-tuned)[:5], start=1):
            for seed in range(2):
                value = round((true[at] + SEED * rng.standard_normal()) * EXAMPLES) / EXAMPLES
                rows.append((study.name, 1, 2 * place + seed, 1000 + seed, "complete", value, value, 1.0, 1.0, "cpu",
                             True, int(at), 0.1, 2, False, place))  # fmt: skip
    runs = pd.DataFrame(rows, columns=[*_RUN, "place"])
    wins = runs["place"] == 1
    base = contest("u", np.zeros((2, 1, 1)))
    frame = pd.DataFrame(trials, columns=list(base.trials))
    return dataclasses.replace(
        base, studies=tuple(first), searches={}, trials=frame, runs=runs[wins].drop(columns="place"), below=runs[~wins]
    )


def scores(table: Table, rng: np.random.Generator, campaigns: int) -> None:
    """Count how often intervals of interquartile means of equal optimizers leave each other out."""
    for optimizers, workloads, searches in ((2, 1, 3), (7, 2, 3), (3, 2, 5)):
        apart, of = 0, max(20, campaigns // 5)
        for _ in range(of):
            made = [contest(f"w{i}", accuracies(rng, (optimizers, searches, 3))) for i in range(workloads)]
            found = aggregate(made, rng)
            apart += float(found["low"].max()) > float(found["high"].min())
        table.at_most(f"scores apart: {optimizers} equal x {workloads}, {searches} searches", apart, of)


def main() -> int:
    """Print all tables; return 1 where a rate was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=1000, help="of each row; some rows take fewer")
    parts = {
        "equal": equal_optimizers,
        "unequal": unequal,
        "moderated": moderated,
        "power": power,
        "planned": planned,
        "looks": looks,
        "ties": ties,
        "redrawn": redrawn,
        "coverage": coverage,
    }
    parts["scores"] = scores
    parser.add_argument("--part", choices=list(parts), action="append", help="one of them, by default all")
    options = parser.parse_args()
    table = Table()
    for name, part in parts.items():
        if not options.part or name in options.part:
            part(table, np.random.default_rng(0), options.campaigns)
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
