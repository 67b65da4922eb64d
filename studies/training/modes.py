"""The weights that an optimizer with modes is evaluated by, with BatchNorm's averages of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # BatchNorm's and InstanceNorm's; it has no public name

from studies.training.randomness import GlobalGenerators

NUM_BATCHES = 50
"""Training batches that BatchNorm's averages are estimated from, or all of an epoch where it has fewer."""


class HasModes(Protocol):
    """An optimizer whose parameters are what is evaluated, and exported, only between `eval()` and `train()`."""

    def train(self) -> object:
        """Put the weights that are trained in the parameters."""

    def eval(self) -> object:
        """Put the weights that are evaluated in the parameters."""


@contextmanager
def evaluated_weights(
    optimizer: HasModes,
    model: nn.Module,
    passes: Iterable[Callable[[], object]],
    generators: GlobalGenerators,
    precision: AbstractContextManager[object],
) -> Iterator[None]:
    """Hold in the model the weights that are evaluated; afterwards put back what is trained, bit for bit.

    Args:
        optimizer: In training mode.
        model: Whose parameters it has.
        passes: Each runs the model on a training batch, in an order that is always the same; so many as `NUM_BATCHES`
            are taken, and none for a model without BatchNorm.
        generators: What dropout draws from meanwhile, so that training goes on with the numbers that it had.
        precision: In which the model computes meanwhile.
    """
    trained = copy.deepcopy(model.state_dict())
    optimizer.eval()
    try:
        with generators.in_use(), precision:
            estimate_averages(model, islice(passes, NUM_BATCHES))
        yield
    finally:
        optimizer.train()  # whose arithmetic may round: the weights are copied back
        model.load_state_dict(trained)


@torch.no_grad()
def estimate_averages(model: nn.Module, passes: Iterable[Callable[[], object]]) -> None:
    """Estimate BatchNorm's running means and variances anew, each batch with the same weight.

    A model without such layers is not called at all, nor is one that keeps them in evaluation mode while it trains.

    Args:
        model: With the weights that the averages are for; it is in training mode afterwards.
        passes: Each runs it on a batch, as when it trains.
    """
    model.train()
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, _NormBase) and layer.training and layer.running_mean is not None
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    try:
        for count, run in enumerate(passes, 1):
            for layer in layers:
                layer.momentum = 1 / count
            run()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
