"""A rehearsal of a workload before any trial starts: data there and whole, every function returns what it should."""

from __future__ import annotations

import math
from pathlib import Path
from typing import SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from search_spaces.errors import UserError
from studies.data import Data, Split
from studies.workloads._base import Workload
from studies.workloads._load import load
from studies.workloads.user_errors import blaming, definition

_NUM_EXAMPLES = 4  # to train on
_NUM_EVALUATED = 64  # a share of right answers, say, may have no value for four


def check(workload: Workload, directory: Path | None = None, *, test: bool | None = False) -> Data:
    """Load a workload's data and run its model, loss and metric on a few examples.

    It decodes the data into the cache, so that the workers that come after only map them. It leaves torch's global
    generator as it was.

    Args:
        workload: A row of ``WORKLOADS`` or the user's own.
        directory: The data directory; None for the default one.
        test: Whether test data must be there too, as for confirmation runs. Else they are not looked at. None: they
            are if there are any.

    Returns:
        The data.

    Raises:
        UserError: If data are missing or damaged, or a function of the workload raises or returns the wrong thing.
    """
    name = f"workload {workload.name}"
    with blaming(f"{name}: load", workload.load, workload.place):
        data: object = load(workload, directory)
    if not isinstance(data, Data):
        raise UserError(f"{name}: load returned {_kind(data)}, not a Data{definition(workload.load, workload.place)}")
    if test is None:
        test = data.has_test
    if test and not data.has_test:
        raise UserError(f"{name} has no test data; give its Data a third split to confirm winners on it")
    if test:
        with blaming(f"{name}: reading its test data", workload.load, workload.place):
            data.test()
    with torch.random.fork_rng():
        _rehearse(workload, data)
        if test:
            with torch.no_grad():
                _rehearse_split(workload, _new_model(workload).eval(), data.test(), "test")
    return data


def _rehearse(workload: Workload, data: Data) -> None:
    model = _new_model(workload)
    _rehearse_step(workload, model, _first(data.train, _NUM_EXAMPLES))
    _require_weights_of_the_seed(workload)
    with torch.no_grad():
        _rehearse_evaluation(workload, model, data)


def _new_model(workload: Workload) -> nn.Module:
    name = f"workload {workload.name}"
    with blaming(f"{name}: model", workload.model, workload.place):
        model: object = workload.model()
    if not isinstance(model, nn.Module):
        raise UserError(
            f"{name}: model returned {_kind(model)}, not a torch.nn.Module{definition(workload.model, workload.place)}"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"{name}: the model has no parameters to train{definition(workload.model, workload.place)}")
    return model


def _require_weights_of_the_seed(workload: Workload) -> None:
    """Two models of one seed are two, and begin alike: otherwise trials would not."""
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(_new_model(workload))
    first, second = (dict(model.named_parameters()) for model in models)
    if any(first.get(name) is parameter for name, parameter in second.items()):
        raise UserError(
            f"workload {workload.name}: model returned the same parameters twice, so that a trial would go on with "
            f"those that another has trained; make a new model in each call{definition(workload.model, workload.place)}"
        )
    for name, parameter in second.items():
        other = first.get(name)
        if isinstance(parameter, UninitializedParameter) or isinstance(other, UninitializedParameter):
            continue  # which the optimizers say
        if other is None or other.shape != parameter.shape or not _equal(other.detach(), parameter.detach()):
            raise UserError(
                f"workload {workload.name}: two models of one seed begin with different {name}; draw weights from "
                f"torch's global generator alone{definition(workload.model, workload.place)}"
            )


def _first(split: Split, number: int) -> Split:
    rows = torch.arange(min(number, len(split)))  # by an index, as training does: no view of the person's data
    return Split(split.inputs[rows], split.targets[rows])


def _rehearse_step(workload: Workload, model: nn.Module, examples: Split) -> None:
    """Loss, penalty, metric and gradients of training examples."""
    name = f"workload {workload.name}"
    outputs = _outputs(workload, model.train(), examples, augmented=True)
    with blaming(f"{name}: loss", workload.loss, workload.place):
        loss: object = workload.loss(outputs, examples.targets)
    of = f"a freshly initialized model{_not_finite(examples)}"
    _require_number(loss, f"{name}: loss", definition(workload.loss, workload.place), of)
    assert isinstance(loss, Tensor)
    if not loss.requires_grad:
        raise UserError(
            f"{name}: the loss does not depend on the model's parameters{definition(workload.loss, workload.place)}"
        )
    if workload.penalty is not None:
        with blaming(f"{name}: penalty", workload.penalty, workload.place):
            penalty: object = workload.penalty(model)
        _require_number(penalty, f"{name}: penalty", definition(workload.penalty, workload.place))
    with torch.no_grad():
        _rehearse_metric(workload, outputs, examples, "a freshly initialized model")
    with blaming(f"{name}: the gradient of its loss", workload.loss, workload.place):
        torch.autograd.backward(loss)


def _rehearse_evaluation(workload: Workload, model: nn.Module, data: Data) -> None:
    """Loss of validation examples, and the metric of examples of its split."""
    name = f"workload {workload.name}"
    outputs, examples = _rehearse_split(workload, model.eval(), data.validation, "validation")
    if workload.metric.split == "train":
        examples = _first(data.train, _NUM_EVALUATED)
        outputs = _outputs(workload, model, examples)
    on = {"train": "training", "validation": "validation"}[workload.metric.split]
    value = _rehearse_metric(workload, outputs, examples, f"a freshly initialized model on {on} data")
    finish = workload.metric.finish
    if value is None or finish is None:
        return
    what = f"{name}: finish of metric {workload.metric.name}"
    with blaming(what, finish, workload.place):
        finished: object = finish(value)
    if not isinstance(finished, SupportsFloat):
        raise UserError(f"{what} returned {_kind(finished)}, not a number{definition(finish, workload.place)}")
    if math.isnan(float(finished)):
        raise UserError(f"{what} returned nan for {value:g}{definition(finish, workload.place)}")


def _rehearse_split(workload: Workload, model: nn.Module, split: Split, kind: str) -> tuple[Tensor, Split]:
    """Compute the loss of some examples, which it must leave as they are: evaluation works on the data themselves.

    Returns:
        The model's outputs, and the examples.
    """
    name = f"workload {workload.name}"
    examples, before = _first(split, _NUM_EVALUATED), _first(split, _NUM_EVALUATED)
    outputs = _outputs(workload, model, examples)
    with blaming(f"{name}: loss of {kind} data", workload.loss, workload.place):
        loss: object = workload.loss(outputs, examples.targets)
    of = f"a freshly initialized model on {kind} data{_not_finite(examples)}"
    _require_number(loss, f"{name}: loss", definition(workload.loss, workload.place), of)
    for part in ("inputs", "targets"):
        if not _equal(getattr(examples, part), getattr(before, part)):
            raise UserError(
                f"{name}: evaluation changes the {part} in place, so that every epoch would see others; compute new "
                f"tensors in model, prepare and loss (x = x - 1 for x -= 1){definition(workload.model, workload.place)}"
            )
    return outputs, examples


def _not_finite(examples: Split) -> str:
    """Return the words for the first example with a value that is not finite, or nothing."""
    for part in ("inputs", "targets"):
        finite = torch.isfinite(getattr(examples, part)).reshape(len(examples), -1).all(dim=1)
        if not finite.all():
            return f", of which the {part} of example {int((~finite).nonzero()[0])} are not finite,"
    return ""


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether they are the same, values that are no numbers included."""
    return bool(((one == other) | (one != one)).all())  # NaN differs from itself


def _rehearse_metric(workload: Workload, outputs: Tensor, examples: Split, of: str) -> float | None:
    """Return the mean of the metric's function, or None where it has none."""
    function = workload.metric.function
    if function is None:
        return None
    what = f"workload {workload.name}: metric {workload.metric.name}"
    with blaming(what, function, workload.place):
        value: object = function(outputs, examples.targets)
    _require_number(value, what, definition(function, workload.place), of)
    assert isinstance(value, Tensor)
    return value.item()


def _outputs(workload: Workload, model: nn.Module, examples: Split, *, augmented: bool = False) -> Tensor:
    """Return the model's outputs for examples, by the way that training, or evaluation, takes."""
    name = f"workload {workload.name}"
    inputs = examples.inputs
    if augmented and workload.augment is not None:
        with blaming(f"{name}: augment", workload.augment, workload.place):
            inputs = workload.augment(inputs, torch.Generator().manual_seed(0))
    if workload.prepare is not None:
        with blaming(f"{name}: prepare", workload.prepare, workload.place):
            inputs = workload.prepare(inputs)
    with blaming(f"{name}: model", workload.model, workload.place):
        outputs: Tensor = model(inputs)
    return outputs


def _require_number(value: object, what: str, where: str, of: str = "a freshly initialized model") -> None:
    if not isinstance(value, Tensor):
        raise UserError(f"{what} returned {_kind(value)}, not a tensor{where}")
    if value.numel() != 1 or value.dim() != 0:
        raise UserError(f"{what} returned a tensor of shape {list(value.shape)}, not its mean over the batch{where}")
    if value.is_complex():
        raise UserError(f"{what} returned a complex number, of which none is the least{where}")
    if not math.isfinite(value.item()):
        raise UserError(f"{what} of {of} is {value.item()}{where}")


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"a value of type {type(value).__name__}"
