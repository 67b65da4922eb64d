"""What an optimizer costs beside SGD with momentum, measured in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from sofim.contract._training import Subject, Training, held_by
from sofim.registry import OptimizerSpec

_SGD = Subject(OptimizerSpec("sgd", partial(torch.optim.SGD, lr=0.01, momentum=0.9)), {})


def costs(subject: Subject) -> str:
    """Return memory and time beside SGD's, on a network of 99,000 parameters, one thread."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        memory, seconds = _measured(subject)
        _, least = _measured(_SGD)
    finally:
        torch.set_num_threads(num_threads)
    return (
        f"its state is {memory:.3g} times the parameters (SGD with momentum: 1), "
        f"step() takes {seconds / least:.3g} times as long as SGD's"
    )


def _measured(subject: Subject) -> tuple[float, float]:
    """Return the state's size by that of the parameters, and the seconds of a step with closures and refreshes."""
    torch.default_generator.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 128))
    inputs, targets = torch.randn(32, 256), torch.randn(32, 128)
    run = Training(subject, model)
    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            nonlocal spent
            began = time.perf_counter()
            result = function(*given)
            spent += time.perf_counter() - began
            return result

        return call

    cast("Any", run.optimizer).step = timed(run.optimizer.step)
    if subject.spec.needs_hessian:
        cast("Any", run.optimizer).refresh = timed(cast("Any", run.optimizer).refresh)
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < 20 and (len(seconds) < 4 or time.perf_counter() - began < 0.5):
        spent = 0.0
        run.step(lambda: (model(inputs) - targets).square().mean())
        seconds.append(spent)
    held = held_by(run.optimizer)
    size = sum(param.numel() * param.element_size() for param in held)
    return _bytes(run.optimizer.state_dict()) / size, statistics.median(seconds[1:])


def _bytes(value: object) -> int:
    """Return the size of all tensors in what a state_dict may hold."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
