"""From splits to what a model takes: minibatches of an epoch, and passes over a whole split for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from studies.data import Data, Split
from studies.training.randomness import Stream, generator
from studies.workloads import Workload

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
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        for inputs, targets in zip(torch.split(split.inputs, size), torch.split(split.targets, size), strict=True):
            outputs = model(_prepared(workload, inputs))
            loss = workload.loss(outputs, targets)
            value = loss if function is None else function(outputs, targets)
            sums.add_(torch.stack([loss.double(), value.double()]), alpha=len(targets))
    penalty = workload.penalty(model) if function is None and workload.penalty is not None else 0.0
    mean_loss, mean_value = (sums / len(split)).tolist()
    return mean_loss, mean_value + float(penalty)


def evaluate_validation(workload: Workload, model: nn.Module, data: Data, *, amp: bool) -> tuple[float, float]:
    """Return validation loss and metric; a metric of the training objective is taken on the training examples."""
    metric = workload.metric
    loss, value = evaluate(workload, model, data.validation, amp=amp)
    if metric.split == "train":
        _, value = evaluate(workload, model, data.train, amp=amp)
    return loss, value if metric.finish is None else metric.finish(value)


def evaluate_test(workload: Workload, model: nn.Module, data: Data, *, amp: bool) -> tuple[float, float]:
    """Return test loss and metric; in place of a metric of the training objective the test loss once more."""
    metric = workload.metric
    loss, value = evaluate(workload, model, data.test(), amp=amp)
    if metric.split == "train":
        return loss, loss
    return loss, value if metric.finish is None else metric.finish(value)


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
