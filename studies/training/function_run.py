"""One run of a person's own loop: what its function is given, and what becomes of what it yields.

Before it first runs, the global generators of Python, NumPy and torch are seeded with the run's seed, and it keeps
their states to itself, so that a function that seeds nothing repeats on a CPU.
"""

from __future__ import annotations

import io
import math
import numbers
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from search_spaces import WARMUP
from search_spaces.errors import UserError, number_of, suggestion
from studies.training.reports import Reports
from studies.training.run import Record
from studies.training.training_run import Exchange, TrainingRun, generators, seeded_generators, set_generators
from studies.workloads import TrainingFunction
from studies.workloads._function import is_generator_function
from studies.workloads.user_errors import definition

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec

STATE = "state"
"""Key of what a function yields to go on from."""


class FunctionRun:
    """A run of a training function, which can be stopped after any epoch: its generator is closed then.

    Args:
        workload: The function and its metric.
        row: The optimizer's, or of a search space without one.
        configuration: Hyperparameters, or arguments of the row's factory, with ``batch_size``.
        seed: Of all that is random.
        budget: Epochs.
        of_optimizer: Whether ``row`` makes an optimizer.
        schedule: The campaign's.
        warmup: Share of all steps in which the learning rate rises, where the configuration has none.
        device: Where it is to train.
        test: Whether it is to look at test data.
        chosen_batch_size: Whether nobody fixed the batch size, so that it must be read.
    """

    def __init__(
        self,
        workload: TrainingFunction,
        row: OptimizerSpec,
        configuration: Mapping[str, object],
        *,
        seed: int,
        budget: int,
        of_optimizer: bool,
        schedule: str = "constant",
        warmup: float = 0.0,
        device: str | torch.device = "cpu",
        test: bool = False,
        chosen_batch_size: bool = False,
    ) -> None:
        self._workload, self.budget, self._device = workload, budget, torch.device(device)
        self._key, self._exchange = row.key, Exchange(read_batch_size=not (chosen_batch_size and of_optimizer))
        self._given = TrainingRun(
            {**({WARMUP: warmup} if warmup else {}), **configuration},
            seed=seed, epochs=budget, device=self._device, test=test and workload.test,
            row=row if of_optimizer else None, key=row.key, schedule=schedule, exchange=self._exchange,
        )  # fmt: skip
        self._random = seeded_generators(seed, self._device)
        self._generator: Iterator[Any] | None = None
        self._state: dict[str, Any] | None = None
        self._looked_at_state = False
        self.epoch, self.seconds, self.diverged = 0, 0.0, False

    @property
    def finished(self) -> bool:
        """Return whether the budget is spent or the run has diverged."""
        return self.diverged or self.epoch >= self.budget

    @property
    def resumable(self) -> bool:
        """Return whether it yielded a state with its last epoch."""
        return self._state is not None

    def next_epoch(self) -> Record:
        """Run the function up to its next value, and return the record.

        Raises:
            UserError: It ended before the budget, or yielded what is no metric.
        """
        with self._isolated():
            began = time.perf_counter()
            if self._generator is None:
                self._generator = self._begun()
            try:
                value = next(self._generator)
            except StopIteration:
                raise self._error(
                    f"it ended after {self.epoch} of {number_of(self.budget, 'epoch')}: it must yield a value, or "
                    "call run.report with it, after each of run.epochs epochs"
                ) from None
            self.seconds += time.perf_counter() - began
        if self._exchange.state is not None and not self._exchange.took_state:
            raise self._error("it yields a state, and when it went on from one it did not call run.resume()")
        if self._given.row is not None and not self._exchange.took_optimizer:
            raise self._error(f"it never called run.optimizer(model), so that {self._key} was not tried")
        if not self._exchange.read_batch_size:
            raise self._error(
                'it never read run.configuration["batch_size"]: give it to the loader, or write what the loader has '
                "into the campaign (batch_size = 32)"
            )
        self.epoch += 1
        record = self._record(value)
        if not record.diverged:
            for course in self._exchange.courses:
                course.check_epoch(self.epoch)
        return record

    def _begun(self) -> Iterator[Any]:
        """Return what the function yields or reports."""
        function = self._workload.function
        if is_generator_function(function):
            return iter(function(self._given))
        return Reports(self._given, function, self._exchange)

    def _record(self, value: object) -> Record:
        name, entries = self._workload.metric.name, self._entries(value)
        metric, loss, train_loss = entries[name], entries.get("loss"), entries.get("train_loss")
        if math.isnan(metric) and loss is not None and math.isfinite(loss):
            raise self._error(f"its metric {name} is NaN in epoch {self.epoch} though its loss is finite")
        test_metric, test_loss = entries.get(f"test_{name}"), entries.get("test_loss")
        self.diverged = not all(math.isfinite(known) for known in (metric, loss, train_loss) if known is not None)
        if self.diverged:
            metric, loss, test_metric, test_loss = math.nan, None if loss is None else math.nan, None, None
        elif self._given.test and test_metric is None:
            raise self._error(f"its TrainingFunction has test = True, and it yielded no test_{name} where run.test is")
        if not self._given.test:
            test_metric = test_loss = None
        return Record(self.epoch, self.seconds, None, train_loss, loss, metric, self.diverged, test_loss, test_metric)

    def _entries(self, value: object) -> dict[str, float]:
        """Return the numbers of what was yielded by their names, and keep its state."""
        name = self._workload.metric.name
        told: dict[Any, object] = dict(value) if isinstance(value, Mapping) else {name: value}
        self._state = cast("dict[str, Any] | None", told.pop(STATE, None))
        if self._state is not None and not isinstance(self._state, Mapping):
            raise self._error(f"the {STATE} that it yielded is a {type(self._state).__name__}, not a mapping")
        known = (name, "loss", "train_loss", f"test_{name}", "test_loss")
        for key in told:
            if key not in known:
                raise self._error(
                    f"it yielded {key!r}, which nothing is called here: known are {', '.join(known)} and {STATE}"
                    f"{suggestion(str(key), known)}"
                )
        if name not in told:
            raise self._error(f"what it yielded in epoch {self.epoch} has no {name}, its metric")
        found = {key: _number(entry) for key, entry in told.items() if entry is not None or key == name}
        for key, number in found.items():
            if number is None:
                given = f"{type(told[key]).__name__}" if told[key] is not None else "None"
                raise self._error(f"{key} that it yielded in epoch {self.epoch} is of type {given}, not a number")
        return cast("dict[str, float]", found)

    def _error(self, said: str) -> UserError:
        where = definition(self._workload.function, self._workload.place)
        return UserError(f"workload {self._workload.name}: {said}{where}")

    @contextmanager
    def _isolated(self) -> Iterator[None]:
        """Use this run's random numbers and, on a CPU, one thread; afterwards put back what was there."""
        num_threads, outer = torch.get_num_threads(), generators(self._device)
        if self._device.type == "cpu":
            torch.set_num_threads(1)
        set_generators(self._random, self._device)
        try:
            yield
        finally:
            self._random = generators(self._device)
            set_generators(outer, self._device)
            torch.set_num_threads(num_threads)

    def state_dict(self) -> dict[str, object]:
        """Return what the run needs to go on; `resumable` says whether there is that.

        Raises:
            UserError: The function yielded a state that cannot be read again without running code from it.
        """
        if not self._looked_at_state:
            buffer = io.BytesIO()
            torch.save(self._state, buffer)
            buffer.seek(0)
            try:
                torch.load(buffer, weights_only=True)
            except Exception as error:  # whatever unpickling raises
                raise self._error(
                    f"the {STATE} that it yields holds more than tensors, numbers, texts, lists and dicts, so that "
                    "nothing goes on from it"
                ) from error
            self._looked_at_state = True
        return {STATE: self._state, "random": self._random, "epoch": self.epoch, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Have the function begin with the state that it yielded last; `TrainingRun.resume` hands it out."""
        self._exchange.state = cast("dict[str, Any]", state[STATE])
        self._exchange.random = cast("dict[str, Any]", state["random"])
        self.epoch = self._given.epoch = cast("int", state["epoch"])
        self.seconds = cast("float", state["seconds"])

    def close(self) -> None:
        """Close the generator, so that its ``finally`` blocks run; what these raise changes nothing that was told."""
        generator, self._generator = self._generator, None
        if generator is not None and hasattr(generator, "close"):
            with self._isolated(), suppress(Exception, SystemExit):
                generator.close()


def _number(entry: object) -> float | None:
    """Return a number of Python, NumPy or torch; ``None`` for all else."""
    if isinstance(entry, torch.Tensor | np.ndarray | np.generic) and math.prod(entry.shape) == 1:
        entry = entry.item()
    if not isinstance(entry, numbers.Real) or isinstance(entry, bool):
        return None
    try:
        return float(entry)
    except OverflowError:  # a whole number beyond floats
        return math.inf if cast("int", entry) > 0 else -math.inf
