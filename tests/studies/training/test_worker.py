"""What a worker sends, without Ray: every record once and in order, and how the trial ended."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from studies.engine._checkpoints import LocalStore
from studies.training import worker
from studies.trials import Assignment
from studies.workloads import Data, Metric, Workload, accuracy

STORE = LocalStore(Path("/nowhere"), "token")  # without a checkpoint, and nobody asks to stop


def assignment(**changes: object) -> Assignment:
    fields = {
        "study": "c/w/sgd",
        "number": 0,
        "workload": "worker_probe:factory",
        "optimizer": "sgd",
        "arguments": {"lr": 0.1, "batch_size": 8},
        "seed": 0,
        "epochs": 4,
    }
    return Assignment(**(fields | changes))


@pytest.fixture
def sent(monkeypatch):
    """Runs an assignment on a workload with this model, and returns the messages."""

    def run(model=lambda: nn.Linear(2, 2), send_seconds=math.inf, **changes):
        generator = torch.Generator().manual_seed(0)
        points = torch.rand(40, 2, generator=generator)
        classes = (points[:, 0] > 0.5).long()
        data = Data((points[:30], classes[:30]), (points[30:], classes[30:]))
        metric = Metric("accuracy", "maximize", accuracy)
        workload = Workload("probe", lambda _: data, model, nn.functional.cross_entropy, metric)
        module = type(sys)("worker_probe")
        module.factory = lambda: workload
        monkeypatch.setitem(sys.modules, "worker_probe", module)
        monkeypatch.setattr(worker, "SEND_SECONDS", send_seconds)
        monkeypatch.setattr(worker, "_greeted", True)
        worker._workload.cache_clear()
        messages = []
        worker.run(assignment(**changes), worker.TrainingOptions(), messages.append, STORE)
        return messages

    return run


def test_short_trials_send_one_message(sent):
    (message,) = sent()
    assert [record["epoch"] for record in message["records"]] == [1, 2, 3, 4]
    assert (message["end"], message["failure"]) == ("complete", None)
    assert message["facts"]["busy_seconds"] >= message["records"][-1]["seconds"] > 0


def test_long_epochs_are_sent_one_by_one_and_the_last_with_the_end(sent):
    messages = sent(send_seconds=-1.0)
    assert [[record["epoch"] for record in message["records"]] for message in messages] == [[1], [2], [3], [4]]
    assert [message["end"] for message in messages] == [None, None, None, "complete"]


def test_a_process_says_first_that_it_has_started(sent, monkeypatch):
    sent()
    monkeypatch.setattr(worker, "_greeted", False)
    messages = []
    worker.run(assignment(), worker.TrainingOptions(), messages.append, STORE)
    worker.run(assignment(), worker.TrainingOptions(), messages.append, STORE)
    assert [len(message["records"]) for message in messages] == [0, 4, 4]


def test_a_diverged_trial_says_so_and_its_last_record_has_no_metric(sent):
    (message,) = sent(arguments={"lr": 1e30, "batch_size": 8})
    assert message["end"] == "diverged"
    assert math.isnan(message["records"][-1]["metric"])


def test_an_exception_becomes_a_failure_with_its_traceback(sent):
    class Broken(nn.Linear):
        def forward(self, inputs):
            raise ArithmeticError("no such luck")

    (message,) = sent(model=lambda: Broken(2, 2))
    assert message["end"] == "failed"
    assert "ArithmeticError: no such luck" in message["failure"]
    assert "test_worker.py" in message["failure"]


def test_cuda_out_of_memory_is_named_so(sent):
    class Greedy(nn.Linear):
        def forward(self, inputs):
            raise torch.cuda.OutOfMemoryError("tried to allocate 80 GiB")

    (message,) = sent(model=lambda: Greedy(2, 2))
    assert message["end"] == "failed"
    assert message["failure"] == "CUDA out of memory: tried to allocate 80 GiB"
