"""The lines of Python that make an optimizer as a study had it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from search_spaces import OF_TRAINING
from search_spaces.errors import UserError, shown, suggestion

_PUBLIC = ("sofim", "torch.optim", "sofim.library", "sofim.registry")  # modules that people import optimizers from


def code_line(
    optimizer: str,
    arguments: Mapping[str, object],
    *,
    digits: int | None = None,
    table: Mapping[str, Any] | None = None,
) -> str:
    """Return an import line, an empty line, and an expression that makes the optimizer of a ``model``.

    What the registry's factory adds to the class (momentum 0.9 for SGD) is written out, so that the line gives what
    was trained with.

    Args:
        optimizer: Key in ``sofim.OPTIMIZERS``.
        arguments: Of its factory; ``batch_size``, which is a data loader's, and a searched warm-up, which is a
            schedule's, may be among them and are left out.
        digits: Significant digits of the numbers; all that they have when ``None``.
        table: Of an optimizer of one's own its ``[optimizer.NAME]``; nothing of it is imported.

    Raises:
        UserError: There is no such optimizer.

    >>> print(code_line("sofim", {"lr": 0.1, "beta": 0.9, "rho": 0.5, "batch_size": 64}))
    from sofim import SOFIM
    <BLANKLINE>
    SOFIM(model.parameters(), lr=0.1, beta=0.9, rho=0.5)
    """
    from sofim import OPTIMIZERS

    if table is not None:
        return _custom_line(table, arguments, digits)
    if optimizer not in OPTIMIZERS:
        raise UserError(
            f"unknown optimizer {shown(optimizer)}: known are {', '.join(OPTIMIZERS)}"
            f"{suggestion(optimizer, OPTIMIZERS)}"
        )
    spec = OPTIMIZERS[optimizer]
    made_by: Any = spec.factory
    preset: Mapping[str, object] = {}
    if isinstance(made_by, partial):
        made_by, preset = made_by.func, made_by.keywords
    module, name = _public_place(made_by)
    chosen = {key: value for key, value in {**preset, **arguments}.items() if key not in OF_TRAINING}
    written = [f"{key}={_written(value, digits)}" for key, value in chosen.items()]
    imports, params = f"from {module} import {name}", "model.parameters()"
    if spec.groups is not None:
        place, groups = _public_place(spec.groups)
        imports += f", {groups}" if place == module else f"\nfrom {place} import {groups}"
        params = f"{groups}(model)"
    return f"{imports}\n\n{name}({', '.join([params, *written])})"


def _custom_line(table: Mapping[str, Any], arguments: Mapping[str, object], digits: int | None) -> str:
    module, _, name = str(table.get("spec") or table["factory"]).partition(":")
    imports, parameters = [f"from {module} import {name}"], "model.parameters()"
    if "groups" in table:
        place, _, groups = str(table["groups"]).partition(":")
        imports.append(f"from {place} import {groups}")
        parameters = f"{groups}(model)"
    written = [f"{key}={_written(value, digits)}" for key, value in arguments.items() if key not in OF_TRAINING]
    expression = f"{name}{'.factory' if 'spec' in table else ''}({', '.join([parameters, *written])})"
    return "\n".join(imports) + f"\n\n{expression}"


def _public_place(factory: object) -> tuple[str, str]:
    """Return the module that people import ``factory`` from, and its name there."""
    name = str(getattr(factory, "__name__", ""))
    for module in _PUBLIC:
        if getattr(import_module(module), name, None) is factory:
            return module, name
    return str(getattr(factory, "__module__", "")), name


def _written(value: object, digits: int | None) -> str:
    """Return ``value`` as Python writes it."""
    if isinstance(value, tuple):
        inside = ", ".join(_written(entry, digits) for entry in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, float) and digits is not None:
        return repr(float(f"{value:.{digits}g}"))
    return repr(value)
