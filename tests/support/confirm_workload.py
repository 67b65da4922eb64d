"""A user's own workload for the tests of confirmation runs: workers note when runs begin and test data are read.

It is copied to a directory of its own, beside which nothing of this project lies.
"""

import os
import time
from pathlib import Path

import ray
import torch
from torch import nn

from studies.workloads import Data, Metric, Workload, accuracy


def _notes():
    """Beside this file, where the code does not travel."""
    return Path(os.environ.get("PROBE_NOTES") or Path(__file__).parent / "notes")


def _told(name, otherwise):
    """What the test says, in the environment or in a file beside the notes."""
    said = _notes() / name
    return float(os.environ.get(name) or (said.read_text() if said.exists() else otherwise))


def _wait_for_the_others():
    """Until so many trials have begun as are to run at once; far longer than any machine takes, and then no more."""
    until = time.monotonic() + 120
    while (_notes() / "notes.tsv").read_text().count("begin\t") < _told("PROBE_TOGETHER", 0):
        if time.monotonic() > until:
            raise TimeoutError("no others run beside this one")
        time.sleep(0.05)


def _in_a_worker():
    return ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE


def _note(what):
    if _in_a_worker():
        gpus = ",".join(map(str, ray.get_runtime_context().get_accelerator_ids().get("GPU", [])))
        with (_notes() / "notes.tsv").open("a") as file:
            file.write(f"{what}\t{os.getpid()}\t{gpus}\t{time.time()}\n")


def _test():
    _note("test")
    return _examples(1, 200)


def _examples(seed, number):
    points = torch.rand(number, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return points, (points.prod(dim=1) > 0).long()


def _model():
    _note("begin")
    if _in_a_worker():
        _wait_for_the_others()
        time.sleep(_told("PROBE_SECONDS", 0))
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def xor():
    """Two epochs on a few points."""
    metric = Metric("accuracy", "maximize", accuracy)
    data = lambda _: Data(_examples(2, 200), _examples(3, 100), _test)  # noqa: E731 (as users write it)
    return Workload("xor", data, _model, nn.functional.cross_entropy, metric, epochs=2)


def untested():
    """Like it, but without test data."""
    workload = xor()
    data = lambda _: Data(_examples(2, 200), _examples(3, 100))  # noqa: E731
    return Workload("xor", data, workload.model, workload.loss, workload.metric, epochs=2)
