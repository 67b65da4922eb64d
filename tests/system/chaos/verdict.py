"""What a database must hold after all that: read by Optuna, and compared with runs that nothing disturbed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sofim import OPTIMIZERS
from studies.campaign.reading import load
from studies.training.run import Record, train
from tests.system.chaos import chaos_workload
from tests.system.chaos.home import EPOCHS, SEED, WORKLOAD, Home
from tests.system.chaos.home import OPTIMIZERS as KEYS

_AGAIN = ("driver lost", "interrupted")  # failures of attempts that do not count, since they are made again


@dataclass(frozen=True)
class Verdict:
    """The studies of a campaign that has ended.

    Attributes:
        home: of the campaign.
        studies: the trials of each, in the order of their numbers, by optimizer.
        driver: what is left of the lease.
    """

    home: Home
    studies: dict[str, list[FrozenTrial]]
    driver: Any

    @classmethod
    def of(cls, home: Home, url: str) -> Verdict:
        storage = optuna.storages.RDBStorage(url)
        try:
            studies = {key: optuna.load_study(study_name=f"chaos/{WORKLOAD}/{key}", storage=storage) for key in KEYS}
            names = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
            assert names == {study.study_name for study in studies.values()}
            trials = {key: study.get_trials() for key, study in studies.items()}
            return cls(home, trials, studies[KEYS[0]].user_attrs.get("driver"))
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def check(self) -> None:
        """The campaign is as if nothing had happened, but for lost attempts, each made again."""
        assert self.driver is None, "the lease was given back"
        for key, trials in self.studies.items():
            _check_numbers(key, trials, self.home.trials)
            _check_origins(key, trials)
            for trial in trials:
                where = f"{key}, trial {trial.number} ({trial.state.name})"
                records = self.undisturbed[key, origin_of(trial)]
                if counts(trial):
                    _check_ended(where, trial, records)
                else:
                    _check_lost(where, trial, records)

    @cached_property
    def undisturbed(self) -> dict[tuple[str, int], list[Record]]:
        """All epochs of each configuration, by optimizer and origin, trained here and now."""
        spaces = load(self.home.directory / "chaos.toml").spaces
        workload = chaos_workload.shaken()
        data = workload.load(None)
        return {
            (key, origin_of(trial)): list(
                train(workload, OPTIMIZERS[key], spaces[key].arguments(trial.params), SEED, EPOCHS, data=data)
            )
            for key, trials in self.studies.items()
            for trial in trials
            if counts(trial)
        }

    @property
    def lost(self) -> int:
        """How many attempts were lost."""
        return sum(not counts(trial) for trials in self.studies.values() for trial in trials)

    def endings(self) -> Counter[str]:
        """How many trials ended how."""
        return Counter(
            "lost" if not counts(trial) else "diverged" if trial.user_attrs["diverged"] else trial.state.name
            for trials in self.studies.values()
            for trial in trials
        )

    def spells(self) -> list[tuple[int, tuple[str, int], int]]:
        """What workers trained of which trial: process, trial (optimizer and origin), and the first epoch of it.

        Those alone whose trial can be told by the metric of their first epoch.
        """
        places: dict[float, list[tuple[tuple[str, int], int]]] = {}
        for trial, records in self.undisturbed.items():
            for record in records:
                places.setdefault(record.metric, []).append((trial, record.epoch))
        found = [(spell.pid, places.get(spell.values[0], [])) for spell in self.home.spells() if spell.values]
        return [(pid, *place[0]) for pid, place in found if len(place) == 1]

    def cut_short(self, pids: list[int]) -> int:
        """How many of these workers died in a trial that another worker had to go on with."""
        spells = self.spells()
        last = {pid: place for place, (pid, _, _) in enumerate(spells)}
        return sum(
            any(trial == spells[last[pid]][1] for _, trial, _ in spells[last[pid] + 1 :]) for pid in pids if pid in last
        )

    def continued(self) -> int:
        """How often a worker went on with what another had begun, instead of beginning again."""
        return sum(first > 1 for _, _, first in self.spells())


def counts(trial: FrozenTrial) -> bool:
    """Whether it is one of those that were asked for, not an attempt that was made again."""
    return trial.user_attrs.get("failure") not in _AGAIN


def origin_of(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("retry_of", trial.number))


def _check_numbers(key: str, trials: list[FrozenTrial], asked_for: int) -> None:
    assert [trial.number for trial in trials] == list(range(len(trials))), key
    states = Counter(trial.state for trial in trials)
    assert not states[TrialState.RUNNING] + states[TrialState.WAITING], (key, states)
    failures = [trial.user_attrs["failure"] for trial in trials if trial.state == TrialState.FAIL and counts(trial)]
    assert not failures, (key, failures)  # nothing breaks here, and no trial loses four workers
    assert sum(map(counts, trials)) == asked_for, (key, states)


def _check_origins(key: str, trials: list[FrozenTrial]) -> None:
    origins = Counter(origin_of(trial) for trial in trials if counts(trial))
    assert set(origins.values()) <= {1}, (key, origins)
    attempts: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        attempts.setdefault(origin_of(trial), []).append(trial)
    assert set(attempts) == set(origins), (key, "lost and never made again")
    for origin, of_one in attempts.items():
        assert of_one[0].number == origin, (key, origin)
        assert [counts(trial) for trial in of_one] == [False] * (len(of_one) - 1) + [True], (key, origin)
        for one, next_one in pairwise(of_one):
            assert one.params == next_one.params, (key, origin)
            assert one.distributions == next_one.distributions, (key, origin)


def _check_ended(where: str, trial: FrozenTrial, records: list[Record]) -> None:
    history = trial.user_attrs["history"]
    epochs = len(history["epoch"])
    expected = {
        "epoch": [record.epoch for record in records[:epochs]],
        "gradient_evaluations": [record.gradient_evaluations for record in records[:epochs]],
        "train_loss": [_stored(record.train_loss) for record in records[:epochs]],
        "validation_loss": [_stored(record.validation_loss) for record in records[:epochs]],
        "brier": [_stored(record.metric) for record in records[:epochs]],
    }
    assert {name: column for name, column in history.items() if name != "seconds"} == expected, where
    seconds = history["seconds"]
    assert len(seconds) == epochs, where
    assert all(earlier < later for earlier, later in pairwise([0.0, *seconds])), where
    values = {record.epoch: record.metric for record in records[:epochs] if math.isfinite(record.metric)}
    assert trial.intermediate_values == values, where
    assert trial.user_attrs["gradient_evaluations"] == records[epochs - 1].gradient_evaluations, where
    assert trial.user_attrs["seed"] == SEED, where
    assert trial.user_attrs["diverged"] == records[epochs - 1].diverged, where
    if trial.state == TrialState.COMPLETE:
        assert epochs == EPOCHS, where
        assert trial.value == min(values.values()), where
    else:
        assert trial.state == TrialState.PRUNED, where
        assert trial.value == (values[max(values)] if values else None), where


def _check_lost(where: str, trial: FrozenTrial, records: list[Record]) -> None:
    assert trial.state == TrialState.FAIL, where
    values = {record.epoch: record.metric for record in records}
    known = trial.intermediate_values
    assert sorted(known) == list(range(1, len(known) + 1)), where
    assert all(value == values[epoch] for epoch, value in known.items()), where


def _stored(number: float) -> float | None:
    return number if math.isfinite(number) else None
