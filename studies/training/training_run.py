"""What a person's own loop is given: hyperparameters, the optimizer that is tried, and where it went on from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from search_spaces import BATCH_SIZE, WARMUP
from search_spaces.errors import UserError, number_of
from studies.training.parameter_groups import make_optimizer, rates
from studies.training.randomness import GlobalGenerators, Stream, stream_seed
from studies.training.schedules import Schedule, followed, schedule_of

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec


@dataclass(slots=True)
class Course:
    """A learning rate that follows a schedule by itself, and notices when something else sets it."""

    name: str
    schedule: Schedule
    base: list[float]
    steps_per_epoch: int
    epoch: int
    epochs: int
    step: int = 0

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the rate of each step before it is taken."""
        self.step = self.epoch * self.steps_per_epoch
        self._set(optimizer)
        optimizer.register_step_pre_hook(lambda made, *_: self._look_at(made))
        optimizer.register_step_post_hook(lambda made, *_: self._advance(made))

    def check_epoch(self, epoch: int) -> None:
        """Refuse another number of steps than was said."""
        if self.step != epoch * self.steps_per_epoch:
            raise UserError(
                f"run.optimizer: steps_per_epoch = {self.steps_per_epoch}, but {number_of(self.step, 'step')} were "
                f"taken in {number_of(epoch, 'epoch')}, so that schedule {self.name} would not end with the budget"
            )

    def _rates(self) -> list[float]:
        factor = self.schedule(
            min(self.step, self.epochs * self.steps_per_epoch - 1), self.epochs * self.steps_per_epoch
        )
        return [rate * factor for rate in self.base]

    def _set(self, optimizer: torch.optim.Optimizer) -> None:
        for group, rate in zip(optimizer.param_groups, self._rates(), strict=False):  # new groups have none yet
            group["lr"] = rate

    def _look_at(self, optimizer: torch.optim.Optimizer) -> None:
        new = [float(group["lr"]) for group in optimizer.param_groups[len(self.base) :]]
        if new:  # added since, as where layers are unfrozen one after the other: they follow the schedule from here
            self.base += new
            self._set(optimizer)
        if any(group["lr"] != rate for group, rate in zip(optimizer.param_groups, self._rates(), strict=True)):
            raise UserError(
                f"run.optimizer: something else sets the learning rate, a scheduler perhaps, so that the campaign's "
                f"schedule {self.name} does not act; leave one of them out"
            )

    def _advance(self, optimizer: torch.optim.Optimizer) -> None:
        self.step += 1
        self._set(optimizer)


@dataclass(slots=True)
class Exchange:
    """What passes between a run and its function besides values.

    Attributes:
        state: That the function yielded in an earlier attempt.
        random: States of the global generators then.
        courses: Of the learning rates of its optimizers, where there is a schedule.
        took_optimizer: Whether it has asked for the optimizer.
        took_state: Whether it has asked for ``state``.
        read_batch_size: Whether it has looked up ``batch_size``, or all of its configuration.
        tell: Takes what it reports; ``None`` where it yields.
    """

    state: dict[str, Any] | None = None
    random: dict[str, Any] | None = None
    courses: list[Course] = field(default_factory=list)
    took_optimizer: bool = False
    took_state: bool = False
    read_batch_size: bool = False
    tell: Callable[[object], None] | None = None


class _Configuration(dict[str, Any]):
    """A configuration that notices whether its batch size is looked up; copies of it are plain dicts."""

    def __init__(self, values: Mapping[str, object], exchange: Exchange) -> None:
        super().__init__(values)
        self._exchange = exchange

    def copy(self) -> dict[str, Any]:
        self._exchange.read_batch_size = True
        return dict(super().items())

    def __getitem__(self, name: str) -> Any:
        self._exchange.read_batch_size |= name == BATCH_SIZE
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:  # without it ** and dict() take the values unnoticed
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        self._exchange.read_batch_size |= name == BATCH_SIZE
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._exchange.read_batch_size |= name == BATCH_SIZE
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self._exchange.read_batch_size |= name == BATCH_SIZE
        return super().setdefault(name, default)

    def popitem(self) -> tuple[str, Any]:
        self._exchange.read_batch_size = True
        return super().popitem()

    def items(self) -> Any:
        return self.copy().items()

    def values(self) -> Any:
        return self.copy().values()

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return dict(other) | self.copy()

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)


class TrainingRun:
    """What a training function is called with.

    Attributes:
        configuration: Hyperparameters by name; ``batch_size`` among them where the search space has one.
        seed: Of the run. The global generators are seeded already.
        epochs: The budget: how many values are to be yielded.
        device: Where to train.
        test: Whether test data may be looked at: in confirmation runs alone.
        epoch: Epochs that are done already: 0 but in a run that goes on from a state that it yielded.
        row: What the optimizer needs of a loop (`sofim.OptimizerSpec`); ``None`` where no optimizer is tuned.
    """

    def __init__(
        self,
        configuration: Mapping[str, object],
        *,
        seed: int,
        epochs: int,
        device: torch.device,
        test: bool,
        row: OptimizerSpec | None,
        key: str,
        schedule: str,
        exchange: Exchange,
    ) -> None:
        values = dict(configuration)
        self._warmup = cast("float", values.pop(WARMUP, 0.0))
        self.configuration: dict[str, Any] = _Configuration(values, exchange)
        self.seed, self.epochs, self.device, self.test, self.row = seed, epochs, device, test, row
        self.epoch = 0
        self._key, self._schedule, self._exchange = key, schedule, exchange

    def optimizer(self, model: nn.Module, *, steps_per_epoch: int | None = None) -> torch.optim.Optimizer:
        """Return the optimizer that is tuned, of a model's parameters that require a gradient.

        Args:
            model: On its device.
            steps_per_epoch: Optimizer steps of an epoch. With it the learning rate follows the campaign's schedule,
                step by step, by itself.

        Raises:
            UserError: No optimizer is tuned, or the campaign has a schedule and ``steps_per_epoch`` is missing.
        """
        if self.row is None:
            raise UserError(
                f"run.optimizer: {self._key} is a search space without an optimizer; make one of run.configuration, or "
                "tune optimizers by their names, such as sgd"
            )
        self._exchange.took_optimizer = True
        arguments = {name: self.configuration[name] for name in self.configuration if name != BATCH_SIZE}
        made = make_optimizer(self.row, model, arguments)
        name = followed(self._schedule, self.row.schedule)
        if name == "constant" and not self._warmup:
            return made
        if steps_per_epoch is None or steps_per_epoch < 1:
            warmed = f" with a warm-up of {self._warmup:g}" if self._warmup else ""
            raise UserError(
                f"run.optimizer: the campaign's schedule is {name}{warmed}, for which the steps of an epoch must be "
                "known: run.optimizer(model, steps_per_epoch=len(loader))"
            )
        base = rates(self.row, made, name)
        course = Course(name, schedule_of(name, self._warmup), base, steps_per_epoch, self.epoch, self.epochs)
        course.follow(made)
        self._exchange.courses.append(course)
        return made

    def report(self, value: object) -> None:
        """Tell the value of an epoch from inside a function that does not yield, as from a trainer's callback.

        It returns when the next epoch is to be trained, and else raises what ends the function.

        Args:
            value: What a generator would yield.
        """
        if self._exchange.tell is None:
            raise UserError("run.report: the function has a yield; yield the value")
        self._exchange.tell(value)

    def resume(self) -> dict[str, Any] | None:
        """Return the last state that was yielded before a crash, ``None`` where there is none.

        Random numbers go on from there too; ``run.epoch`` epochs are done. To be called when model and optimizer are
        made: they take their parts of the state after that.
        """
        self._exchange.took_state = True
        if self._exchange.random is not None:
            set_generators(self._exchange.random, self.device)
        return self._exchange.state


# -- global generators ------------------------------------------------------------------------------------------------


def generators(device: torch.device) -> dict[str, Any]:
    """Return the states of the global generators, as ``torch.load`` reads them without running code."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (these are what a person's code draws from)
    version, inner, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        **({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "python": (version, torch.tensor(inner), gauss),
    }


def set_generators(states: Mapping[str, Any], device: torch.device) -> None:
    """Put back what `generators` returned."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, inner, gauss = states["python"]
    random.setstate((version, tuple(inner.tolist()), gauss))


def seeded_generators(seed: int, device: torch.device) -> dict[str, Any]:
    """Return the states with which a run begins."""
    outer, number = generators(device), stream_seed(seed, Stream.GLOBAL)
    try:
        random.seed(number)
        np.random.seed(number % 2**32)  # noqa: NPY002
        states = GlobalGenerators(number, device).states
        found = generators(device) | {"torch": states[0]}
        return found | ({"cuda": states[1]} if len(states) > 1 else {})
    finally:
        set_generators(outer, device)
