"""What is known of optimizers by their names: those of the table, and a person's own, whose packages are not imported.

A campaign stores the tables ``[optimizer.NAME]`` of its file: ``factory`` (``"module:callable"``) with ``arguments``,
or ``spec`` (``"module:name"`` of a row in Python). Whoever reads a database relies on these alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def custom_optimizers(campaign: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the optimizers of a person's own that a stored campaign defines, by name, as its file does."""
    tables = campaign.get("optimizer")
    found = tables.items() if isinstance(tables, Mapping) else ()
    return {str(name): table for name, table in found if isinstance(table, Mapping) and made_by(table)}


def made_by(table: Mapping[str, Any]) -> str:
    """Return where an optimizer of a person's own comes from.

    >>> made_by({"factory": "pytorch_optimizer:Lion"}), made_by({"spec": "mine:spec"})
    ('pytorch_optimizer:Lion', 'mine:spec')
    """
    return str(table.get("factory") or table.get("spec") or "")


def made_arguments(table: Mapping[str, Any]) -> tuple[dict[str, tuple[object, ...]], dict[str, object]]:
    """Return the arguments that are made of parameters, and those that are the same whatever is searched.

    >>> made_arguments({"arguments": {"betas": ["beta1", 0.99], "amsgrad": True}})
    ({'betas': ('beta1', 0.99)}, {'amsgrad': True})
    """
    written = table.get("arguments")
    given = {name: _frozen(entry) for name, entry in written.items()} if isinstance(written, Mapping) else {}
    made = {
        name: entry
        for name, entry in given.items()
        if isinstance(entry, tuple) and any(isinstance(part, str) for part in entry)
    }
    return made, {name: entry for name, entry in given.items() if name not in made}


def _frozen(entry: object) -> object:
    return tuple(entry) if isinstance(entry, list) else entry


def fixed_arguments(optimizer: str, campaign: Mapping[str, Any]) -> dict[str, object]:
    """Return the arguments of an optimizer that a stored campaign gives and that are no parameters of its space."""
    table = custom_optimizers(campaign).get(optimizer)
    return {} if table is None else made_arguments(table)[1]


def described(optimizer: str, campaign: Mapping[str, Any]) -> str:
    """Return what an optimizer of a stored campaign is: where it comes from, or the source that its row tells.

    Empty for a name that the table does not have, or no longer.
    """
    table = custom_optimizers(campaign).get(optimizer)
    if table is None:
        return sources().get(optimizer, "")
    made, _ = made_arguments(table)
    parts = ", ".join(f"{name} = ({', '.join(map(str, entry))})" for name, entry in made.items())
    return made_by(table) + (f" with {parts}" if parts else "")


@cache
def sources() -> Mapping[str, str]:
    """Return paper and implementation of each of ``sofim.OPTIMIZERS``, by key, in the table's order.

    The table is read as text, for importing it loads torch; a row that is not written out is left out.
    """
    home = find_spec("sofim")
    assert home is not None
    assert home.submodule_search_locations is not None
    text = (Path(home.submodule_search_locations[0]) / "registry.py").read_text(encoding="utf-8")
    return dict(_rows(ast.parse(text)))


def _rows(module: ast.Module) -> Iterator[tuple[str, str]]:
    for call in ast.walk(module):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "OptimizerSpec"):
            continue
        given = {word.arg: word.value for word in call.keywords}
        key, source = (call.args[0] if call.args else given.get("key")), given.get("source", ast.Constant(""))
        if isinstance(key, ast.Constant) and isinstance(source, ast.Constant):
            yield str(key.value), str(source.value)
