"""What passes between ledger, engine, worker and progress: plain data, free of Optuna, Ray and torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

Outcome = Literal["complete", "pruned", "diverged", "failed", "interrupted"]
"""How a trial ends."""

Runs = Literal["trials", "confirmation runs", "evaluation runs"]
"""What is run in a study."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Where trials run.

    Attributes:
        address: Of a running Ray cluster to join; ``None``: this machine alone (or the Ray that this process started).
        cpus_per_trial: Logical CPUs a trial holds, above 0; ``None``: as many as leave each alone on its device, all of
            a node's without GPUs, else its part of the CPUs beside each GPU, at most 1.
        gpus_per_trial: Share of a GPU a trial holds, 0 for none; 0.25 packs four trials on a GPU.
        code: Directories or files that the nodes need besides this project, for a user's own workloads and
            optimizers.
        cpus: Of this machine, at most; ``None``: as many as this process may use.
        gpus: The same of GPUs.
    """

    address: str | None = None
    cpus_per_trial: float | None = 1.0
    gpus_per_trial: float = 0.0
    code: tuple[Path, ...] = ()
    cpus: int | None = None
    gpus: int | None = None

    def for_one_run_alone(self) -> Resources:
        """Return the same place for runs that are each alone on a device, a GPU if trials had a share of one."""
        gpus = max(self.gpus_per_trial, 1.0) if self.gpus_per_trial else 0.0
        return replace(self, cpus_per_trial=None, gpus_per_trial=gpus)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One trial to run: JSON-able, all that a worker needs.

    Attributes:
        study: Name of the study.
        number: Of the trial in it.
        workload: Key of ``WORKLOADS``, or ``package.module:factory``.
        optimizer: Key of ``OPTIMIZERS``, or of the campaign's own.
        arguments: The optimizer's keyword arguments, and ``batch_size``.
        seed: Of initial weights and data order.
        epochs: The whole budget.
        confirmation: Whether it is a confirmation run.
        test: Whether test data are looked at, which confirmation runs alone may.
        split: The seed by which examples are drawn again; ``None``: the workload's own parts.
        checkpoint: What its checkpoint is called, that of the trial that it repeats if it does; empty: it has none.
        chosen_batch_size: Whether its batch size is none that the person fixed, so that a loop of theirs must use it.
    """

    study: str
    number: int
    workload: str
    optimizer: str
    arguments: dict[str, Any]
    seed: int
    epochs: int
    confirmation: bool = False
    test: bool = False
    split: int | None = None
    checkpoint: str = ""
    chosen_batch_size: bool = False


@dataclass(frozen=True, slots=True)
class Failing:
    """Why an optimizer fails of whose ``trials`` every one has failed: ``count`` of them for this ``reason``."""

    optimizer: str
    count: int
    trials: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a study is. ``best`` is a value of the metric, ``None`` before the first.

    ``seconds`` is the training time of the trials that ended, and ``best_params`` what the best of them ran with.
    ``runs`` says what was run; of other than trials of a search, ``best`` is the mean of those that are complete,
    in a confirmation of the first winner's.
    ``asked_for`` is ``None`` where something else than the number of trials ends the study, and ``since_best`` counts
    the trials that ended after the best one. ``replicate`` counts the studies of one workload and optimizer.
    ``failing`` has the optimizers (a search with a budget has several) whose every trial failed so far.
    """

    study: str
    workload: str
    optimizer: str
    metric: str
    direction: str
    asked_for: int | None
    complete: int
    pruned: int
    diverged: int
    failed: int
    running: int
    best: float | None
    best_params: Mapping[str, Any]
    seconds: float
    stopped: str | None
    runs: Runs = "trials"
    replicate: int = 1
    since_best: int = 0
    failing: tuple[Failing, ...] = ()

    @property
    def label(self) -> str:
        """Return what tells the study from the others on its workload."""
        return self.optimizer if self.replicate == 1 else f"{self.optimizer} #{self.replicate}"

    @property
    def done(self) -> int:
        """Return how many trials count: complete, pruned, diverged and failed ones."""
        return self.complete + self.pruned + self.diverged + self.failed

    @property
    def missing(self) -> int:
        """Return how many trials the study still asks for; 0 where it is stopped, or their number does not end it."""
        return 0 if self.stopped is not None or self.asked_for is None else max(0, self.asked_for - self.done)


@dataclass(frozen=True, slots=True)
class LoggedTrial:
    """A trial as others than the database hear of it.

    Attributes:
        key: The same for this trial alone, whichever driver tells of it and whatever else is called as its study.
        study: Name of the study.
        number: Of the trial in it.
        params: Its configuration, stored names and values.
        tags: Of what it is a trial: ``campaign``, ``workload``, ``optimizer`` and others.
    """

    key: str
    study: str
    number: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a trial ended, ``values`` being what it is worth as a whole, and ``failure`` why it broke: one line."""

    outcome: Outcome
    values: Mapping[str, float]
    failure: str | None = None


class Listener(Protocol):
    """Hears of trials as they go; no method may take time or raise anything."""

    def settled(self, trial: LoggedTrial, ending: Ending) -> None:
        """Hear of a trial of an earlier driver that has ended, whether that driver told of it or not."""

    def began(self, trial: LoggedTrial) -> None:
        """Hear that a trial begins."""

    def heard(self, trial: LoggedTrial, record: Mapping[str, float]) -> None:
        """Hear of one epoch: ``epoch``, ``seconds``, …, and the metric by its name."""

    def ended(self, trial: LoggedTrial, ending: Ending) -> None:
        """Hear how a trial ended."""
