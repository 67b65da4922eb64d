"""Drivers without Ray that start in no time: so many can be killed that the moments between two writes are among them.

Each is a process forked from one that has imported everything. It opens the ledger as ``sofim launch`` does and trains
the trials itself, several at once, an epoch of each in turn.
"""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

from tests.chaos.home import WORKLOAD, Home

SLOTS = 3
_IMPORTED = [
    *("__main__", "sofim", "studies.launch", "studies.ledger", "studies.training"),
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

    from studies.campaign import Campaign
    from studies.launch import Blueprint
    from studies.ledger import Ledger
    from tests.chaos import chaos_workload

    torch.set_num_threads(1)
    chaos_workload.NAP_SECONDS = home.nap_seconds
    try:
        campaign = Campaign.from_file(home.directory / "chaos.toml")
        workload = chaos_workload.shaken()
        spaces = {optimizer: campaign.space(optimizer) for optimizer in campaign.optimizers}
        plans = Blueprint(campaign, {WORKLOAD: workload}, spaces, None).study_plans()
        with Ledger(url, campaign.stored(), plans, {}) as ledger:
            _work_off(ledger, workload)
    except BaseException:
        (home.directory / f"driver-{number}.err").write_text(traceback.format_exc())
        sys.exit(1)


def _work_off(ledger, workload) -> None:  # type: ignore[no-untyped-def]  # the module is imported without them
    from sofim import OPTIMIZERS
    from studies.training import Record, train
    from studies.trials import Assignment

    data = workload.load(None)
    running: deque[tuple[Assignment, Iterator[Record]]] = deque()
    while True:
        while len(running) < SLOTS and (assignment := ledger.ask()) is not None:
            spec = OPTIMIZERS[assignment.optimizer]
            budget = assignment.epochs
            run = train(workload, spec, assignment.arguments, assignment.seed, budget, data=data)
            running.append((assignment, run))
        if not running:
            return
        assignment, records = running.popleft()
        record = next(records, None)
        if record is None:
            ledger.complete(assignment, {"device": "cpu"})
            continue
        fields = {name: getattr(record, name) for name in Record.__slots__ if name != "diverged"}
        stops = ledger.report(assignment, {name: value for name, value in fields.items() if value is not None})
        if record.diverged:
            ledger.diverge(assignment, {"device": "cpu"})
        elif stops:
            ledger.prune(assignment, {"device": "cpu"})
        else:
            running.append((assignment, records))
