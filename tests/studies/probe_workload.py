"""A user's own workload for the engine's tests: it leaves a note of where it was loaded, and can be told to misbehave.

It is copied to a directory of its own, beside which nothing of this project lies.
"""

import os
import time
from pathlib import Path

import ray
import torch
from torch import nn

from studies.workloads import Data, Metric, Workload, accuracy


def _note(what):
    notes = os.environ.get("PROBE_NOTES")
    if notes and ray.is_initialized():
        context = ray.get_runtime_context()
        if context.worker.mode == ray.WORKER_MODE:
            import studies

            gpus = ",".join(map(str, context.get_accelerator_ids().get("GPU", [])))
            line = "\t".join([what, context.get_node_id(), str(os.getpid()), gpus, __file__, studies.__file__])
            with (Path(notes) / "notes.tsv").open("a") as file:
                file.write(f"{line}\t{time.time()}\n")


def _load(_directory):
    _note("load")
    points = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:200], classes[:200]), (points[200:], classes[200:]))


def _model():
    _note("begin")
    time.sleep(float(os.environ.get("PROBE_SECONDS", "0")))
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def plain():
    """Nothing special."""
    return Workload(
        "xor", _load, _model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def raising():
    """Raises in the second trial of every worker."""
    calls = []

    def model():
        calls.append(1)
        if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE and len(calls) == 2:
            raise RuntimeError("the second trial is cursed")
        return _model()

    return Workload(
        "xor", _load, model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def dying():
    """Kills its worker once, in the middle of a trial."""
    batches = []

    def loss(outputs, targets):
        batches.append(1)
        if ray.is_initialized() and len(batches) > 20:
            marker = Path(os.environ["PROBE_NOTES"]) / "died"
            if not marker.exists():
                marker.touch()
                os._exit(9)
        return nn.functional.cross_entropy(outputs, targets)

    return Workload("xor", _load, _model, loss, Metric("accuracy", "maximize", accuracy), epochs=3)


def exiting():
    """Calls exit() in the second trial of every worker."""
    calls = []

    def model():
        calls.append(1)
        if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE and len(calls) == 2:
            raise SystemExit("enough")
        return _model()

    return Workload(
        "xor", _load, model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def slow():
    """Epochs of ``PROBE_EPOCH`` seconds in workers, with random numbers in every pass; each leaves a note."""
    seconds = float(os.environ.get("PROBE_EPOCH", "0.4"))

    def finish(value):
        if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            time.sleep(seconds)
            _note("epoch")
        return value

    def model():
        _note("begin")
        return nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 2))

    metric = Metric("accuracy", "maximize", accuracy, finish=finish)
    return Workload("slow", _load, model, nn.functional.cross_entropy, metric, epochs=6)
