"""Campaigns as frames, without a database: what `analysis.load` would give of studies whose numbers a test decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison, compare
from analysis.comparison.workload_runs import WorkloadRuns, contests
from analysis.parameters import ParameterInfo
from analysis.schema import study_name
from analysis.study import Frames, Study

EPOCHS = 4
TRIAL = ["study", "workload", "optimizer", "number", "outcome", "value", "seconds", "gradient_evaluations", "failure",
         "params", "seed", "tested"]  # fmt: skip
CONFIRMED = [*TRIAL, "confirms", "rank", "exclusive", "device", "test_loss", "test_metric"]
CURVE = ["study", "number", "epoch", "value", "seconds", "gradient_evaluations", "train_loss", "validation_loss"]
BROKEN = ("diverged", "failed", "lost", "running", "pruned")

Run = float | str
"""The value of a complete run or trial, or the word for how it ended."""

Runs = Sequence[Run] | Sequence[Sequence[Run]]
"""The runs of the winner of one search, or of each of several."""


@dataclass
class Made:
    """Studies and their frames; change what is to be different."""

    studies: list[Study]
    trials: pd.DataFrame
    confirmations: pd.DataFrame
    curves: pd.DataFrame

    def contests(self) -> list[WorkloadRuns]:
        return contests(self.studies, self.trials, self.confirmations, self.curves)

    def compare(self, seed: int = 0, **options: Any) -> Comparison:
        frames = Frames(self.trials, pd.DataFrame(columns=CURVE), self.confirmations)
        return compare(self.studies, frames, self.curves, np.random.default_rng(seed), **options)

    def shuffled(self, seed: int) -> Made:
        rng = np.random.default_rng(seed)
        frames = (self.trials, self.confirmations, self.curves)
        mixed = [frame.iloc[rng.permutation(len(frame))].reset_index(drop=True) for frame in frames]
        return Made(self.studies, *mixed)


def study(workload: str, optimizer: str, direction: str = "maximize", replicate: int = 1, **campaign: Any) -> Study:
    fields = {"name": "made", "trials": 3, "sampler": "random", "pruner": "none", "schedule": "constant", "seed": 0}
    attributes: dict[str, Any] = {
        "protocol": 1,
        "epochs": EPOCHS,
        "versions": {"torch": "x"},
        "metric_split": "validation",
    }
    if replicate > 1:
        attributes["replicate"] = replicate
    return Study(
        study_id=0,
        name=study_name("made", workload, optimizer, replicate),
        campaign=fields | campaign,
        workload=workload,
        optimizer=optimizer,
        metric="accuracy" if direction == "maximize" else "loss",
        direction=direction,
        attributes=attributes,
        parameters={"lr": ParameterInfo("lr", "float", 1e-3, 10.0, log=True, default=0.1)},
    )


def made(
    runs: Mapping[str, Mapping[str, Runs]],
    *,
    direction: str = "maximize",
    trials: Mapping[str, Mapping[str, Sequence[Run]]] | None = None,
    speed: Mapping[str, float] | None = None,
    test: bool = True,
    **campaign: Any,
) -> Made:
    """A campaign.

    Args:
        runs: by workload and optimizer, the confirmation runs, or a list of these for each search. A complete one gets
            to its value in straight steps from half of it (from twice of it, where less is better); its test metric is
            the same.
        direction: of all metrics.
        trials: the same of the trials of tuning; 0.5, 0.6 and 0.7 where not given.
        speed: seconds of an epoch by optimizer, 1 where not given.
        test: whether runs have a test metric.
        campaign: fields of its configuration.
    """
    searches = [
        (workload, optimizer, replicate, one)
        for workload, own in runs.items()
        for optimizer, every in own.items()
        for replicate, one in enumerate(_searches(every), start=1)
    ]
    names = list(dict.fromkeys(optimizer for _, optimizer, *_ in searches))
    studies = [study(w, o, direction, number, **{"optimizers": names} | campaign) for w, o, number, _ in searches]
    rows, confirmed, curves = [], [], []
    for found, (w, o, which, own_runs) in zip(studies, searches, strict=True):
        usual = [0.5, 0.6, 0.7 + 0.001 * (which - 1)]
        tuned = (trials or {}).get(w, {}).get(o, usual)
        rows += [_trial(found, number, value) for number, value in enumerate(tuned)]
        best = _best(tuned, direction)
        for number, value in enumerate(own_runs):
            row = _trial(found, number, value, (speed or {}).get(o, 1.0))
            tested = (1.0, row[5]) if test and row[4] == "complete" else (math.nan, math.nan)
            confirmed.append((*row[:-2], 1000 + number, test, best, 1, True, "cpu", *tested))
            curves += _curve(found, number, value, (speed or {}).get(o, 1.0))
    confirmations = pd.DataFrame(confirmed, columns=CONFIRMED)
    kinds = {"confirms": "Int64", "rank": "Int64", "exclusive": "boolean", "seed": "Int64", "value": "float64"}
    confirmations = confirmations.astype(kinds).assign(other_cores=0.1, cores=2)
    if not test:
        confirmations = confirmations.drop(columns=["test_loss", "test_metric"])
    return Made(
        studies,
        pd.DataFrame(rows, columns=TRIAL).astype({"value": "float64", "seed": "Int64", "tested": "bool"}),
        confirmations,
        pd.DataFrame(curves, columns=CURVE).astype({"value": "float64", "epoch": "int64", "number": "int64"}),
    )


def _searches(every: Runs) -> Sequence[Sequence[Run]]:
    nested = [one for one in every if not isinstance(one, float | int | str)]
    return nested if nested else [[one for one in every if isinstance(one, float | int | str)]]


def _best(tuned: Sequence[Run], direction: str) -> int | None:
    values = [(value, number) for number, value in enumerate(tuned) if not isinstance(value, str)]
    if not values:
        return None
    return min(values, key=lambda pair: (-pair[0] if direction == "maximize" else pair[0], pair[1]))[1]


def _trial(found: Study, number: int, value: Run, speed: float = 1.0) -> tuple[Any, ...]:
    outcome = value if isinstance(value, str) else "complete"
    assert outcome in ("complete", *BROKEN)
    number_value = math.nan if isinstance(value, str) else value
    params = {"lr": 0.1, "batch_size": 32}
    cost = (speed * EPOCHS, 10.0 * EPOCHS)
    return (found.name, found.workload, found.optimizer, number, outcome, number_value, *cost, None, params, 0, False)


def _curve(found: Study, number: int, value: Run, speed: float) -> list[tuple[Any, ...]]:
    if isinstance(value, str):
        return [(found.name, number, 1, math.nan, speed, 10.0, math.nan, math.nan)]
    start = value / 2 if found.direction == "maximize" else value * 2
    steps = [value if e == EPOCHS else start + (value - start) * (e - 1) / (EPOCHS - 1) for e in range(1, EPOCHS + 1)]
    return [(found.name, number, e, v, speed * e, 10.0 * e, 2 / e, 3 / e) for e, v in enumerate(steps, start=1)]
