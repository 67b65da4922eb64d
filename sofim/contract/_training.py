"""Small models and data, and a training run as the product's loop makes it: no thread, no Ray, no data set."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec

Batch = tuple[Tensor, Tensor]
LossFunction = Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Subject:
    """An optimizer under examination.

    Args:
        spec: The optimizer.
        arguments: Of its factory, in place of its defaults.
    """

    spec: OptimizerSpec
    arguments: Mapping[str, object]

    def optimizer(self, model: nn.Module, **changed: object) -> torch.optim.Optimizer:
        """Return the optimizer of a model, made as the training loop makes it."""
        return self.optimizer_of(parameters_of(self.spec, model), **changed)

    def optimizer_of(self, params: Any, **changed: object) -> torch.optim.Optimizer:
        """Return the optimizer of parameters or groups, ready to train."""
        made = self.made_of(params, **changed)
        if self.spec.has_modes:
            cast("Any", made).train()
        return made

    def made_of(self, params: Any, **changed: object) -> torch.optim.Optimizer:
        """Return what the factory makes."""
        return self.spec.factory(params, **{**self.arguments, **changed})


def parameters_of(spec: OptimizerSpec, model: nn.Module) -> list[Any]:
    """Return what the factory is given: the row's groups of the model, or all parameters that require a gradient."""
    if spec.groups is not None:
        return spec.groups(model)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def advance(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, loss_function: LossFunction) -> float:
    """Take one step as a training loop does, asking the row and never the name.

    Args:
        spec: The row.
        optimizer: Made by it.
        loss_function: Computes the loss, a 0-dim tensor with its graph.

    Returns:
        The loss before the step. Gradients are left in place, without a graph.
    """

    def backward(loss: Tensor) -> None:
        with warnings.catch_warnings():
            # Of the cycle between gradients and graph, which is broken below.
            warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
            torch.autograd.backward(loss, create_graph=spec.needs_create_graph)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_function()
        backward(loss)
        return loss.detach()

    if spec.needs_closure:
        return float(cast("Any", optimizer.step)(closure))
    optimizer.zero_grad()
    loss = loss_function()
    refresh_if_due(spec, optimizer, loss)
    backward(loss)
    optimizer.step()
    if spec.needs_create_graph:
        for param in held_by(optimizer):
            param.grad = None if param.grad is None else param.grad.detach()
    return float(loss.detach())


def refresh_if_due(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Refresh the curvature of an optimizer that needs it."""
    if spec.needs_hessian and cast("Any", optimizer).refresh_due:
        cast("Any", optimizer).refresh(loss)


def held_by(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters of all groups."""
    return [param for group in optimizer.param_groups for param in group["params"]]


def network(seed: int = 1) -> nn.Sequential:
    """Return a classifier of 4 numbers into 3 classes, with 51 parameters in four tensors."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def batches(count: int) -> list[Batch]:
    """Return batches of 16 examples for `network`: inputs (16, 4) and classes (16,), the same ones each time."""
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.randn(16, 4, generator=generator), torch.randint(3, (16,), generator=generator)) for _ in range(count)
    ]


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """Return the mean loss of a batch, whatever the precision of the model."""
    inputs, targets = batch
    return nn.functional.cross_entropy(model(inputs.to(next(model.parameters()).dtype)), targets)


class Training:
    """A training run with random numbers of its own, as the product's runs have: others in the process change nothing.

    Args:
        subject: The optimizer.
        model: What is trained; `network()` if not given.
        groups: What the factory is given; as the training loop makes it if not given.
        changed: Arguments of the factory that differ from the subject's.
    """

    def __init__(
        self, subject: Subject, model: nn.Module | None = None, *, groups: object = None, **changed: object
    ) -> None:
        self.spec = subject.spec
        self.model = network() if model is None else model
        self.random_state = torch.Generator().manual_seed(0).get_state()
        outer = torch.get_rng_state()
        torch.set_rng_state(self.random_state)
        params = parameters_of(self.spec, self.model) if groups is None else groups
        self.optimizer = subject.optimizer_of(params, **changed)
        self.random_state = torch.get_rng_state()
        torch.set_rng_state(outer)

    def train(self, data: Iterable[Batch]) -> list[float]:
        """Take a step a batch and return the losses before them."""
        return [self.step(lambda batch=batch: cross_entropy(self.model, batch)) for batch in data]  # type: ignore[misc]

    def step(self, loss_function: LossFunction) -> float:
        """Take one step and return the loss before it."""
        with self.drawing():
            return advance(self.spec, self.optimizer, loss_function)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Put the run's state of torch's generator in place; afterwards keep it and put back what was there."""
        outer = torch.get_rng_state()
        torch.set_rng_state(self.random_state)
        try:
            yield
        finally:
            self.random_state = torch.get_rng_state()
            torch.set_rng_state(outer)

    def evaluate(self) -> None:
        """Have the parameters be those that are evaluated."""
        if self.spec.has_modes:
            cast("Any", self.optimizer).eval()

    def parameters(self) -> list[Tensor]:
        """Return copies of the parameters."""
        return copied(self.model.parameters())


def copied(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return copies without a graph."""
    return [tensor.detach().clone() for tensor in tensors]


def same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Return whether tensors are equal bit for bit, NaN beside NaN included."""
    return all(
        one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
        for one, other in zip(first, second, strict=True)
    )


def near(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Return whether tensors are equal but for rounding in single precision."""
    return all(torch.allclose(one, other, rtol=1e-3, atol=1e-5) for one, other in zip(first, second, strict=True))
