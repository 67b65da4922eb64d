"""A person's own loop as a workload: a function that yields or reports a metric an epoch, and what is known of it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from search_spaces.errors import UserError, shown
from studies.workloads._base import Metric, _check_callable, _check_name
from studies.workloads.user_errors import caller, definition

NEEDS = {
    "needs_closure": "optimizer.step(closure)",
    "needs_create_graph": "loss.backward(create_graph=True)",
    "needs_hessian": "optimizer.refresh(loss) where optimizer.refresh_due",
    "has_modes": "optimizer.train() and optimizer.eval()",
}
"""What some optimizers need of a loop, by the field of their row, in code."""


@dataclass(frozen=True)
class TrainingFunction:
    """A loop of a person's own: data, model and loss are its business, hyperparameters come from a search.

    Attributes:
        name: Its key: letters, digits, ``.``, ``_`` and ``-``.
        function: A generator function, called with a `studies.training.training_run.TrainingRun`; or a function that
            calls ``run.report`` where the other yields, as from a trainer's callback. It yields each epoch the metric,
            or a mapping that has it by its name, and may have ``loss`` (of validation), ``train_loss``, ``test_loss``,
            ``test_`` and the metric's name, and ``state`` (what it needs to go on from there).
        metric: By which configurations are chosen. Its function and ``finish`` are not called.
        epochs: The epoch budget of one trial.
        target: The value of the metric that counts as solved; None if there is none.
        test: Whether it yields ``test_`` and the metric's name where ``run.test`` is true, as in confirmation runs.
        serves: Fields of optimizers' rows (keys of `NEEDS`) that the loop acts upon, as ``run.row`` says them. Without
            these it is a plain loop: zero_grad, backward, step.
        source: Where the task comes from.
        licence: Licence of its data.
        kind: Of task, as a `Workload` has it.
        place: "file:line" where it was written, for messages; found, not given.
    """

    name: str
    function: Callable[[Any], Any]
    metric: Metric
    epochs: int
    target: float | None = None
    test: bool = False
    serves: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    kind: str = ""
    place: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller())
        _check_name("training function", self.name)
        _check_callable("function", self.function)
        if self.kind != "":
            _check_name("kind of workload", self.kind)
        if not isinstance(self.metric, Metric):
            raise TypeError(f"metric is a Metric, not {type(self.metric).__name__}")
        if self.metric.function is not None or self.metric.finish is not None:
            raise ValueError("metric has a function or finish, which a training function computes itself: leave it out")
        if self.metric.split == "train" and self.test:
            raise ValueError('a metric with split = "train" is not measured on test data: leave test out')
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise ValueError(f"epochs is a whole number from 1, not {self.epochs!r}")
        if self.target is not None and not math.isfinite(self.target):
            raise ValueError(f"target is a finite number or None, not {self.target!r}")
        if isinstance(self.serves, str) or not set(self.serves) <= NEEDS.keys():
            raise ValueError(f"serves is a tuple of some of {', '.join(NEEDS)}, not {self.serves!r}")


def check_function(workload: TrainingFunction) -> None:
    """Refuse what cannot be called with a run. Nothing of it is run: only trials tell whether it works.

    Raises:
        UserError: It cannot.
    """
    function = workload.function
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise UserError(
            f"workload {workload.name}: its function must take one argument, the run that has its configuration: "
            f"{error}{definition(function, workload.place)}"
        ) from None
    except ValueError:  # of some there is no signature
        return


def is_generator_function(source: object) -> bool:
    """Return whether it yields, and does not report."""
    while isinstance(source, functools.partial):
        source = source.func
    source = inspect.unwrap(source) if callable(source) else source
    return inspect.isgeneratorfunction(source) or inspect.isgeneratorfunction(type(source).__call__)


def _name_of(source: Callable[[Any], Any]) -> str:
    """Return the name of a function, of that which a partial calls, or of an object's class."""
    while isinstance(source, functools.partial):
        source = source.func
    return str(getattr(source, "__name__", type(source).__name__))


def declared(
    source: Callable[[Any], Any], metric: str | Metric | None, direction: str | None, epochs: int | None
) -> TrainingFunction:
    """Return the training function that a person gave as a function and a metric.

    Args:
        source: The function.
        metric: It, or its name.
        direction: ``"maximize"`` or ``"minimize"``, beside a name.
        epochs: Budget of a trial.

    Raises:
        UserError: Something is missing or not allowed.
    """
    name = _name_of(source)
    if metric is None or epochs is None:
        missing = " and ".join(part for part, given in (("metric", metric), ("epochs", epochs)) if given is None)
        raise UserError(
            f"{name} is a training function: give {missing} too, as in "
            'studies.tune(train, metric="accuracy", direction="maximize", epochs=5, …)'
        )
    if isinstance(metric, str):
        if direction is None:
            raise UserError(f'metric = {shown(metric)}: say direction = "maximize" or direction = "minimize" beside it')
    elif direction is not None:
        raise UserError(f"direction = {shown(direction)}: the Metric says it; leave it out")
    try:
        made = metric if isinstance(metric, Metric) else Metric(metric, direction)  # type: ignore[arg-type]
        return TrainingFunction(name.strip("_").replace("<lambda>", "train")[:64] or "train", source, made, epochs)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
