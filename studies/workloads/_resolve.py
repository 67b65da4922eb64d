"""From what a person types to a workload: a row of the table, or a function of the person's own."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

from studies.errors import UserError
from studies.workloads._base import Workload
from studies.workloads._blame import blaming, definition


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
    module_name, _, factory_name = path.partition(":")
    if not factory_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise UserError(f"workload {path!r} is not of the form package.module:factory")
    _find_beside_the_person()
    try:
        with blaming(f"workload {path}: importing {module_name}", None):
            module = importlib.import_module(module_name)
    except UserError as error:
        absent = error.__cause__
        if isinstance(absent, ModuleNotFoundError) and absent.name and f"{module_name}.".startswith(f"{absent.name}."):
            raise UserError(
                f"workload {path}: there is no module {absent.name} in {Path.cwd()} or elsewhere on Python's path"
            ) from absent
        raise
    factory: object = getattr(module, factory_name, None)
    if factory is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        near = difflib.get_close_matches(factory_name, names, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"workload {path}: {module.__file__} has no {factory_name}{meant}")
    if isinstance(factory, Workload):
        workload: object = factory
    elif callable(factory):
        with blaming(f"workload {path}: {factory_name}()", factory):
            workload = factory()
    else:
        raise UserError(
            f"workload {path}: {factory_name} in {module.__file__} is of type {type(factory).__name__}, not a function"
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


def _find_beside_the_person() -> None:
    """Let modules in the current directory be found, as ``python -m`` does and a console command does not."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
