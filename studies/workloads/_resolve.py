"""From what a person types to a workload: a row of the table, or a function of the person's own."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from search_spaces.errors import UserError
from studies.modules import also_look_in, factory_named, in_the_way
from studies.workloads._base import Workload
from studies.workloads._load import seeded
from studies.workloads._pickled import carried
from studies.workloads.user_errors import blaming, definition


def resolve_in(table: Mapping[str, Workload], name: str) -> Workload:
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


def _own(table: Mapping[str, Workload], path: str) -> Workload:
    parts = factory_named(path)
    if parts is None:
        raise UserError(f"workload {path!r} is not of the form package.module:factory")
    module_name, factory_name = parts
    factory = carried(path)
    file = "this process"
    if factory is None:
        module = _imported(path, module_name)
        file = getattr(module, "__file__", None) or module_name
        factory = getattr(module, factory_name, None)
        if factory is None:
            names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            near = difflib.get_close_matches(factory_name, names, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"workload {path}: {file} has no {factory_name}{meant}")
    if isinstance(factory, Workload):
        workload: object = factory
    elif callable(factory):
        with blaming(f"workload {path}: {factory_name}()", factory), seeded():
            workload = factory()
    else:
        raise UserError(
            f"workload {path}: {factory_name} in {file} is of type {type(factory).__name__}, not a function"
        )
    if not isinstance(workload, Workload):
        raise UserError(
            f"workload {path}: {factory_name}() returned {type(workload).__name__}, not a studies.workloads.Workload"
            f"{definition(factory)}"
        )
    if workload.name in table:
        raise UserError(
            f"workload {path}: the name {workload.name} belongs to the project's own; choose another"
            f"{definition(factory)}"
        )
    return workload


def _imported(path: str, name: str) -> ModuleType:
    """Import the module called ``name`` of the workload ``path``, also from the current directory."""
    here = str(Path.cwd())
    if "" not in sys.path:  # as in a notebook
        also_look_in([here])
    importlib.invalidate_caches()
    hidden = in_the_way(name)
    if hidden is not None:
        raise UserError(f"workload {path}: {hidden}")
    try:
        with blaming(f"workload {path}: importing {name}", None), seeded():
            return importlib.import_module(name)
    except UserError as error:
        cause = error.__cause__
        absent = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if absent and f"{name}.".startswith(f"{absent}."):
            meant = f"; a module is named without .py: {path.replace('.py:', ':')}" if name.endswith(".py") else ""
            raise UserError(
                f"workload {path}: there is no module {absent} in {here} or elsewhere on Python's path{meant}"
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
