"""From what a person types to a workload: a row of the table, or a function of the person's own.

What is found by ``package.module:name`` may be another thing than a workload: an optimizer (`studies.optimizers`).
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from search_spaces.errors import UserError
from studies.modules import also_look_in, factory_named, in_the_way
from studies.workloads._base import Workload
from studies.workloads._function import TrainingFunction, is_generator_function
from studies.workloads._load import seeded
from studies.workloads._pickled import Kind, carried
from studies.workloads.user_errors import blaming, definition

_T = TypeVar("_T")


def resolve_in(table: Mapping[str, Workload], name: str) -> Workload | TrainingFunction:
    """Return the workload that ``name`` means; see ``studies.workloads.resolve``."""
    if ":" not in name:
        if name in table:
            return table[name]
        near = difflib.get_close_matches(name[:64], list(table), n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"unknown workload {name[:64]!r}{meant}; known: {', '.join(table)}; your own: package.module:factory"
        )
    return _own(table, name)


def _own(table: Mapping[str, Workload], path: str) -> Workload | TrainingFunction:
    source = located(path, "workload")[0]
    if isinstance(source, TrainingFunction):
        workload: Workload | TrainingFunction = source
    elif is_generator_function(source):
        name = path.partition(":")[2]
        raise UserError(
            f"workload {path}: {name} is a training function, of which metric and epochs must be known: write beside "
            f'it task = TrainingFunction("{name.strip("_")}", {name}, Metric("accuracy", "maximize"), epochs=10) and '
            f"name {path.partition(':')[0]}:task{definition(source)}"
        )
    else:
        both: tuple[type[Workload | TrainingFunction], ...] = (Workload, TrainingFunction)
        workload = instance(path, "workload", both, "a studies.workloads.Workload")
    if workload.name in table:
        raise UserError(
            f"workload {path}: the name {workload.name} belongs to the project's own; choose another"
            f"{definition(located(path, 'workload')[0])}"
        )
    return workload


def instance(path: str, kind: Kind, wanted: type[_T] | tuple[type[_T], ...], called: str) -> _T:
    """Return what ``package.module:name`` means, or what it returns when it is called.

    Args:
        path: That name.
        kind: What it is of, as messages call it.
        wanted: Of which it must be.
        called: The same in words, with its article.

    Raises:
        UserError: There is nothing of that name, it fails, or is something else.
    """
    source, file = located(path, kind)
    name = path.partition(":")[2]
    if isinstance(source, wanted):
        return source
    if not callable(source):
        raise UserError(f"{kind} {path}: {name} in {file} is of type {type(source).__name__}, not a function")
    with blaming(f"{kind} {path}: {name}()", source), seeded():
        made = source()
    if not isinstance(made, wanted):
        raise UserError(f"{kind} {path}: {name}() returned {type(made).__name__}, not {called}{definition(source)}")
    return made


def located(path: str, kind: Kind) -> tuple[object, str]:
    """Return what ``package.module:name`` means, which may be carried, and the file that it is in.

    Raises:
        UserError: There is nothing of that name.
    """
    parts = factory_named(path)
    if parts is None:
        raise UserError(f"{kind} {path!r} is not of the form package.module:factory")
    module_name, name = parts
    source = carried(path, kind)
    if source is not None:
        return source, "this process"
    module = _imported(f"{kind} {path}", module_name, path)
    file = getattr(module, "__file__", None) or module_name
    source = getattr(module, name, None)
    if source is None:
        names = [n for n, value in vars(module).items() if not (n.startswith("_") or isinstance(value, ModuleType))]
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{kind} {path}: {file} has no {name}{meant}")
    return source, file


def _imported(what: str, name: str, path: str) -> ModuleType:
    """Import the module called ``name`` of ``what``, which is at ``path``, also from the current directory."""
    here = str(Path.cwd())
    if "" not in sys.path:  # as in a notebook
        also_look_in([here])
    importlib.invalidate_caches()
    hidden = in_the_way(name)
    if hidden is not None:
        raise UserError(f"{what}: {hidden}")
    try:
        with blaming(f"{what}: importing {name}", None), seeded():
            return importlib.import_module(name)
    except UserError as error:
        cause = error.__cause__
        absent = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if absent and f"{name}.".startswith(f"{absent}."):
            meant = f"; a module is named without .py: {path.replace('.py:', ':')}" if name.endswith(".py") else ""
            raise UserError(
                f"{what}: there is no module {absent} in {here} or elsewhere on Python's path{meant}"
            ) from cause
        hidden = in_the_way(_asked_of(cause))
        if hidden is not None:
            raise UserError(f"{error}; {hidden}") from cause
        raise


def _asked_of(error: BaseException | None) -> str:
    """Return the name of the module of which the error says that it lacks something, or nothing."""
    if isinstance(error, ImportError):
        return error.name or ""
    module = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    return module.__name__ if isinstance(module, ModuleType) else ""
