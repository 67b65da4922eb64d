"""A rehearsal of a workload before any trial starts: data there and whole, every function returns what it should."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from studies.data import Data, Split
from studies.errors import UserError
from studies.workloads._base import Workload
from studies.workloads._blame import blaming, definition

_NUM_EXAMPLES = 4


def check(workload: Workload, directory: Path | None = None, *, test: bool = False) -> Data:
    """Load a workload's data and run its model, loss and metric on a few examples.

    It decodes the data into the cache, so that the workers that come after only map them. It leaves torch's global
    generator as it was.

    Args:
        workload: A row of ``WORKLOADS`` or the user's own.
        directory: The data directory; None for the default one.
        test: Whether test data must be there too, as for confirmation runs. Else they are not looked at.

    Returns:
        The data.

    Raises:
        UserError: If data are missing or damaged, or a function of the workload raises or returns the wrong thing.
    """
    name = f"workload {workload.name}"
    with blaming(f"{name}: load", workload.load):
        data: object = workload.load(directory)
    if not isinstance(data, Data):
        raise UserError(f"{name}: load returned {_kind(data)}, not a Data{definition(workload.load)}")
    if test:
        with blaming(f"{name}: reading its test data", workload.load):
            data.test()
    with torch.random.fork_rng():
        _rehearse(workload, data)
    return data


def _rehearse(workload: Workload, data: Data) -> None:
    name = f"workload {workload.name}"
    with blaming(f"{name}: model", workload.model):
        model: object = workload.model()
    if not isinstance(model, nn.Module):
        raise UserError(f"{name}: model returned {_kind(model)}, not a torch.nn.Module{definition(workload.model)}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"{name}: the model has no parameters to train{definition(workload.model)}")
    examples = Split(data.train.inputs[:_NUM_EXAMPLES], data.train.targets[:_NUM_EXAMPLES])
    outputs = _outputs(workload, model, examples)
    with blaming(f"{name}: loss", workload.loss):
        loss: object = workload.loss(outputs, examples.targets)
    _require_number(loss, f"{name}: loss", workload.loss)
    assert isinstance(loss, Tensor)
    if not loss.requires_grad:
        raise UserError(f"{name}: the loss does not depend on the model's parameters{definition(workload.loss)}")
    if workload.penalty is not None:
        with blaming(f"{name}: penalty", workload.penalty):
            penalty: object = workload.penalty(model)
        _require_number(penalty, f"{name}: penalty", workload.penalty)
    if workload.metric.function is not None:
        with torch.no_grad(), blaming(f"{name}: metric {workload.metric.name}", workload.metric.function):
            value: object = workload.metric.function(outputs, examples.targets)
        _require_number(value, f"{name}: metric {workload.metric.name}", workload.metric.function)


def _outputs(workload: Workload, model: nn.Module, examples: Split) -> Tensor:
    """Return the model's outputs for training examples, by the way that training takes."""
    name = f"workload {workload.name}"
    inputs = examples.inputs
    if workload.augment is not None:
        with blaming(f"{name}: augment", workload.augment):
            inputs = workload.augment(inputs, torch.Generator().manual_seed(0))
    if workload.prepare is not None:
        with blaming(f"{name}: prepare", workload.prepare):
            inputs = workload.prepare(inputs)
    model.train()
    with blaming(f"{name}: model", workload.model):
        outputs: Tensor = model(inputs)
    return outputs


def _require_number(value: object, what: str, function: object) -> None:
    if not isinstance(value, Tensor):
        raise UserError(f"{what} returned {_kind(value)}, not a tensor{definition(function)}")
    if value.numel() != 1 or value.dim() != 0:
        raise UserError(
            f"{what} returned a tensor of shape {list(value.shape)}, not its mean over the batch{definition(function)}"
        )
    if not math.isfinite(value.item()):
        raise UserError(f"{what} of a freshly initialized model is {value.item()}{definition(function)}")


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"a value of type {type(value).__name__}"
