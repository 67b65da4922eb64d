"""Who died, a worker or its node, by what Ray says at once and what it knows later: without Ray's processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from studies.engine import _losses
from studies.engine._losses import MAX_LOST_NODES, MAX_RESTARTS, Losses, died
from studies.trials import Assignment

TRIAL = Assignment("s", 7, "w", "sgd", {}, 0, 3)
NAME = "trial 7 of s"


@pytest.fixture
def lost(monkeypatch, tmp_path):
    """Loses a worker of the trial, of which Ray's server knows ``found``; settles after so many seconds what it may."""
    known: dict[str, str] = {}
    clock = [1000.0]
    monkeypatch.setattr(_losses, "_found_out", lambda worker: known[worker])
    monkeypatch.setattr(_losses.time, "monotonic", lambda: clock[0])
    losses = Losses()

    def lose(found: str, start: Exception | None = None) -> str:
        worker = len(known).to_bytes(16, "big")
        known[worker.hex()] = found
        error: Exception = ActorUnavailableError("the socket closed", worker)
        if start is not None:
            cause = f"Traceback (most recent call last):\n  in __init__\n{type(start).__name__}: {start}\n"
            error = ActorDiedError(RayTaskError("__init__", cause, start, actor_id=worker.hex()))
        file = tmp_path / "error.pkl"
        file.write_bytes(pickle.dumps(error))
        run = SimpleNamespace(pickled_error_filename=file.name)
        trial: Any = SimpleNamespace(run_metadata=run, pickled_error_file=str(Path(file)))
        return losses.add(TRIAL, trial)

    def settle(seconds: float, found: str) -> list[str]:
        known.update(dict.fromkeys(known, found))
        clock[0] += seconds
        return list(losses.settle())

    return SimpleNamespace(lose=lose, settle=settle, losses=losses)


def test_a_worker_whose_node_turns_out_dead_is_taken_back(lost):
    for number in range(1, MAX_RESTARTS + 1):
        assert lost.lose("worker") == f"The worker of {NAME} died; it goes on elsewhere (restart {number} of 3)."
    assert lost.settle(5, "worker") == []
    assert (
        lost.settle(5, "node")
        == [f"The node of {NAME} died, and its worker with it, which counts as no restart."] * MAX_RESTARTS
    )
    assert lost.lose("worker") == f"The worker of {NAME} died; it goes on elsewhere (restart 1 of 3)."
    assert lost.losses.failure_of(TRIAL) is None


def test_what_nobody_knows_counts_for_the_worker_in_the_end_and_not_before(lost):
    for _ in range(MAX_RESTARTS + 1):
        assert lost.lose("unknown") == f"The worker of {NAME} cannot be reached; it goes on elsewhere."
    assert lost.settle(50, "unknown") == []
    assert lost.losses.failure_of(TRIAL) is None
    assert lost.settle(20, "unknown") == []
    assert lost.losses.failure_of(TRIAL) == died(4)


def test_a_trial_that_kills_every_node_does_not_go_on_for_ever(lost):
    for _ in range(MAX_LOST_NODES):
        assert lost.lose("node") == f"The node of {NAME} died; it goes on elsewhere, which counts as no restart."
    assert lost.losses.failure_of(TRIAL) is None
    assert lost.lose("node") == f"The node of {NAME} died; it fails."
    assert lost.losses.failure_of(TRIAL) == "its node died 31 times"


def test_a_worker_of_which_ray_says_nothing_counts(lost):
    assert lost.losses.add(TRIAL, None) == f"The worker of {NAME} died; it goes on elsewhere (restart 1 of 3)."


def test_a_worker_that_cannot_start_says_why(lost):
    """The node lacks a package, or its directory: more memory would not help."""
    lacks = ModuleNotFoundError("No module named 'mine'")
    said = f"The worker of {NAME} could not start (ModuleNotFoundError: No module named 'mine'); it goes on elsewhere"
    for number in range(1, MAX_RESTARTS + 1):
        assert lost.lose("worker", lacks) == f"{said} (restart {number} of 3)."
    assert lost.lose("worker", lacks) == f"The worker of {NAME} died; it fails."
    assert lost.losses.failure_of(TRIAL) == died(4, "ModuleNotFoundError: No module named 'mine'")
    assert "memory" not in lost.losses.failure_of(TRIAL)
    lost.lose("worker")
    assert lost.losses.failure_of(TRIAL) == died(5)
