"""From data to what a model takes: minibatches of an epoch, their loss, and the evaluation of a whole split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from studies.data import Data, Split
from studies.training.randomness import GlobalGenerators, Stream, generator
from studies.workloads import Batch, Workload
from studies.workloads._base import HeldOut
from studies.workloads._evaluated import SEEDS, evaluated

_GATHERED_BYTES = 2**22  # examples are gathered in pieces of about this size, each cut into many batches
_EVALUATED_BYTES = {"cpu": 2**19, "cuda": 2**25}  # inputs of one evaluation batch: on a CPU, what keeps to its caches


def batch_starts(num_examples: int, batch_size: int) -> list[int]:
    """Return where each batch of an epoch begins.

    The last batch is kept though it is smaller; a single example joins the batch before it, since BatchNorm needs two.

    >>> batch_starts(10, 4), batch_starts(9, 4)
    ([0, 4, 8], [0, 4])
    """
    starts = list(range(0, num_examples, batch_size))
    if batch_size > 1 and len(starts) > 1 and starts[-1] == num_examples - 1:
        starts.pop()
    return starts


def num_batches(workload: Workload, data: Any, batch_size: int) -> int:
    """Return how many batches an epoch has."""
    if workload.examples is None:
        return len(batch_starts(len(data.train), batch_size))
    return max(1, workload.examples // batch_size)


def training_batches(
    workload: Workload, data: Any, *, batch_size: int, seed: int, epoch: int, device: torch.device
) -> Iterator[tuple[Batch, int]]:
    """Yield the batches of one epoch, on ``device``, each with the number of its examples.

    Args:
        workload: Says what a batch is.
        data: What its ``load`` returned; a `Data` on ``device``.
        batch_size: Examples in a batch.
        seed: Of the run.
        epoch: From 0.
        device: Where the model is.
    """
    if workload.sample is None:
        rows = epoch_batches(workload, data.train, batch_size=batch_size, seed=seed, epoch=epoch)
        yield from ((batch, len(batch[1])) for batch in rows)
        return
    draws = generator(seed, Stream.ORDER, epoch, torch.device("cpu"))
    for _ in range(num_batches(workload, data, batch_size)):
        batch = on(workload.sample(data, batch_size, draws), device)
        if workload.objective is None:
            inputs, targets = batch
            batch = _prepared(workload, inputs), targets
        yield batch, batch_size


def on(value: Any, device: torch.device) -> Any:
    """Return data, or a batch, on ``device``: all tensors in tuples, lists and dicts; other things stay what they are.

    >>> on({"windows": torch.zeros(2), "alphabet": "ab"}, torch.device("cpu"))
    {'windows': tensor([0., 0.]), 'alphabet': 'ab'}
    """
    if isinstance(value, Data):
        return value.on(device)
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: on(entry, device) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(on(entry, device) for entry in value))
    return type(value)(on(entry, device) for entry in value) if isinstance(value, (tuple, list)) else value


def batch_loss(workload: Workload, model: nn.Module, batch: Batch) -> Tensor:
    """Return the mean loss of a batch, without the penalty."""
    if workload.objective is not None:
        with torch.enable_grad():  # also while evaluating: a physics residual is made of derivatives
            return workload.objective(model, batch)
    assert workload.loss is not None
    inputs, targets = batch
    return workload.loss(model(inputs), targets)


def forward(workload: Workload, model: nn.Module, batch: Batch) -> object:
    """Run a model on a batch as training does."""
    return model(batch[0]) if workload.objective is None else batch_loss(workload, model, batch)


def epoch_batches(
    workload: Workload, split: Split, *, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, targets) of one epoch, augmented and prepared, on the device of the split.

    The order of the examples is a permutation that seed and epoch give; every batch size cuts the same permutation.

    Args:
        workload: Says how to augment and prepare.
        split: The training examples.
        batch_size: Examples in a batch.
        seed: Of the run.
        epoch: From 0.
    """
    device = split.inputs.device
    order = torch.randperm(len(split), generator=generator(seed, Stream.ORDER, epoch, torch.device("cpu"))).to(device)
    noise = generator(seed, Stream.AUGMENTATION, epoch, device)
    bounds = [*batch_starts(len(split), batch_size), len(split)]
    num_batches = len(bounds) - 1
    stride = max(1, _GATHERED_BYTES // (_row_bytes(split) * batch_size))
    for first in range(0, num_batches, stride):
        last = min(first + stride, num_batches)
        rows = order[bounds[first] : bounds[last]]
        sizes = [bounds[i + 1] - bounds[i] for i in range(first, last)]
        gathered = zip(torch.split(split.inputs[rows], sizes), torch.split(split.targets[rows], sizes), strict=True)
        for inputs, targets in gathered:
            augmented = inputs if workload.augment is None else workload.augment(inputs, noise)
            yield _prepared(workload, augmented), targets


def evaluation_rows(split: Split) -> Iterator[Tensor]:
    """Yield the places of the examples that :func:`evaluate` takes together."""
    return iter(torch.split(torch.arange(len(split)), _evaluated_at_once(split)))


@torch.no_grad()
def evaluate(workload: Workload, model: nn.Module, split: Split, *, amp: bool) -> tuple[float, float]:
    """Return mean loss (without penalty) and mean metric (before ``finish``) over a split, in evaluation mode.

    On a GPU the two numbers are the only transfer.

    Args:
        workload: Says loss and metric; without a function of the metric, the second number is loss + penalty.
        model: On the device of the split.
        split: What to evaluate on.
        amp: Whether to compute in bfloat16 where that is safe.
    """
    function, device = workload.metric.function, split.inputs.device
    size = _evaluated_at_once(split)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    model.eval()
    # what an objective draws is the same in every epoch, and no number less for training
    drawing = nullcontext() if workload.loss else GlobalGenerators(SEEDS["validation"], device).in_use()
    with drawing, torch.autocast(device.type, torch.bfloat16, enabled=amp):
        for inputs, targets in zip(torch.split(split.inputs, size), torch.split(split.targets, size), strict=True):
            prepared = _prepared(workload, inputs)
            if workload.loss is None:
                loss = batch_loss(workload, model, (prepared, targets))
                value = loss if function is None else function(model(prepared), targets)
            else:
                outputs = model(prepared)
                loss = workload.loss(outputs, targets)
                value = loss if function is None else function(outputs, targets)
            sums.add_(torch.stack([loss.double(), value.double()]), alpha=len(targets))
    penalty = workload.penalty(model) if function is None and workload.penalty is not None else 0.0
    mean_loss, mean_value = (sums / len(split)).tolist()
    return mean_loss, mean_value + float(penalty)


def evaluate_validation(workload: Workload, model: nn.Module, data: Any, *, amp: bool) -> tuple[float | None, float]:
    """Return validation loss and metric; a metric of the training objective is taken on the training examples.

    The loss is None where the workload's own evaluation does not tell it.
    """
    if workload.evaluate is not None:
        return _own_evaluation(workload, model, data, "validation", amp=amp)
    metric = workload.metric
    loss, value = evaluate(workload, model, data.validation, amp=amp)
    if metric.split == "train":
        _, value = evaluate(workload, model, data.train, amp=amp)
    return loss, value if metric.finish is None else metric.finish(value)


def evaluate_test(workload: Workload, model: nn.Module, data: Any, *, amp: bool) -> tuple[float | None, float]:
    """Return test loss and metric; in place of a metric of the training objective the test loss once more."""
    if workload.evaluate is not None:
        return _own_evaluation(workload, model, data, "test", amp=amp)
    metric = workload.metric
    loss, value = evaluate(workload, model, data.test(), amp=amp)
    if metric.split == "train":
        return loss, loss
    return loss, value if metric.finish is None else metric.finish(value)


def _own_evaluation(
    workload: Workload, model: nn.Module, data: Any, split: HeldOut, *, amp: bool
) -> tuple[float | None, float]:
    device = next(model.parameters()).device
    generators = GlobalGenerators(SEEDS[split], device)
    with generators.in_use(), torch.autocast(device.type, torch.bfloat16, enabled=amp):
        return evaluated(workload, model, data, split)


def _evaluated_at_once(split: Split) -> int:
    return max(1, _EVALUATED_BYTES.get(split.inputs.device.type, 2**19) // _row_bytes(split))


def _prepared(workload: Workload, inputs: Tensor) -> Tensor:
    if workload.prepare is not None:
        inputs = workload.prepare(inputs)
    if inputs.is_cuda and inputs.dim() == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def _row_bytes(split: Split) -> int:
    return max(1, split.inputs[0].numel() * split.inputs.element_size())
