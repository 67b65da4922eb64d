"""A workload to be killed in: its random state matters, some of it diverges, and every epoch takes its time.

It is copied to a directory of its own, from where it travels to the nodes. Workers note every epoch that they train
with its metric, a number that no other epoch of another trial has, so that one can tell who trained what.
"""

import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from studies.workloads import Data, Metric, Workload

CLASSES = 3
# by the workers of a campaign; an undisturbed run takes no naps
NAP_SECONDS = float(os.environ.get("CHAOS_NAP_SECONDS", "0"))


def _note(*what):
    notes = os.environ.get("CHAOS_NOTES")
    ray = sys.modules.get("ray")  # every worker has it, and drivers without Ray start faster
    if notes and ray is not None and ray.is_initialized():
        context = ray.get_runtime_context()
        if context.worker.mode == ray.WORKER_MODE:
            with Path(notes).open("a") as file:
                file.write("\t".join([context.get_node_id(), str(os.getpid()), *what]) + "\n")


def _load(_directory):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(400, 8, generator=generator) * 2 - 1
    classes = (points[:, 0] * points[:, 1] > 0).long() + (points[:, 2] > 0.4).long()
    return Data((points[:300], classes[:300]), (points[300:], classes[300:]))


def _shaken(inputs, generator):
    return inputs + 0.05 * torch.randn(inputs.shape, generator=generator)


def _model():
    _note("begin")
    return nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.Tanh(), nn.Dropout(0.2), nn.Linear(24, CLASSES))


def _brier(outputs, targets):
    return (F.softmax(outputs, dim=1) - F.one_hot(targets, CLASSES)).double().square().sum(dim=1).mean()


def _epoch_ends(mean):
    _note("epoch", repr(mean))
    time.sleep(NAP_SECONDS)
    return mean


def shaken():
    """Dropout, noise on the inputs, averages of BatchNorm: a run that goes on without any of these is another run."""
    metric = Metric("brier", "minimize", _brier, finish=_epoch_ends)
    return Workload("shaken", _load, _model, F.cross_entropy, metric, augment=_shaken, epochs=6)
