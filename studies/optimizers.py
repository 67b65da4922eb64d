"""Optimizers by name: the rows of ``sofim.OPTIMIZERS``, and a person's own.

One's own is a table in a campaign's file, for anything that is a ``torch.optim.Optimizer``:

.. code-block:: toml

    optimizers = ["sgd", "adabelief"]

    [optimizer.adabelief]
    factory = "pytorch_optimizer:AdaBelief"      # module:callable, called with the parameters and the arguments
    arguments = { betas = ["beta1", "beta2"] }   # of several parameters one argument, or fixed ones

    [search_space.adabelief]
    lr = { low = 1e-4, high = 1e-1, log = true, default = 1e-3 }
    beta1 = { low = 0.8, high = 0.99, log_of_one_minus = true, default = 0.9 }
    beta2 = 0.99

or a row as the table's are, in Python: ``--optimizer mine:spec``, ``studies.tune(optimizers=["sgd", spec])``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from search_spaces import OF_TRAINING, CustomSpace, custom_space
from search_spaces.errors import UserError, shown, suggestion
from sofim import OPTIMIZERS, OptimizerSpec
from studies.training.parameter_groups import trained
from studies.training.schedules import SHAPES
from studies.workloads._pickled import MAIN, carried_as
from studies.workloads._resolve import instance, located
from studies.workloads.user_errors import blaming, definition, is_users

Tables = Mapping[str, Mapping[str, Any]]
"""The tables ``[optimizer.NAME]`` of a campaign, by name."""

PLACES = ("spec", "factory", "groups")
"""Keys of such a table that name a person's code."""

_NONE: Tables = MappingProxyType({})


def resolve(name: str, tables: Tables = _NONE) -> OptimizerSpec:
    """Return an optimizer's row; the search space of one's own row is a `SearchSpace`, where it has one.

    Args:
        name: Key in ``sofim.OPTIMIZERS`` or in ``tables``, or ``"module:spec"``.
        tables: Of the campaign; an empty one is of a search space without an optimizer.

    Raises:
        UserError: There is no such optimizer, or the person's module fails or has something else there.
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    if ":" in name:
        return _with_space(_row(name), name)
    if name not in tables:
        known = [*OPTIMIZERS, *tables]
        raise UserError(
            f"unknown optimizer {shown(name)}: known are {', '.join(known)}; your own: module:spec"
            f"{suggestion(name, known)}"
        )
    table = dict(tables[name])
    if not table:
        return OptimizerSpec(name, _none, source="a training function's own")
    if "spec" in table:
        return _with_space(_called(name, table["spec"]), table["spec"])
    table.pop("arguments", None)
    if "groups" in table:
        table["groups"] = _callable(table["groups"])
    if "evaluations_per_step" not in table:  # closures are counted one by one; a graph of a gradient is for another
        table["evaluations_per_step"] = 0 if table.get("needs_closure") else 2 if table.get("needs_create_graph") else 1
    return OptimizerSpec(name, source=table["factory"], **{**table, "factory": _callable(table["factory"])})


def space_of(name: str, table: Mapping[str, Any]) -> CustomSpace:
    """Return what is known of the search space of one's own optimizer besides what the campaign's file says.

    Args:
        name: Its key.
        table: The one called so; a row in Python is imported, and nothing where there is none.

    Raises:
        UserError: As of `resolve`.
    """
    if "spec" not in table:
        return CustomSpace(arguments=table.get("arguments", {}))
    return CustomSpace(base=_called(name, table["spec"]).space)


def listed(optimizers: Sequence[object]) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """Return the keys of optimizers, and the tables of those that are one's own.

    Args:
        optimizers: Each a key, ``"module:spec"``, or a row, which need not be in any module.

    Raises:
        UserError: One is nothing of these, or two of one's own have the same key.
    """
    names: list[str] = []
    tables: dict[str, dict[str, Any]] = {}
    for optimizer in optimizers:
        if isinstance(optimizer, str) and ":" not in optimizer:
            names.append(optimizer)
            continue
        if isinstance(optimizer, OptimizerSpec) and OPTIMIZERS.get(optimizer.key) is optimizer:
            names.append(optimizer.key)
            continue
        if isinstance(optimizer, str):
            path, row = optimizer, _row(optimizer)
        elif isinstance(optimizer, OptimizerSpec):
            path, row = "", optimizer
        else:
            given = optimizer.__name__ if isinstance(optimizer, type) else f"of type {type(optimizer).__name__}"
            raise UserError(
                f"optimizers: {given} is no optimizer's key, such as sgd, no module:spec, and no sofim.OptimizerSpec"
            )
        if row.key in OPTIMIZERS:
            raise UserError(
                f"optimizer.{row.key}: {row.key} is an optimizer of the project's own; give yours another name"
            )
        path = path or carried_as(row.key, row, "optimizer")
        if row.key in tables:
            raise UserError(f"optimizers: two have the key {row.key}; give one of them another")
        names.append(row.key)
        tables[row.key] = {"spec": path}
    return tuple(names), tables


def check_made(row: OptimizerSpec, model: torch.nn.Module, arguments: Mapping[str, object]) -> None:
    """Refuse a row of one's own that makes nothing that can train a model.

    Args:
        row: Which.
        model: A new one.
        arguments: Of a trial.

    Raises:
        UserError: The factory fails, or what it returns is no optimizer or lacks something.
    """
    chosen = {name: value for name, value in arguments.items() if name not in OF_TRAINING}
    what = f"optimizer {row.key}"
    other = "needs_create_graph" if row.needs_create_graph else "needs_hessian" if row.needs_hessian else None
    if row.needs_closure and other:
        raise UserError(
            f"{what}: needs_closure and {other} exclude each other: its closure makes no graph of a gradient"
        )
    params = trained(row, model)
    try:
        with blaming(f"{what}: called with {', '.join(['the parameters', *chosen])}, its factory", row.factory):
            made: Any = row.factory(params, **chosen)
    except UserError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        if row.space is None:
            remedy = f'arguments in [optimizer.{row.key}] make one of several, as betas = ["beta1", "beta2"]'
        else:  # a row in Python, beside whose name there are no arguments
            remedy = "give its row a factory that takes the parameters of its space"
        raise UserError(f"{error}; {remedy}") from error
    at = definition(row.factory)
    if not isinstance(made, torch.optim.Optimizer):
        raise UserError(f"{what}: its factory returned {type(made).__name__}, not a torch.optim.Optimizer{at}")
    for group in made.param_groups:
        if not isinstance(group.get("lr"), int | float | torch.Tensor):
            has = f"have lr = {group['lr']!r}" if "lr" in group else "have no lr"
            raise UserError(
                f"{what}: its parameter groups {has}, which the schedule of the learning rate sets: give the optimizer "
                f"a default lr, a number{at}"
            )
    lacking = [name for name in ("train", "eval") if row.has_modes and not callable(getattr(made, name, None))]
    if lacking:
        raise UserError(f"{what}: has_modes is true, and its optimizer has no {lacking[0]}(){at}")
    if row.needs_hessian and not (hasattr(made, "refresh_due") and callable(getattr(made, "refresh", None))):
        raise UserError(f"{what}: needs_hessian is true, and its optimizer has no refresh_due or refresh(loss){at}")


def code_of(table: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files, or the directories of packages, of a person's own code that a table names.

    Of what is installed nothing: the nodes have it, or must.
    """
    for path in (table[key] for key in PLACES if key in table):
        top = path.partition(":")[0].partition(".")[0]
        module = sys.modules.get(top)
        place = next(iter(getattr(module, "__path__", ())), getattr(module, "__file__", None))
        if top != MAIN and place is not None and is_users(place):
            yield Path(place)


def _none(*_: object, **__: object) -> torch.optim.Optimizer:
    raise UserError("there is no optimizer: it is the search space of a training function")


def _row(path: str) -> OptimizerSpec:
    """Return the row that ``module:spec`` names."""
    source, _ = located(path, "optimizer")
    if isinstance(source, type) and issubclass(source, torch.optim.Optimizer):
        name = path.partition(":")[2]
        raise UserError(
            f"optimizer {path}: {name} is an optimizer, without a search space; name a row beside it, "
            f"spec = sofim.OptimizerSpec({name.lower()!r}, {name}, space={{...}})"
        )
    row = instance(path, "optimizer", OptimizerSpec, "a sofim.OptimizerSpec")
    if not callable(row.factory):
        raise UserError(f"optimizer {path}: its factory is of type {type(row.factory).__name__}, and cannot be called")
    if row.groups is not None and not callable(row.groups):
        raise UserError(f"optimizer {path}: its groups are of type {type(row.groups).__name__}, and cannot be called")
    if row.schedule is not None and row.schedule not in tuple(SHAPES):
        raise UserError(f"optimizer {path}: its schedule is {shown(row.schedule)}: must be one of {', '.join(SHAPES)}")
    return row


def _called(name: str, path: str) -> OptimizerSpec:
    """Return the row that ``module:spec`` names, of which ``name`` must be the key."""
    row = _row(path)
    if row.key != name:
        called = f"call the table [optimizer.{row.key}]"
        raise UserError(f"optimizer.{name}: the key of {path} is {shown(row.key)}; {called}")
    return row


def _with_space(row: OptimizerSpec, path: str) -> OptimizerSpec:
    if row.space is None:
        return row
    try:
        return replace(row, space=custom_space(row.key, {}, CustomSpace(row.space)))
    except UserError as error:
        raise UserError(f"optimizer {path}: {error}") from None


def _callable(path: str) -> Callable[..., Any]:
    source, file = located(path, "optimizer")
    if not callable(source):
        name = path.partition(":")[2]
        raise UserError(f"optimizer {path}: {name} in {file} is of type {type(source).__name__}, not a function")
    return source
