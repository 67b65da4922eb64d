"""The lines of Python that make an optimizer as a study had it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from analysis.optimizers import made_by
from search_spaces import OF_TRAINING
from search_spaces.errors import UserError, shown, suggestion

if TYPE_CHECKING:
    from sofim import OptimizerSpec

_PUBLIC = ("sofim", "torch.optim", "sofim.factories")  # modules that people import optimizers from
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "needs_closure": (
        "# it needs optimizer.step(closure): a function that clears the gradients, computes the loss of the batch,",
        "# calls backward on it and returns it; the optimizer calls it several times a step",
    ),
    "needs_create_graph": ("# it needs loss.backward(create_graph=True), and optimizer.zero_grad() after each step",),
    "needs_hessian": ("# it needs this before loss.backward(): if optimizer.refresh_due: optimizer.refresh(loss)",),
    "has_modes": (
        "# it needs optimizer.train() before it trains, and optimizer.eval() before the model is evaluated or saved",
    ),
}


def code_line(
    optimizer: str,
    arguments: Mapping[str, object],
    *,
    digits: int | None = None,
    table: Mapping[str, Any] | None = None,
    row: OptimizerSpec | None = None,
) -> str:
    """Return lines that import, an empty line, and an expression that makes the optimizer of a ``model``.

    What the registry's factory adds to the class (momentum 0.9 for SGD) is written out, so that the line gives what
    was trained with.

    Args:
        optimizer: Key in ``sofim.OPTIMIZERS``.
        arguments: Of its factory; ``batch_size``, which is a data loader's, and a searched warm-up, which is a
            schedule's, may be among them and are left out.
        digits: Significant digits of the numbers; all that they have when ``None``.
        table: Of a person's own, what the campaign stores of it, see `analysis.optimizers`; nothing of it is imported.
        row: What ``table`` names, where this process has imported it: its space may make the arguments by code, and it
            may have groups.

    Raises:
        UserError: There is no such optimizer.

    >>> print(code_line("sofim", {"lr": 0.1, "beta": 0.9, "rho": 0.5, "batch_size": 64}))
    from sofim import SOFIM
    <BLANKLINE>
    SOFIM(model.parameters(), lr=0.1, beta=0.9, rho=0.5)
    >>> print(code_line("lion", {"lr": 0.1, "betas": (0.9, 0.99)}, table={"factory": "pytorch_optimizer:Lion"}))
    import pytorch_optimizer
    <BLANKLINE>
    pytorch_optimizer.Lion(model.parameters(), lr=0.1, betas=(0.9, 0.99))
    """
    if table is not None:
        return _custom_line(table, arguments, digits, has_groups=row is not None and row.groups is not None)
    from sofim import OPTIMIZERS

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


def _custom_line(
    table: Mapping[str, Any], arguments: Mapping[str, object], digits: int | None, *, has_groups: bool
) -> str:
    """Return the lines for an optimizer of a person's own, by names with their modules: two may be called alike."""
    maker, groups = made_by(table), str(table.get("groups", ""))
    modules = dict.fromkeys(place.partition(":")[0] for place in (maker, groups) if place)
    of_script = f"# {_in_full(maker)}: the sofim.OptimizerSpec that the script or the notebook defines"
    imports = [of_script if module == "__main__" else f"import {module}" for module in modules]
    factory = _in_full(maker) + ("" if "factory" in table else ".factory")
    if has_groups and not groups:  # a row's own
        groups = f"{maker}.groups"
    of_model = f"{_in_full(groups)}(model)" if groups else "model.parameters()"
    written = [f"{key}={_written(value, digits)}" for key, value in arguments.items() if key not in OF_TRAINING]
    return "\n".join(imports) + f"\n\n{factory}({', '.join([of_model, *written])})"


def _in_full(place: str) -> str:
    return place.removeprefix("__main__:").replace(":", ".")


def needs_of_a_loop(row: OptimizerSpec | Mapping[str, object]) -> list[str]:
    """Return comments that say what an optimizer needs of a training loop.

    Args:
        row: Of the table or a person's own, or what a campaign stores of such a one.
    """
    asked = row if isinstance(row, Mapping) else {name: getattr(row, name) for name in _NEEDS}
    return [line for name, lines in _NEEDS.items() if asked.get(name) for line in lines]


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
