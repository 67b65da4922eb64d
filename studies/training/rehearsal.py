"""What a trial will do, done before any trial starts: all of the data looked at, two steps with every optimizer.

For workloads and optimizers of a person's own; the project's have been tried.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from search_spaces import BATCH_SIZE, SearchSpace
from search_spaces.errors import UserError
from sofim import OPTIMIZERS, OptimizerSpec
from studies.data import Data, Split
from studies.optimizers import check_made
from studies.training.batches import batch_loss, batch_starts, evaluation_rows, on
from studies.training.run import train
from studies.workloads import Workload
from studies.workloads.user_errors import blaming, definition

_SECONDS = 3.0  # of very large data, or a slow model, so much is looked at, and the most unusual examples
_BATCH = 64
_STEP_BATCH = 4
_EVALUATED = 64  # validation examples after two steps
_NUM_NOT_FINITE = 64  # rows of these that are tried
_NUM_COLUMNS = 64  # of rows that are not longer, every column's extremes are tried
_CHUNK_BYTES = 2**26

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}
_SplitName = Literal["train", "validation", "test"]


def rehearse(
    workload: Workload,
    data: Any,
    spaces: Mapping[str, SearchSpace],
    rows: Mapping[str, OptimizerSpec] = OPTIMIZERS,
    *,
    test: bool = False,
) -> None:
    """Look at all of the data, by a new model's loss and metric, and take two steps with each optimizer.

    What a workload's own ``sample`` and ``evaluate`` make of their data is known to them alone, and not looked at. It
    leaves torch's global generators as they were.

    Args:
        workload: What is to be trained.
        data: Its data.
        spaces: By optimizer; the default configuration of each takes the steps.
        rows: Of each of these, also those that are the person's own.
        test: Whether test data are to be looked at, as for confirmation runs.

    Raises:
        UserError: If no trial can work.
    """
    data = on(data, torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        end = time.monotonic() + _SECONDS
        if workload.sample is None:
            _look_at("train", workload, data.train, end)
        if workload.evaluate is None:
            _look_at("validation", workload, data.validation, end)
        if workload.evaluate is None and test:
            _look_at("test", workload, data.test(), end)
    _take_steps(workload, data, spaces, rows)


def rehearse_custom(
    workload: Workload, data: Any, spaces: Mapping[str, SearchSpace], rows: Mapping[str, OptimizerSpec]
) -> None:
    """Take two steps with each optimizer of a person's own on a workload of the project's.

    The arguments are those of `rehearse`.

    Raises:
        UserError: If one of them cannot work.
    """
    custom = [optimizer for optimizer in spaces if optimizer not in OPTIMIZERS]
    if custom:
        _take_each(workload, on(data, torch.device("cpu")), spaces, rows, custom)


# -- the data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Trier:
    """Tries a new model on examples of a split, as training or evaluation would."""

    name: _SplitName
    workload: Workload
    split: Split
    model: nn.Module

    def error(self, rows: Tensor, *, training: bool = False) -> UserError | None:
        """Return what is wrong with a batch of these examples, or None."""
        try:
            with (
                torch.no_grad(),
                blaming(f"{self.what}: computing {self.described(rows)}", self.loss, self.workload.place),
            ):
                values = list(self.values(rows, training=training))
        except UserError as error:
            return error
        for kind, value, function in values:
            if not torch.isfinite(value.detach()).all():
                finite = self.is_finite(rows)
                said = "" if finite else ": its inputs or targets are not finite"
                where = definition(function if finite else self.workload.load, self.workload.place)
                return UserError(f"{self.what}: {kind} of {self.described(rows)} is {value.item():g}{said}{where}")
        return None

    def values(self, rows: Tensor, *, training: bool) -> Iterator[tuple[str, Tensor, object]]:
        """Yield what the batch gives: what it is, its value, the function that it is of."""
        workload, metric = self.workload, self.workload.metric
        inputs, targets = self.split.inputs[rows], self.split.targets[rows]
        self.model.train(training)
        if training and workload.augment is not None:
            inputs = workload.augment(inputs, torch.Generator().manual_seed(0))
        if workload.prepare is not None:
            inputs = workload.prepare(inputs)
        outputs: Any = None if workload.loss is None and metric.function is None else self.model(inputs)
        if workload.loss is None:
            yield "the objective", batch_loss(workload, self.model, (inputs, targets)), workload.objective
        else:
            yield "the loss", workload.loss(outputs, targets), workload.loss
        measured = self.name == metric.split or (self.name == "test" and metric.split == "validation")
        if metric.function is not None and measured and not training:
            yield f"metric {metric.name}", metric.function(outputs, targets), metric.function

    def culprit(self, rows: Tensor) -> UserError | None:
        """Return what is wrong with one of these examples alone, or None if nothing is wrong with any alone."""
        while len(rows) > 1:
            halves = torch.split(rows, (len(rows) + 1) // 2)
            rows = next((half for half in halves if self.error(half) is not None), rows[:0])
        return self.error(rows) if len(rows) else None

    def is_finite(self, rows: Tensor) -> bool:
        """Return whether their inputs and targets are."""
        return all(bool(torch.isfinite(part[rows]).all()) for part in (self.split.inputs, self.split.targets))

    def described(self, rows: Tensor) -> str:
        """Return the words for these examples; one is named by its place."""
        kind = _SPLITS[self.name]
        return f"{kind} example {int(rows[0])}" if len(rows) == 1 else f"a batch of {len(rows)} {kind} examples"

    @property
    def loss(self) -> object:
        """Return the function of the training loss."""
        return self.workload.loss or self.workload.objective

    @property
    def what(self) -> str:
        """Return the beginning of a sentence."""
        return f"workload {self.workload.name}"


def _look_at(name: _SplitName, workload: Workload, split: Split, end: float) -> None:
    """Refuse data with an example that no trial can take; beyond ``end``, look at the most unusual ones alone."""
    trier = _Trier(name, workload, split, workload.model())
    training = name == "train"
    for rows in _shuffled(len(split)) if training else evaluation_rows(split):
        if time.monotonic() > end:
            break
        error = trier.error(rows, training=training)
        if error is not None:
            raise trier.culprit(rows) or error
    not_finite, extreme = _unusual(split)
    for rows in (not_finite, extreme) if time.monotonic() > end else ():
        found = trier.culprit(rows) if len(rows) and trier.error(rows) is not None else None
        if found is not None:
            raise found
    if training and len(not_finite):
        _look_at_gradient(trier, not_finite)


def _look_at_gradient(trier: _Trier, rows: Tensor) -> None:
    """Refuse a model that keeps values that are not finite out of its loss, but not out of its gradient."""
    others = torch.arange(min(len(trier.split), _STEP_BATCH))  # some models refuse a single example
    model = trier.workload.model()
    one = _Trier(trier.name, trier.workload, trier.split, model)
    with blaming(f"{trier.what}: the gradient of {trier.described(rows)}", trier.loss, trier.workload.place):
        [(_, loss, _)] = one.values(torch.cat([rows, others]), training=True)
        torch.autograd.backward(loss)
    if not all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None):
        raise UserError(
            f"{trier.what}: the gradient of {trier.described(rows[:1])} is not finite, nor are its inputs or targets; "
            "replace these values before the model computes with them (torch.nan_to_num)"
            f"{definition(trier.workload.load, trier.workload.place)}"
        )


def _shuffled(num_examples: int) -> Iterator[Tensor]:
    order = torch.randperm(num_examples, generator=torch.Generator().manual_seed(0))
    bounds = [*batch_starts(num_examples, _BATCH), num_examples]
    return (order[first:last] for first, last in pairwise(bounds))


def _unusual(split: Split) -> tuple[Tensor, Tensor]:
    """Return the rows of values that are not finite, and those of the largest and smallest values."""
    not_finite, extreme = [], []
    for part in (split.inputs, split.targets):
        if part.dtype == torch.bool or part.numel() == 0:
            continue
        part = torch.view_as_real(part) if part.is_complex() else part
        columns = part[0].numel()
        step = max(1, _CHUNK_BYTES // max(1, columns * part.element_size()))
        highest, lowest = [], []
        for first, chunk in enumerate(torch.split(part, step)):
            flat = chunk.reshape(len(chunk), -1)
            if part.is_floating_point():
                not_finite.append(first * step + (~torch.isfinite(flat).all(dim=1)).nonzero().flatten())
            else:
                flat = flat.long()  # not all kinds of whole numbers can be compared
            highest.append(flat.amax(dim=1))
            lowest.append(flat.amin(dim=1))
            if columns <= _NUM_COLUMNS:
                extreme += [first * step + flat.argmax(dim=0), first * step + flat.argmin(dim=0)]
        extreme += [torch.cat(highest).argmax()[None], torch.cat(lowest).argmin()[None]]
    return tuple(  # type: ignore[return-value]  # of two
        torch.unique(torch.cat(rows))[:most] if rows else torch.zeros(0, dtype=torch.long)
        for rows, most in ((not_finite, _NUM_NOT_FINITE), (extreme, 4 * _NUM_COLUMNS))
    )


# -- the steps --------------------------------------------------------------------------------------------------------


def _take_steps(
    workload: Workload, data: Any, spaces: Mapping[str, SearchSpace], rows: Mapping[str, OptimizerSpec]
) -> None:
    _take_each(workload, data, spaces, rows, spaces)
    smallest = {optimizer: _smallest(space) for optimizer, space in spaces.items()}
    for optimizer in (key for key, size in smallest.items() if size == 1):
        what = f"two steps of one example, as {BATCH_SIZE} = 1 in [search_space.{optimizer}] allows,"
        _take_two(workload, data, rows[optimizer], spaces[optimizer], 1, what)
        break  # it is the model that may refuse a single example


def _take_each(
    workload: Workload,
    data: Any,
    spaces: Mapping[str, SearchSpace],
    rows: Mapping[str, OptimizerSpec],
    tried: Iterable[str],
) -> None:
    """Take two steps with each of those that are to be tried; say of one that cannot which of all others can."""
    failed: dict[str, UserError] = {}
    for optimizer in tried:
        try:
            if optimizer not in OPTIMIZERS:
                with torch.random.fork_rng():
                    check_made(rows[optimizer], workload.model(), _arguments(optimizer, spaces[optimizer]))
            size = min(_STEP_BATCH, workload.num_examples(data))
            _take_two(workload, data, rows[optimizer], spaces[optimizer], size, "two steps")
        except UserError as error:
            failed[optimizer] = error
    if failed:
        first, works = next(iter(failed.values())), [key for key in spaces if key not in failed]
        raise UserError(f"{first}; leave that out: --optimizers {','.join(works)}") if works else first


def _take_two(workload: Workload, data: Any, row: OptimizerSpec, space: SearchSpace, size: int, what: str) -> None:
    workload, data = shortened(workload, data, 2 * size, _EVALUATED)
    arguments = {**_arguments(row.key, space), BATCH_SIZE: size}
    if "max_iter" in arguments:  # a whole step of L-BFGS is twenty of others
        arguments["max_iter"] = 2
    if row.key in OPTIMIZERS:
        blamed = blaming(f"workload {workload.name}: {what} with {row.key}", workload.model, workload.place)
    else:
        blamed = blaming(f"optimizer {row.key}: {what} on {workload.name}", row.factory)
    with blamed:
        list(train(workload, row, arguments, 0, 1, data=data))


def shortened(workload: Workload, data: Any, train: int, validation: int) -> tuple[Workload, Any]:
    """Return a workload, and its data, of so many examples at most to train on, and to evaluate on.

    Evaluation of the workload's own is left out, as it is not known how to make it shorter: the metric is always 0.
    """
    shorter: dict[str, Any] = {}
    if workload.evaluate is not None:
        shorter["evaluate"] = lambda *_: 0.0
    if workload.sample is not None:
        shorter["examples"] = min(train, workload.num_examples(data))
    changed = replace(workload, **shorter)
    object.__setattr__(changed, "place", workload.place)
    if len(shorter) == 2:
        return changed, data
    # by an index, as a trial's batches: new tensors, whatever the data are views of
    parts = [(data.train, train if workload.sample is None else len(data.train)), (data.validation, validation)]
    rows = [torch.arange(min(most, len(split))) for split, most in parts]
    return changed, Data(*(Split(s.inputs[at], s.targets[at]) for (s, _), at in zip(parts, rows, strict=True)))


def _arguments(optimizer: str, space: SearchSpace) -> dict[str, object]:
    """Return the arguments of the default configuration."""
    try:
        return space.arguments(space.default)
    except UserError as error:
        raise UserError(f"search space of {optimizer}: {error}") from None


def _smallest(space: SearchSpace) -> float:
    """Return the smallest batch size that may be tried."""
    parameter, fixed = space.declared[BATCH_SIZE], space.fixed.get(BATCH_SIZE)
    sizes = [fixed] if fixed is not None else [*parameter.choices] or [parameter.low]
    return min((float(size) for size in sizes if not isinstance(size, str)), default=math.inf)
