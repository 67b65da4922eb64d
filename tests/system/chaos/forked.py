"""Drivers without Ray that start in no time: so many can be killed that the moments between two writes are among them.

Each is a process forked from one that has imported everything. It opens the ledger as ``sofim launch`` does and trains
the trials itself, several at once, an epoch of each in turn, with a checkpoint after each.
"""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from collections import deque
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.chaos.home import WORKLOAD, Home

if TYPE_CHECKING:  # loaded in time by the process that the drivers are forked from
    from studies.ledger import Ledger
    from studies.storage.durability import Checkpoints
    from studies.training.run import Run
    from studies.trials import Assignment
    from studies.workloads import Workload

SLOTS = 3
KEPT = "kept"  # directory of checkpoints
CONTINUED = "continued"  # file with a line for each trial that went on from one
_IMPORTED = [
    *(
        "__main__",
        "sofim",
        "studies.campaign.resolve",
        "studies.commands.launch",
        "studies.ledger",
        "studies.training.run",
        "studies.training.checkpoints",
    ),
    # what these import when they need it
    *("alembic.command", "psycopg", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "torch._dynamo"),
]


def prepare() -> None:
    """Returns when the process that has imported everything is there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    nothing = context.Process(target=_imported)
    nothing.start()
    nothing.join()


def _imported() -> None:
    pass


def start(home: Home, url: str, number: int) -> BaseProcess:
    """A driver of a campaign; what goes wrong in it is in ``driver-{number}.err`` beside the campaign's file."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_drive, args=(home, url, number), name=f"driver {number}")
    process.start()
    return process


def _drive(home: Home, url: str, number: int) -> None:
    import torch

    from studies.campaign.reading import load
    from studies.campaign.resolve import ResolvedCampaign
    from studies.ledger import open_search
    from studies.storage.durability import Checkpoints, Durability
    from tests.system.chaos import chaos_workload

    torch.set_num_threads(1)
    chaos_workload.NAP_SECONDS = home.nap_seconds
    checkpoints = Checkpoints(home.directory / KEPT)
    try:
        plan = load(home.directory / "chaos.toml")
        workload = chaos_workload.shaken()
        plans = ResolvedCampaign(plan, {WORKLOAD: workload}).study_plans()
        safe = Durability(checkpoints=checkpoints)
        with open_search(url, plan.stored(), plans, {}, durability=safe) as ledger:
            _Work(ledger, workload, checkpoints, home.directory / CONTINUED).off()
    except BaseException:
        (home.directory / f"driver-{number}.err").write_text(traceback.format_exc())
        sys.exit(1)


class _Work:
    """What a driver and its workers do, without either."""

    def __init__(self, ledger: Ledger, workload: Workload, checkpoints: Checkpoints, continued: Path) -> None:
        self._ledger, self._workload, self._checkpoints = ledger, workload, checkpoints
        self._data = workload.load(None)
        self._running: deque[tuple[Assignment, Run, list[dict[str, float]]]] = deque()
        self._continued = continued

    def off(self) -> None:
        """Runs all that is left."""
        while True:
            while len(self._running) < SLOTS and (assignment := self._ledger.ask()) is not None:
                self._begin(assignment)
            if not self._running:
                return
            self._next_epoch(*self._running.popleft())

    def _begin(self, assignment: Assignment) -> None:
        from sofim import OPTIMIZERS
        from studies.training.checkpoints import restore
        from studies.training.run import Run

        run = Run(
            self._workload, OPTIMIZERS[assignment.optimizer], assignment.arguments,
            seed=assignment.seed, budget=assignment.epochs, data=self._data,
        )  # fmt: skip
        content = self._checkpoints.load(assignment.checkpoint)
        found = None if content is None else restore(run, content, {"trial": assignment.checkpoint})
        assert (found is None) == (content is None), "whoever was killed while it saved left a torn one"
        records = [] if found is None else found.records
        if found is not None:
            with self._continued.open("a") as file:
                file.write(f"{assignment.checkpoint} from {run.epoch}\n")
        if not self._tell(assignment, run, records):
            self._running.append((assignment, run, records))

    def _next_epoch(self, assignment: Assignment, run: Run, records: list[dict[str, float]]) -> None:
        from studies.training.checkpoints import snapshot

        fields = asdict(run.next_epoch())
        records.append({name: value for name, value in fields.items() if name != "diverged" and value is not None})
        self._checkpoints.save(assignment.checkpoint, snapshot(run, {"trial": assignment.checkpoint}, records, 0.0))
        if not self._tell(assignment, run, records[-1:]):
            self._running.append((assignment, run, records))

    def _tell(self, assignment: Assignment, run: Run, records: list[dict[str, float]]) -> bool:
        """Tells the ledger of epochs; returns whether the trial has ended."""
        facts = {"device": "cpu"}
        if any(self._ledger.report(assignment, record) for record in records):
            self._ledger.end(assignment, "pruned", facts)
        elif run.diverged:
            self._ledger.end(assignment, "diverged", facts)
        elif run.finished:
            self._ledger.end(assignment, "complete", facts)
        else:
            return False
        return True
