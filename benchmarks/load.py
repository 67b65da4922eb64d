"""Time to read a study: `analysis.load` against Optuna's ``study.get_trials()``, from one SQLite file.

    python benchmarks/load.py [--trials 10000] [--epochs 20] [--rounds 3] [--no-history]

The file is made for the occasion, as a driver would have written it: SOFIM's parameters, the attributes of every
trial and, unless left out, its history. Both readers take turns, each with a storage just opened, which keeps nothing
of the round before. Read the ratios; the seconds are those of this machine at this hour.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models

from analysis.load import read, study
from search_spaces import SEARCH_SPACES

if TYPE_CHECKING:
    from collections.abc import Callable

STUDY = "load/digits-mlp/sofim"
_FINITE_VALUE = models.TrialValueModel.TrialValueType.FINITE
_FINITE_POINT = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
EVERY_SO_MANY = {"failed": 50, "diverged": 10, "pruned": 4}  # every fiftieth trial fails, and so on


def build(url: str, *, trials: int, epochs: int, history: bool = True, seed: int = 0) -> None:
    """Make a database with one study of a campaign, its rows put straight into Optuna's tables.

    Args:
        url: SQLAlchemy's; there must be no study of that name yet.
        trials: how many. Some are pruned halfway, some diverge at once, some fail.
        epochs: of a trial that is complete.
        history: whether trials have their columns by epoch, as those of campaigns do.
        seed: of the values.
    """
    storage = RDBStorage(url)
    space = SEARCH_SPACES["sofim"]
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], STUDY)
    described = {
        "workload": "digits-mlp",
        "optimizer": "sofim",
        "metric": "accuracy",
        "search_space": space.to_dict(),
        "campaign": {"name": "load", "workloads": ["digits-mlp"], "optimizers": ["sofim"], "trials": trials},
        "protocol": 1,
    }
    for name, value in described.items():
        storage.set_study_user_attr(study_id, name, value)
    rng = np.random.default_rng(seed)
    rows: dict[Any, list[dict[str, object]]] = {
        model: []
        for model in (
            models.TrialModel,
            models.TrialParamModel,
            models.TrialValueModel,
            models.TrialUserAttributeModel,
            models.TrialIntermediateValueModel,
        )
    }
    written = {name: distribution_to_json(d) for name, d in space.stored_distributions().items()}
    began = datetime(2026, 1, 1)
    with storage.engine.connect() as connection:
        first = 1 + (connection.scalar(sa.select(sa.func.max(models.TrialModel.trial_id))) or 0)
    for number in range(trials):
        key: dict[str, object] = {"trial_id": first + number}
        outcome = next((word for word, every in EVERY_SO_MANY.items() if number % every == every - 1), "complete")
        ran = {"complete": epochs, "pruned": max(1, epochs // 2), "diverged": 1, "failed": 0}[outcome]
        state = {"complete": "COMPLETE", "failed": "FAIL"}.get(outcome, "PRUNED")
        # SQLAlchemy names the columns of the times as the database does
        times = {"datetime_start": began, "datetime_complete": began + timedelta(seconds=ran)}
        rows[models.TrialModel].append(
            key | times | {"number": number, "study_id": study_id, "state": optuna.trial.TrialState[state]}
        )
        for name, parameter in space.parameters.items():
            stored = parameter.decode(_draw(parameter.search_distribution, rng))
            internal = float(stored)  # no parameter of SOFIM is categorical
            rows[models.TrialParamModel].append(
                key | {"param_name": name, "param_value": internal, "distribution_json": written[name]}
            )
        values = np.sort(rng.uniform(0.1, 1.0, ran)).tolist()
        for epoch, value in enumerate(values, 1):
            rows[models.TrialIntermediateValueModel].append(
                key | {"step": epoch, "intermediate_value": value, "intermediate_value_type": _FINITE_POINT}
            )
        if values:
            rows[models.TrialValueModel].append(
                key | {"objective": 0, "value": values[-1], "value_type": _FINITE_VALUE}
            )
        attributes: dict[str, object] = {
            "seed": seed,
            "device": "cpu",
            "seconds": float(ran),
            "gradient_evaluations": 100 * ran,
            "diverged": outcome == "diverged",
        }
        if outcome == "failed":
            attributes["failure"] = "Traceback (most recent call last):\n  ...\nValueError: no"
        elif history:
            losses = rng.exponential(size=(2, ran)).tolist()
            attributes["history"] = {
                "epoch": list(range(1, ran + 1)),
                "seconds": [float(epoch) for epoch in range(1, ran + 1)],
                "gradient_evaluations": [100 * epoch for epoch in range(1, ran + 1)],
                "train_loss": losses[0],
                "validation_loss": losses[1],
                "accuracy": values,
            }
        rows[models.TrialUserAttributeModel] += [
            key | {"key": name, "value_json": json.dumps(value)} for name, value in attributes.items()
        ]
    with storage.engine.begin() as connection:
        for model, listed in rows.items():
            if listed:
                connection.execute(sa.insert(model.__table__), listed)
    storage.engine.dispose()


def _draw(distribution: optuna.distributions.BaseDistribution, rng: np.random.Generator) -> float | int:
    assert isinstance(distribution, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution)
    low, high = distribution.low, distribution.high
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if distribution.log else rng.uniform(low, high)
    value = min(max(value, low), high)
    return round(value) if isinstance(distribution, optuna.distributions.IntDistribution) else value


def by_analysis(url: str) -> int:
    """Read all frames; return the number of trials and epochs, so that both readers can be seen to read the same."""
    storage = RDBStorage(url)
    frames = read(storage, [study(storage, STUDY)])
    storage.engine.dispose()
    return len(frames.trials) + int(frames.curves["value"].notna().sum())


def by_optuna(url: str, *, deepcopy: bool) -> int:
    storage = RDBStorage(url)
    found = optuna.load_study(study_name=STUDY, storage=storage).get_trials(deepcopy=deepcopy)
    storage.engine.dispose()
    return len(found) + sum(len(trial.intermediate_values) for trial in found)


READERS: dict[str, Callable[[str], int]] = {
    "analysis.load.read": by_analysis,
    "study.get_trials()": lambda url: by_optuna(url, deepcopy=True),
    "study.get_trials(deepcopy=False)": lambda url: by_optuna(url, deepcopy=False),
}


def measure(url: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of every reader in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    sizes = set()
    for _ in range(rounds):
        for name, reader in READERS.items():
            began = time.perf_counter()
            sizes.add(reader(url))
            seconds[name].append(time.perf_counter() - began)
    assert len(sizes) == 1, f"the readers disagree: {sizes}"
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-history", action="store_true")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'load.db'}"
        build(url, trials=options.trials, epochs=options.epochs, history=not options.no_history)
        size = (Path(folder) / "load.db").stat().st_size
        seconds = measure(url, options.rounds)
    print(
        f"{options.trials} trials of at most {options.epochs} epochs, {size / 2**20:.0f} MiB; "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, Optuna {optuna.__version__}, SQLAlchemy {sa.__version__}"
    )
    ours = seconds["analysis.load.read"]
    for name, listed in seconds.items():
        ratios = [theirs / mine for theirs, mine in zip(listed, ours, strict=True)]
        print(
            f"{name:34} {statistics.median(listed):7.2f} s   "
            f"{statistics.median(ratios):5.1f} × (from {min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
