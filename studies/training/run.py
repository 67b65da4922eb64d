"""One training run: no Ray and no Optuna in it. It yields one record an epoch.

What makes runs comparable and repeatable:

- Initial weights come from the seed alone; the data order of an epoch comes from the seed and the epoch alone, and
  every batch size cuts the same order. Neither depends on the optimizer, nor on what ran before in the process.
- Random numbers that a model or an optimizer draws (dropout, AdaHessian's probes) come from torch's global generators,
  which the run seeds, keeps, and puts back as it found them at the end of each epoch.
- On a CPU a run uses one thread and gives the same numbers bit for bit, also when it goes on from a checkpoint.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from search_spaces import BATCH_SIZE, WARMUP
from search_spaces.errors import UserError
from sofim._curvature import backward_with_graphs
from studies.training.batches import (
    batch_loss,
    evaluate_test,
    evaluate_validation,
    forward,
    num_batches,
    on,
    training_batches,
)
from studies.training.divergence import LaggedWatch, LossWatch, PromptWatch
from studies.training.modes import evaluated_weights
from studies.training.parameter_groups import make_optimizer, rates
from studies.training.randomness import GlobalGenerators, Stream, stream_seed
from studies.training.schedules import followed, schedule_of
from studies.workloads import Batch, Workload, load

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec
    from studies.training.modes import HasModes


@dataclass(frozen=True, slots=True)
class Record:
    """What one epoch gave.

    Attributes:
        epoch: From 1.
        seconds: Time spent training since the beginning of the run: not loading, not evaluating, and not making the
            weights that are evaluated of an optimizer with modes, nor BatchNorm's averages for them.
        gradient_evaluations: Forward-backward passes since the beginning of the run, Hessian-vector products included.
        train_loss: Mean loss of the epoch's minibatches while it trained, penalty included; for L-BFGS, each
            minibatch's loss before its step. In a diverged run on a CPU, the loss that showed it.
        validation_loss: Mean loss over the validation examples, without penalty; NaN in a diverged run.
        metric: The workload's metric; NaN in a diverged run.
        diverged: Whether the run ended here because its loss was not finite or exploded
            (``studies.training.divergence``).
        test_loss: Mean loss over the test examples; only in confirmation runs, at epochs whose metric is the best yet,
            and None too where ``evaluate`` does not tell it.
        test_metric: The metric on the test examples, likewise. For a metric of the training objective
            (``split="train"``) it is the test loss.

    ``None`` is what a training function, or a workload's own ``evaluate``, does not tell.
    """

    epoch: int
    seconds: float
    gradient_evaluations: int | None
    train_loss: float | None
    validation_loss: float | None
    metric: float
    diverged: bool = False
    test_loss: float | None = None
    test_metric: float | None = None


class _HessianOptimizer(Protocol):
    refresh_due: bool

    def refresh(self, loss: Tensor) -> int: ...


def train(
    workload: Workload,
    optimizer: OptimizerSpec,
    configuration: Mapping[str, object],
    seed: int,
    budget: int,
    *,
    data: Any = None,
    data_directory: Path | None = None,
    schedule: str = "constant",
    warmup: float = 0.0,
    device: str | torch.device = "cpu",
    amp: bool = False,
    test: bool = False,
) -> Iterator[Record]:
    """Train a workload and yield one record an epoch; the last one of a diverged run says so.

    Args:
        workload: What to train.
        optimizer: A row of ``sofim.OPTIMIZERS``.
        configuration: ``batch_size``, a warm-up where that was searched (``search_spaces.WARMUP``), and the arguments
            of the optimizer's factory.
        seed: Of initial weights, data order and all else that is random.
        budget: Epochs; a schedule spans them.
        data: What the workload's ``load`` returned, if it has been called already.
        data_directory: Where to load them from otherwise.
        schedule: Key in ``SCHEDULES``; a row that asks for another has the warm-up alone.
        warmup: Share of all steps in which the learning rate rises, where the configuration has none.
        device: Where to train.
        amp: Whether to compute in bfloat16 where that is safe (automatic mixed precision); weights stay as they are.
        test: Whether to compute the test metric too, as confirmation runs do. Test data are not read otherwise.

    Raises:
        ValueError: If ``budget``, ``schedule``, the batch size or an argument of the optimizer is refused.
        UserError: If data are missing or the metric is not a number though the loss is.
    """
    if data is None:
        data = load(workload, data_directory)
    return Run(
        workload, optimizer, configuration, seed=seed, budget=budget, data=data,
        schedule=schedule, warmup=warmup, device=device, amp=amp, test=test,
    ).records()  # fmt: skip


class Run:
    """A training run that can be stopped after any epoch and continued from its state.

    The arguments are those of ``train``.
    """

    def __init__(
        self,
        workload: Workload,
        optimizer: OptimizerSpec,
        configuration: Mapping[str, object],
        *,
        seed: int,
        budget: int,
        data: Any,
        schedule: str = "constant",
        warmup: float = 0.0,
        device: str | torch.device = "cpu",
        amp: bool = False,
        test: bool = False,
    ) -> None:
        arguments = dict(configuration)
        batch_size = arguments.pop(BATCH_SIZE, None)
        warmup = cast("float", arguments.pop(WARMUP, warmup))
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is a whole number from 1, not {batch_size!r}")
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
            raise ValueError(f"budget is a whole number of epochs from 1, not {budget!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed is a whole number from 0, not {seed!r}")
        self.workload, self.spec, self.seed, self.budget = workload, optimizer, seed, budget
        schedule = followed(schedule, optimizer.schedule)
        self._schedule_name, self._warmup, self._schedule = schedule, warmup, schedule_of(schedule, warmup)
        self.device = torch.device(device)
        self._data = on(data, self.device)
        self._sampled = self._data if workload.sample is None else data
        self._amp, self._with_test, self._batch_size = amp, test, min(batch_size, workload.num_examples(data))
        self._steps_per_epoch = num_batches(workload, data, self._batch_size)

        self.model = self._initial_model(channels_last=not optimizer.needs_closure)  # L-BFGS takes flat views
        self._generators = GlobalGenerators(stream_seed(seed, Stream.GLOBAL), self.device)
        # An optimizer may seed a generator of its own from the global one, which every process seeds differently.
        with self._generators.in_use():
            self.optimizer = make_optimizer(optimizer, self.model, arguments)
        self._is_scheduled = schedule != "constant" or warmup > 0
        self._base_rates = rates(optimizer, self.optimizer, schedule) if self._is_scheduled else []
        self._step = self._closure_step if optimizer.needs_closure else self._plain_step

        self.epoch = 0
        self.seconds = 0.0
        self.gradient_evaluations = 0
        self.diverged = False
        self._initial_loss: float | None = None
        self._best_metric: float | None = None

    def _initial_model(self, *, channels_last: bool) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            # Drawn on the CPU whatever the device, so that every machine begins with the same weights.
            torch.default_generator.manual_seed(stream_seed(self.seed, Stream.WEIGHTS))
            model = self.workload.model()
        if self.device.type == "cuda":
            model = model.to(self.device)
            if channels_last and any(parameter.dim() == 4 for parameter in model.parameters()):
                model = model.to(memory_format=torch.channels_last)
        return model

    resumable = True

    def close(self) -> None:
        """Hold nothing that must be given back."""

    @property
    def finished(self) -> bool:
        """Return whether the budget is spent or the run has diverged."""
        return self.diverged or self.epoch >= self.budget

    def records(self) -> Iterator[Record]:
        """Yield the records of the epochs that are left."""
        while not self.finished:
            yield self.next_epoch()

    def next_epoch(self) -> Record:
        """Train one epoch, evaluate, and return the record.

        Raises:
            UserError: If the metric is not a number though the loss is.
        """
        with self._isolated():
            train_loss = self._train_epoch()
            self.epoch += 1
            if self.diverged:
                return self._record(train_loss, math.nan, math.nan)
            with self.evaluated():
                return self._evaluation(train_loss)

    def _evaluation(self, train_loss: float) -> Record:
        validation_loss, metric = evaluate_validation(self.workload, self.model, self._data, amp=self._amp)
        if math.isnan(metric) and validation_loss is not None and math.isfinite(validation_loss):
            name = self.workload.metric.name
            raise UserError(f"workload {self.workload.name}: its metric {name} is NaN though its loss is finite")
        if not math.isfinite(metric if validation_loss is None else metric + validation_loss):
            self.diverged = True
            return self._record(train_loss, None if validation_loss is None else math.nan, math.nan)
        test_loss: float | None = None
        test_metric: float | None = None
        # Strictly better: of epochs that tie, validation chooses the first.
        if self._best_metric is None or self.workload.metric.is_better(metric, self._best_metric):
            self._best_metric = metric
            if self._with_test:
                test_loss, test_metric = evaluate_test(self.workload, self.model, self._data, amp=self._amp)
        return self._record(train_loss, validation_loss, metric, test_loss, test_metric)

    def _record(self, train_loss: float, validation_loss: float | None, metric: float, *test: float | None) -> Record:
        spent = (self.epoch, self.seconds, self.gradient_evaluations)
        return Record(*spent, train_loss, validation_loss, metric, self.diverged, *test)

    # -- training -----------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> float:
        watch: LossWatch = (
            PromptWatch(self._initial_loss)
            if self.device.type == "cpu"
            else LaggedWatch(self._initial_loss, self.device)
        )
        self.model.train()
        if self.spec.has_modes:
            cast("HasModes", self.optimizer).train()
        started = time.perf_counter()
        step = self.epoch * self._steps_per_epoch
        num_steps = self.budget * self._steps_per_epoch
        for batch, num_examples in self._batches(self.epoch):
            if self._is_scheduled:
                factor = self._schedule(step, num_steps)
                for group, rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
                    group["lr"] = rate * factor
            if watch.add(self._step(batch), num_examples):
                break
            step += 1
        train_loss, self._initial_loss, self.diverged = watch.close()
        self.seconds += time.perf_counter() - started
        return train_loss

    def _batches(self, epoch: int) -> Iterator[tuple[Batch, int]]:
        size, seed, device = self._batch_size, self.seed, self.device
        return training_batches(self.workload, self._sampled, batch_size=size, seed=seed, epoch=epoch, device=device)

    def _plain_step(self, batch: Batch) -> Tensor:
        spec, optimizer = self.spec, self.optimizer
        optimizer.zero_grad()
        data_loss, objective = self._losses(batch)
        if spec.needs_hessian and (sampler := cast("_HessianOptimizer", optimizer)).refresh_due:
            self.gradient_evaluations += sampler.refresh(data_loss)  # the penalty stays out of the Hessian
        (backward_with_graphs if spec.needs_create_graph else torch.autograd.backward)(objective)
        optimizer.step()
        self.gradient_evaluations += spec.evaluations_per_step
        if spec.needs_create_graph:
            optimizer.zero_grad(set_to_none=True)  # gradients that hold their own graph would never be freed
        return objective.detach()

    def _closure_step(self, batch: Batch) -> Tensor:
        """Step with a closure. Each call runs the model anew: BatchNorm's averages move and dropout is drawn again."""

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            objective = self._losses(batch)[1]
            torch.autograd.backward(objective)
            self.gradient_evaluations += 1
            return objective.detach()

        self.gradient_evaluations += self.spec.evaluations_per_step
        return cast("Tensor", self.optimizer.step(closure))  # type: ignore[arg-type]  # the hint says float

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a batch, without and with the penalty."""
        if self._amp:
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = batch_loss(self.workload, self.model, batch)
        else:
            loss = batch_loss(self.workload, self.model, batch)
        penalty = self.workload.penalty
        return (loss, loss) if penalty is None else (loss, loss + penalty(self.model))

    # -- evaluation ---------------------------------------------------------------------------------------------------

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Hold in the model the weights that are evaluated, and that a person would export; put back those of training.

        They differ for an optimizer with modes alone (``studies.training.modes``).
        """
        if not self.spec.has_modes:
            yield
            return
        passes = (partial(forward, self.workload, self.model, batch) for batch, _ in self._batches(0))
        generators = GlobalGenerators(stream_seed(self.seed, Stream.AVERAGES), self.device)
        precision = torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp)
        with evaluated_weights(cast("HasModes", self.optimizer), self.model, passes, generators, precision):
            yield

    # -- random numbers and state -------------------------------------------------------------------------------------

    @contextmanager
    def _isolated(self) -> Iterator[None]:
        """Use this run's random numbers and one thread; afterwards put back what was there."""
        num_threads = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        try:
            with self._generators.in_use(), warnings.catch_warnings():
                # The cycle it warns of is broken after each step, where gradients are set to None.
                warnings.filterwarnings("ignore", message=".*create_graph=True.*", category=UserWarning)
                yield
        finally:
            torch.set_num_threads(num_threads)

    def state_dict(self) -> dict[str, object]:
        """Return all that the run needs to go on: tensors, numbers and strings, so ``weights_only=True`` loads it.

        The tensors are the run's own: save or copy them before the next epoch. The data order needs no state, as seed
        and epoch give it; the schedule needs the epoch.
        """
        return {
            "identity": self._identity(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_states": self._generators.states,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "gradient_evaluations": self.gradient_evaluations,
            "diverged": self.diverged,
            "initial_loss": self._initial_loss,
            "best_metric": self._best_metric,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue where the run that gave ``state`` stood.

        Raises:
            ValueError: If that run was another: other workload, seed, budget, batch size, schedule or precision.
        """
        if state["identity"] != self._identity():
            raise ValueError(f"this is the state of another run: {state['identity']}, not {self._identity()}")
        self.model.load_state_dict(cast("dict[str, Tensor]", state["model"]))
        if self.spec.has_modes:
            cast("HasModes", self.optimizer).train()  # before it has a state, that nothing is moved
        self.optimizer.load_state_dict(cast("dict[str, object]", state["optimizer"]))
        self._generators.states = [states.cpu() for states in cast("list[Tensor]", state["random_states"])]
        self.epoch = cast("int", state["epoch"])
        self.seconds = cast("float", state["seconds"])
        self.gradient_evaluations = cast("int", state["gradient_evaluations"])
        self.diverged = cast("bool", state["diverged"])
        self._initial_loss = cast("float | None", state["initial_loss"])
        self._best_metric = cast("float | None", state["best_metric"])

    def _identity(self) -> dict[str, object]:
        return {
            "workload": self.workload.name,
            "optimizer": self.spec.key,
            "seed": self.seed,
            "budget": self.budget,
            "batch_size": self._batch_size,
            "schedule": self._schedule_name,
            **({"warmup": self._warmup} if self._warmup else {}),
            "amp": self._amp,
        }
