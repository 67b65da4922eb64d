"""What a search with a budget found, for a person and for a program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.text import format_duration, format_value
from search_spaces import BATCH_SIZE
from search_spaces.errors import number_of
from studies.commands.python_line import code_line, needs_of_a_loop
from studies.training.schedules import followed
from studies.trials import Tally

if TYPE_CHECKING:
    from studies.ledger import ConfirmedWinner

DIGITS = 6
"""Significant digits of the configuration in the line of code: more than any validation data can tell apart."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, with Student's t interval of 95 % (NaN below two seeds); ``values`` are those of the seeds."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        if math.isnan(self.low):
            return format_value(self.mean)
        return f"{format_value(self.mean)} [{format_value(self.low)}, {format_value(self.high)}]"


@dataclass(frozen=True, slots=True)
class Tried:
    """One of the optimizers that a search chose from.

    Attributes:
        optimizer: Its key.
        best: The metric of its best trial, NaN where none ran its whole budget; too good to be expected again.
        trials: That it got and that ended, and ``complete`` of these.
        complete: See ``trials``.
        seeds: Runs of its best trial on fresh seeds: 0 but for the winner and the runner-up.
        broken: Those of them that diverged or failed, which are in no mean.
        validation: The metric on fresh seeds.
        test: The same on test data.
        params: Its best configuration, stored values.
    """

    optimizer: str
    best: float
    trials: int
    complete: int
    seeds: int
    broken: int
    validation: Estimate
    test: Estimate
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best optimizer of a search, its configuration, and what that gives on fresh seeds.

    Attributes:
        study: Name of the study in the database; ``sofim report --study`` tells how sensitive it is.
        workload: What was trained.
        optimizer: Key of the best optimizer.
        arguments: Of its factory, or what the training function takes.
        batch_size: To train with; ``None`` for hyperparameters of a training function, which are all in ``arguments``.
        metric: What configurations were chosen by.
        direction: ``"maximize"`` or ``"minimize"``.
        metric_split: ``"validation"``, or ``"train"`` for a metric of the optimization itself.
        validation: The metric on fresh seeds.
        test: The metric on test data (the test loss for a metric of the optimization itself), on the same seeds, at the
            epoch that validation chose; ``None`` without test data.
        searched: The metric in the search: the best of many, too good to be expected again.
        seeds: Fresh seeds that were asked for; fewer values mean that time ran out or that runs broke.
        broken: Confirmation runs that diverged or failed.
        trials: Of the search, by how they ended.
        ended: Why the search ended.
        seconds: Spent, by all drivers.
        code: Lines of Python that make the optimizer.
        optimizers: What the search found of each, best first.
        compared: What the winner and the runner-up on the same fresh seeds show, and what they do not, in sentences.
    """

    study: str
    workload: str
    optimizer: str
    arguments: Mapping[str, object]
    batch_size: int | None
    metric: str
    direction: str
    metric_split: str
    validation: Estimate
    test: Estimate | None
    searched: float
    seeds: int
    broken: int
    trials: Mapping[str, int]
    ended: str
    seconds: float
    code: str
    optimizers: tuple[Tried, ...] = ()
    compared: tuple[str, ...] = ()

    def __str__(self) -> str:
        table = [tuple(heading.replace("\n", " ") for heading in self.headings()), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        rows = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
        parts = [self.told(), rows if self.optimizers else [], self.compared, self.code.splitlines()]
        return "\n\n".join("\n".join(part) for part in parts if part)

    def headings(self) -> tuple[str, ...]:
        """Return the headings of `rows`."""
        split = "training" if self.metric_split == "train" else "validation"
        test = "loss" if self.metric_split == "train" else self.metric
        known = (f"best {self.metric}\nin the search", "trials", f"{split} {self.metric}\non fresh seeds")
        return ("optimizer", *known, *([f"test {test}\non fresh seeds"] if self.test is not None else []))

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each optimizer, in words, best first."""
        return [
            (
                one.optimizer,
                format_value(one.best) if one.complete else "–",
                f"{one.trials} ({one.complete} complete)" if one.trials else "0",
                _on_seeds(one, one.validation),
                *([_on_seeds(one, one.test)] if self.test is not None else []),
            )
            for one in self.optimizers
        ]

    def told(self) -> list[str]:
        """Return what was found, in words; the code is apart."""
        split = "training" if self.metric_split == "train" else "validation"
        best = "" if self.batch_size is None else f": {self.optimizer}"
        lines = [
            f"Best on {self.workload}{best}, after {in_words(self.trials)} in "
            f"{format_duration(self.seconds)} ({self.ended})",
            f"  {split} {self.metric}: {self.validation}",
        ]
        if self.test is not None:
            lines.append(f"  test {'loss' if self.metric_split == 'train' else self.metric}: {self.test}")
        lines.append(f"  {self._seeds()}")
        return lines

    def _seeds(self) -> str:
        """On what the intervals rest."""
        runs = len(self.validation.values)
        said = number_of(runs, "fresh seed")
        missing = self.seeds - runs - self.broken
        reasons = [
            *([f"{self.broken} diverged or failed and are not in the mean"] if self.broken else []),
            *([f"no time for {missing}"] if missing > 0 else []),
        ]
        of = f" of {self.seeds} ({', '.join(reasons)})" if reasons else ""
        interval = "" if math.isnan(self.validation.low) else "; 95 % intervals of the mean, Student's t over seeds"
        return f"on {said}{of}{interval}"


def _on_seeds(one: Tried, found: Estimate) -> str:
    if math.isnan(found.mean):
        return f"all {one.broken} broke" if one.broken else "–"
    return f"{found}, {one.broken} of {one.seeds} broke" if one.broken else str(found)


def in_words(trials: Mapping[str, int]) -> str:
    """How many trials there were, and how they ended."""
    whole = sum(trials.values())
    parts = ", ".join(f"{count} {outcome}" for outcome, count in trials.items() if count)
    return number_of(whole, "trial") + (f" ({parts})" if parts else "")


def outcomes(tally: Tally) -> dict[str, int]:
    """Trials of a search by how they ended."""
    return {name: getattr(tally, name) for name in ("complete", "pruned", "diverged", "failed")}


def code_lines(
    found: ConfirmedWinner, custom: Mapping[str, Mapping[str, Any]], *, of_function: bool, schedule: str | None = None
) -> str:
    """Return the code that makes the winner's optimizer, its batch size, and what it needs of a loop.

    Args:
        found: The winner.
        custom: The tables of optimizers of a person's own.
        of_function: Whether there is no optimizer: the code is the configuration of a training function.
        schedule: Of the learning rate in the search; ``None`` where a training function may have its own.
    """
    if of_function:
        values = {name: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for name, v in found.arguments.items()}
        return f"configuration = {values!r}"
    from studies.optimizers import resolve

    table, row = custom.get(found.optimizer), resolve(found.optimizer, custom)
    written = code_line(found.optimizer, found.arguments, digits=DIGITS, table=table, row=row)
    imports, _, expression = written.partition("\n\n")
    lines = [imports, "", f"optimizer = {expression}", f"batch_size = {found.arguments[BATCH_SIZE]}"]
    if schedule is not None:
        lines.append(f"# learning-rate schedule: {followed(schedule, row.schedule)}")
    return "\n".join([*lines, *needs_of_a_loop(row)])
