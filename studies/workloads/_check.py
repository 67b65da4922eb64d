"""A rehearsal of a workload before any trial starts: data there and whole, every function returns what it should."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from search_spaces.errors import UserError
from studies.data import Data, Split
from studies.workloads._base import Batch, HeldOut, Workload, leaves
from studies.workloads._evaluated import evaluated
from studies.workloads._load import load, seeded
from studies.workloads.user_errors import blaming, definition

_NUM_EXAMPLES = 4  # to train on
_NUM_OTHERS = 64  # of another batch
_NUM_GRADIENTS = 8  # all of which are zero: a reward, say, may not come in the first few episodes
_NUM_EVALUATED = 64  # a share of right answers, say, may have no value for four


def check(workload: Workload, directory: Path | None = None, *, test: bool | None = False) -> Any:
    """Load a workload's data and run its model, loss and metric on a few examples, or its own evaluation whole.

    It decodes the data into the cache, so that the workers that come after only map them. It leaves torch's global
    generator as it was.

    Args:
        workload: A row of ``WORKLOADS`` or the user's own.
        directory: The data directory; None for the default one.
        test: Whether test data must be there too, as for confirmation runs. Else they are not looked at, but by an
            evaluation of the workload's own that has some. None: they are if there are any.

    Returns:
        What ``load`` returned.

    Raises:
        UserError: If data are missing or damaged, or a function of the workload raises or returns the wrong thing.
    """
    name = f"workload {workload.name}"
    with blaming(f"{name}: load", workload.load, workload.place):
        data: object = load(workload, directory)
    if (workload.sample is None or workload.evaluate is None) and not isinstance(data, Data):
        where = definition(workload.load, workload.place)
        needed = [part for part in ("sample", "evaluate") if getattr(workload, part) is None]
        without = "" if len(needed) == 2 else f", which a workload without {needed[0]} needs"
        raise UserError(f"{name}: load returned {_kind(data)}, not a Data{without}{where}")
    if test is None:
        test = workload.is_tested(data)
    if test and not workload.is_tested(data):
        remedy = (
            "give its Data a third split" if workload.has_test else "have evaluate do 'test' too, without has_test,"
        )
        raise UserError(f"{name} has no test data; {remedy} to confirm winners on it")
    if test and isinstance(data, Data):
        with blaming(f"{name}: reading its test data", workload.load, workload.place):
            data.test()
    with torch.random.fork_rng():
        _rehearse(workload, data, test=test)
    return data


def _rehearse(workload: Workload, data: Any, *, test: bool) -> None:
    model = _new_model(workload)
    if workload.sample is None and workload.objective is None:
        _rehearse_step(workload, model, _first(data.train, _NUM_EXAMPLES))
    else:
        _rehearse_batch(workload, _rows(workload, data) if workload.sample is None else _sampled(workload, data))
    _require_weights_of_the_seed(workload)
    if workload.evaluate is not None:
        _rehearse_own_evaluation(workload, data, "validation")
        if workload.is_tested(data):  # if a confirmation found out, a search would be in vain
            _rehearse_own_evaluation(workload, data, "test")
        return
    with torch.no_grad():
        _rehearse_evaluation(workload, model, data)
        if test:
            _rehearse_split(workload, model.eval(), data.test(), "test")


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
    inputs = _inputs(workload, examples.inputs, augmented=True)
    outputs = _outputs(workload, model.train(), inputs)
    loss = _loss(
        workload, model, (inputs, examples.targets), outputs, f"a freshly initialized model{_not_finite(examples)}"
    )
    _rehearse_penalty(workload, model)
    with torch.no_grad():
        _rehearse_metric(workload, outputs, examples, "a freshly initialized model")
    _rehearse_gradient(workload, model, loss)


def _rehearse_penalty(workload: Workload, model: nn.Module) -> None:
    if workload.penalty is not None:
        what = f"workload {workload.name}: penalty"
        with blaming(what, workload.penalty, workload.place):
            penalty: object = workload.penalty(model)
        _require_number(penalty, what, definition(workload.penalty, workload.place))


def _rehearse_gradient(workload: Workload, model: nn.Module, loss: Tensor) -> None:
    name, kind, function = f"workload {workload.name}", *_loss_function(workload)
    if loss.requires_grad:
        with blaming(f"{name}: the gradient of its {kind}", function, workload.place):
            torch.autograd.backward(loss)
    if all(parameter.grad is None for parameter in model.parameters()):
        raise UserError(
            f"{name}: the {kind} does not depend on the model's parameters{definition(function, workload.place)}"
        )


# -- batches, a loss and an evaluation of the workload's own ----------------------------------------------------------


def _rows(workload: Workload, data: Data) -> Batch:
    examples = _first(data.train, _NUM_EXAMPLES)
    return _inputs(workload, examples.inputs, augmented=True), examples.targets


def _sampled(workload: Workload, data: Any) -> Batch:
    """Return a batch of a few examples, of which another with the same seed is no other."""
    name, where = f"workload {workload.name}", definition(workload.sample, workload.place)
    assert workload.sample is not None
    number = min(_NUM_EXAMPLES, workload.num_examples(data))
    batches, parts = [], []
    for seed in range(2):  # of all other random numbers
        with blaming(f"{name}: sample", workload.sample, workload.place), seeded(seed):
            batches.append(workload.sample(data, number, torch.Generator().manual_seed(0)))
        parts.append(_tensors(workload, batches[-1]))
    if [part.shape for part in parts[0]] != [part.shape for part in parts[1]] or not all(map(_equal, *parts)):
        raise UserError(
            f"{name}: sample returned different batches for the same seed; draw from the generator that it is given "
            f"alone, and change neither data nor anything else{where}"
        )
    other = min(_NUM_OTHERS, workload.num_examples(data))
    with blaming(f"{name}: sample", workload.sample, workload.place), seeded(0):
        more = _tensors(workload, workload.sample(data, other, torch.Generator().manual_seed(0)))
    if (
        number < other
        and [part.shape for part in parts[0]] == [part.shape for part in more]
        and all(map(_equal, parts[0], more))
    ):
        raise UserError(
            f"{name}: sample returned the same batch when {number} and when {other} examples were asked for, so that "
            f"batch_size would have no effect; return as many as it is asked for{where}"
        )
    if workload.objective is not None:
        return batches[0]
    if not isinstance(batches[0], (tuple, list)) or len(parts[0]) != 2 or len(batches[0]) != 2:
        raise UserError(f"{name}: sample returned no (inputs, targets), which a loss is of; or give objective{where}")
    return _inputs(workload, batches[0][0]), batches[0][1]


def _tensors(workload: Workload, batch: object) -> list[Tensor]:
    """Return the tensors of a batch, refusing one of anything else."""
    parts = leaves(batch)
    what, where = f"workload {workload.name}: sample returned", definition(workload.sample, workload.place)
    if not parts:
        raise UserError(f"{what} no tensors{where}")
    for part in parts:
        if not isinstance(part, Tensor):
            within = "" if part is batch else ", in a batch"
            raise UserError(f"{what} {_kind(part)}{within}, not tensors (torch.as_tensor makes one of numbers){where}")
        if part.grad_fn is not None:
            raise UserError(f"{what} a tensor with an autograd graph, which the first step would use up{where}")
    return [part for part in parts if isinstance(part, Tensor)]


def _rehearse_batch(workload: Workload, batch: Batch) -> None:
    """Loss, penalty and gradients of a batch; the same loss twice under the same state of torch's generator."""
    kind, function = _loss_function(workload)
    values = []
    for seed in range(2):  # of Python's and NumPy's random numbers
        torch.manual_seed(0)
        model = _new_model(workload).train()
        with seeded(seed):
            torch.manual_seed(0)
            loss = _loss(workload, model, batch, None, "a freshly initialized model")
        values.append(loss.item())
    if values[0] != values[1]:
        raise UserError(
            f"workload {workload.name}: {kind} is {values[0]:g} and then {values[1]:g} for the same model, batch and "
            f"seed; draw from torch's global generator alone, and keep nothing between calls"
            f"{definition(function, workload.place)}"
        )
    _rehearse_penalty(workload, model)
    for seed in range(1, _NUM_GRADIENTS + 1):
        _rehearse_gradient(workload, model, loss)
        if workload.objective is None or any(p.grad is not None and p.grad.any() for p in model.parameters()):
            return
        torch.manual_seed(seed)
        model = _new_model(workload).train()
        loss = _loss(workload, model, batch, None, "a freshly initialized model")
    raise UserError(
        f"workload {workload.name}: the gradient of its objective is exactly zero for all parameters of "
        f"{_NUM_GRADIENTS} new models, so that nothing would be learned{definition(function, workload.place)}"
    )


def _rehearse_own_evaluation(workload: Workload, data: Any, split: HeldOut) -> None:
    """Metric, and loss if it is told, of a new model: finite, and on validation data the same twice."""
    name, where = f"workload {workload.name}", definition(workload.evaluate, workload.place)
    model, values = _new_model(workload), []
    on = split if split == "validation" else "test (which has_test=False leaves out)"
    for _ in range(2 if split == "validation" else 1):
        with blaming(f"{name}: evaluate on {on}", workload.evaluate, workload.place):
            values.append(evaluated(workload, model, data, split))
    told = {"loss": values[0][0], f"metric {workload.metric.name}": values[0][1]}
    for what, value in told.items():
        if value is not None and not math.isfinite(value):
            raise UserError(f"{name}: {what} that evaluate returns on {split} for a new model is {value}{where}")
    if values[0] != values[-1]:
        first, then = next((one, other) for one, other in zip(*values, strict=True) if one != other)
        raise UserError(
            f"{name}: evaluate returned {first!r} and then {then!r} for the same model; make all that it draws from in "
            f"the call, or draw from the global generators, and change neither model nor data{where}"
        )


def _loss_function(workload: Workload) -> tuple[str, object]:
    """Return what the workload's training loss is called, and the function."""
    return ("loss", workload.loss) if workload.objective is None else ("objective", workload.objective)


def _loss(workload: Workload, model: nn.Module, batch: Batch, outputs: Tensor | None, of: str, on: str = "") -> Tensor:
    """Return the loss of a batch, of ``outputs`` where they have been computed; refuse what is no finite number."""
    kind, function = _loss_function(workload)
    what = f"workload {workload.name}: {kind}"
    if workload.objective is None and outputs is None:
        outputs = _outputs(workload, model, batch[0])
    with blaming(f"{what}{on}", function, workload.place):
        loss: object
        if workload.objective is not None:
            with torch.enable_grad():
                loss = workload.objective(model, batch)
        else:
            assert workload.loss is not None
            assert outputs is not None
            loss = workload.loss(outputs, batch[1])
    _require_number(loss, what, definition(function, workload.place), of)
    assert isinstance(loss, Tensor)
    return loss


# -- evaluation on a split of Data ------------------------------------------------------------------------------------


def _rehearse_evaluation(workload: Workload, model: nn.Module, data: Data) -> None:
    """Loss of validation examples, and the metric of examples of its split."""
    name = f"workload {workload.name}"
    outputs, examples = _rehearse_split(workload, model.eval(), data.validation, "validation")
    if workload.metric.split == "train":
        examples = _first(data.train, _NUM_EVALUATED)
        outputs = _outputs(workload, model, _inputs(workload, examples.inputs))
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


def _rehearse_split(workload: Workload, model: nn.Module, split: Split, kind: str) -> tuple[Tensor | None, Split]:
    """Compute the loss of some examples, which it must leave as they are: evaluation works on the data themselves.

    Returns:
        The model's outputs, or None where nothing but an objective is computed, and the examples.
    """
    name = f"workload {workload.name}"
    examples, before = _first(split, _NUM_EVALUATED), _first(split, _NUM_EVALUATED)
    inputs = _inputs(workload, examples.inputs)
    outputs = None
    if workload.objective is None or workload.metric.function is not None:
        outputs = _outputs(workload, model, inputs)
    of = f"a freshly initialized model on {kind} data{_not_finite(examples)}"
    _loss(workload, model, (inputs, examples.targets), outputs, of, f" of {kind} data")
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


def _rehearse_metric(workload: Workload, outputs: Tensor | None, examples: Split, of: str) -> float | None:
    """Return the mean of the metric's function, or None where it has none."""
    function = workload.metric.function
    if function is None or outputs is None:
        return None
    what = f"workload {workload.name}: metric {workload.metric.name}"
    with blaming(what, function, workload.place):
        value: object = function(outputs, examples.targets)
    _require_number(value, what, definition(function, workload.place), of)
    assert isinstance(value, Tensor)
    return value.item()


def _inputs(workload: Workload, inputs: Tensor, *, augmented: bool = False) -> Tensor:
    """Return what the model takes of stored inputs, by the way that training, or evaluation, goes."""
    name = f"workload {workload.name}"
    if augmented and workload.augment is not None:
        with blaming(f"{name}: augment", workload.augment, workload.place):
            inputs = workload.augment(inputs, torch.Generator().manual_seed(0))
    if workload.prepare is not None:
        with blaming(f"{name}: prepare", workload.prepare, workload.place):
            inputs = workload.prepare(inputs)
    return inputs


def _outputs(workload: Workload, model: nn.Module, inputs: Tensor) -> Tensor:
    with blaming(f"workload {workload.name}: model", workload.model, workload.place):
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
