"""Why a trial lost its worker: the worker died of itself, which counts, or its node did, which does not."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ray
from ray._private.state import state
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.tune.experiment import Trial

from studies.trials import Assignment

MAX_RESTARTS = 3  # of a trial whose worker died
MAX_LOST_NODES = 30  # for a trial may be what kills them
_SETTLE_SECONDS = 60.0  # by when Ray knows of a node that it is lost
_LOOK_SECONDS = 1.0  # between two looks at what Ray knows

Cause = Literal["worker", "node", "unknown"]
"""Who died; ``"unknown"``: Ray has lost the connection, and does not know why."""


def died(times: int, start: str | None = None) -> str:
    """Return why a trial failed whose worker died so often; of what, the system tells nobody, but of a start."""
    if start is not None:
        return f"its worker died {times} times, the last as it started: {start}"
    return f"its worker died {times} times: its code crashes, or needs more memory than there is"


def failed_start(error: BaseException | None) -> str | None:
    """Return in a line why a worker could not start (its node lacks a package), or ``None`` if it had started."""
    if not (isinstance(error, RayActorError) and error.actor_init_failed):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1]


@dataclass
class _Loss:
    assignment: Assignment
    cause: Cause
    since: float  # by time.monotonic


class Losses:
    """Of the workers of all trials.

    Ray sees that a worker is gone many seconds before it sees that its node is: the trial begins again at once, and who
    died is settled later.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int, Cause]] = Counter()  # by study, number and who died
        self._starts: dict[tuple[str, int], str | None] = {}  # why a trial's last worker could not start, if so
        self._unsettled: dict[str, _Loss] = {}  # by Ray's id of the worker
        self._looked = 0.0

    def add(self, assignment: Assignment, trial: Trial | None) -> str:
        """Hear that a trial, which is Ray's ``trial``, lost its worker; return what died, and what comes of it."""
        error = _error_of(trial)
        loss = _Loss(assignment, _cause(error), time.monotonic())
        self._count(loss, 1)
        start = self._starts[assignment.study, assignment.number] = failed_start(error)
        if loss.cause != "node" and isinstance(error, RayActorError):
            self._unsettled[str(error.actor_id)] = loss
        if self.failure_of(assignment) is not None:
            return f"The {'worker' if loss.cause == 'worker' else 'node'} of {_name(loss)} died; it fails."
        if loss.cause == "worker":
            restart = f"restart {self._number(assignment, 'worker')} of {MAX_RESTARTS}"
            what = f"could not start ({start})" if start else "died"
            return f"The worker of {_name(loss)} {what}; it goes on elsewhere ({restart})."
        if loss.cause == "node":
            return f"The node of {_name(loss)} died; it goes on elsewhere, which counts as no restart."
        return f"The worker of {_name(loss)} cannot be reached; it goes on elsewhere."

    def failure_of(self, assignment: Assignment) -> str | None:
        """Return why a trial is not to begin again, or ``None``."""
        if (workers := self._number(assignment, "worker")) > MAX_RESTARTS:
            return died(workers, self._starts.get((assignment.study, assignment.number)))
        nodes = self._number(assignment, "node")
        return f"its node died {nodes} times" if nodes > MAX_LOST_NODES else None

    def settle(self) -> Iterator[str]:
        """Count losses by what Ray knows by now, once a second; yield a line on each whose node turned out dead.

        What is unknown for long counts as the worker's death: nobody knows of its node that it died.
        """
        now = time.monotonic()
        if not self._unsettled or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        for worker, loss in list(self._unsettled.items()):
            over = now - loss.since > _SETTLE_SECONDS
            found = _found_out(worker)
            self._count(loss, -1)
            loss.cause = "worker" if found == "unknown" and over else found
            self._count(loss, 1)
            if over or found == "node":
                del self._unsettled[worker]
            if found == "node":
                yield f"The node of {_name(loss)} died, and its worker with it, which counts as no restart."

    def _number(self, assignment: Assignment, cause: Cause) -> int:
        return self._counts[assignment.study, assignment.number, cause]

    def _count(self, loss: _Loss, more: int) -> None:
        self._counts[loss.assignment.study, loss.assignment.number, loss.cause] += more


def _name(loss: _Loss) -> str:
    return f"trial {loss.assignment.number} of {loss.assignment.study}"


def _error_of(trial: Trial | None) -> BaseException | None:
    """Return what Ray met at the trial's worker, which it keeps in a file."""
    if trial is None or trial.run_metadata.pickled_error_filename is None:
        return None
    try:
        return pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, pickle.PickleError, TypeError, EOFError):
        return None


def _cause(error: BaseException | None) -> Cause:
    if not isinstance(error, RayActorError) or not error.actor_id:
        return "worker"
    if error.preempted:
        return "node"
    found = _found_out(str(error.actor_id))
    return "worker" if found == "unknown" and not isinstance(error, ActorUnavailableError) else found


def _found_out(worker: str) -> Cause:
    """Return what Ray's server knows of the end of a worker; without a dashboard there is no public way to ask."""
    known = state.actor_table(worker)
    node = known.get("Address", {}).get("NodeID")
    if any(one["NodeID"] == node and not one["Alive"] for one in ray.nodes()):  # type: ignore[no-untyped-call]
        return "node"
    if known.get("State") != "DEAD":
        return "unknown"
    return "node" if known["DeathCause"].actor_died_error_context.HasField("node_death_info") else "worker"
