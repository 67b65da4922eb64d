"""What a campaign's fields refuse, and the one line that says so."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from search_spaces import OF_TRAINING, SEARCH_SPACES, check_arguments
from search_spaces.errors import UserError, is_finite, key_shown, shown, suggestion
from studies.modules import factory_named
from studies.training.schedules import SHAPES, WARMUP_FRACTION

MOST = 1_000_000
"""No number of trials or epochs is larger: more is a slip of the fingers."""

WHOLE_NUMBER = f"a whole number from 1 to {MOST}"
SHARE = "a share of all steps from 0 to below 1, or a range [low, high] of these to search"
TARGETS = "a table [targets] with a number for each workload whose target is to be fixed"


def check_name(name: str) -> str:
    """Refuse a campaign name that could not be part of a study's name, a file's name and a command line."""
    if not name or name != name.strip() or len(name) > 64:
        raise ValueError("must be 1 to 64 characters, the first and last no space")
    bad = [c for c in name if c in '/\\:*?"<>|' or unicodedata.category(c)[0] == "C" or not c.isprintable()]
    if bad:
        raise ValueError(f"must not contain {shown(bad[0])} (nor any slash, colon, wildcard or control character)")
    if name[0] in ".-" or name.endswith(".toml"):
        raise ValueError('must neither start with "." or "-" nor end in ".toml": it would be taken for something else')
    return name


def check_different(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list that names something twice: its studies would have one name."""
    twice = [name for position, name in enumerate(names) if name in names[:position]]
    if twice:
        raise ValueError(f"names {shown(twice[0])} twice")
    return names


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """Return a check that refuses all but ``names`` and suggests the nearest of them."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"must be one of {', '.join(names)}{suggestion(name, names)}")
        return name

    return check


def check_epochs(epochs: object) -> object:
    """Refuse all but one epoch budget, a table of them by workload, or none."""
    budgets = list(epochs.values()) if isinstance(epochs, dict) else [] if epochs is None else [epochs]
    for budget in budgets:
        if isinstance(budget, bool) or not isinstance(budget, int) or not 1 <= budget <= MOST:
            raise ValueError(f"must be {WHOLE_NUMBER}, or a table of these by workload")
    return epochs


def check_warmup(warmup: object) -> object:
    """Refuse all but one share of the steps, or a range of shares to search."""
    shares: list[Any] = list(warmup) if isinstance(warmup, list | tuple) else [warmup]
    if any(isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1 for share in shares):
        raise ValueError(f"must be {SHARE}")
    if isinstance(warmup, list | tuple) and not (len(shares) == 2 and shares[0] < shares[1]):
        raise ValueError(f"is no range of two different shares, the smaller first: must be {SHARE}")
    return warmup


def check_targets(targets: object) -> object:
    """Refuse all but a table of finite numbers by workload."""
    if not isinstance(targets, Mapping):
        raise ValueError(f"must be {TARGETS}")
    for name, target in targets.items():
        if not is_finite(target):
            raise ValueError(f"the target of {shown(name)} must be a finite number, not {shown(target)}")
    return targets


def check_workloads(names: Sequence[str], *, listed: bool = True) -> None:
    """Refuse names that are neither in the table of workloads nor of the form ``package.module:factory``.

    Args:
        names: Of workloads.
        listed: Whether a person wrote them as a list, as in a campaign's file.
    """
    from studies.workloads import WORKLOADS  # late: it brings torch, which reading a stored campaign does not need

    for name in names:
        if name not in WORKLOADS and factory_named(name) is None:
            written = f"workloads = {shown(list(names))}: {shown(name)}" if listed else f"workload {shown(name)}"
            raise UserError(
                f"{written} is unknown: known are {', '.join(WORKLOADS)}, "
                f"and package.module:factory for your own{suggestion(name, WORKLOADS)}"
            )


def check_schedule(schedule: str, warmup: object) -> None:
    """Refuse a warm-up beside a schedule whose name says one."""
    shape, plus, _ = schedule.partition("+")
    if plus and warmup:
        shown_warmup = list(warmup) if isinstance(warmup, tuple) else warmup
        raise UserError(
            f"warmup = {shown(shown_warmup)}: schedule = {shown(schedule)} has one of {WARMUP_FRACTION} in its name; "
            f"leave one of them out, as with schedule = {shown(shape)}"
        )


def check_table(key: str, table: object, workloads: Sequence[str]) -> None:
    """Refuse an entry of the table called ``key`` for a workload that the campaign does not have."""
    for name in table if isinstance(table, Mapping) else ():
        if name not in workloads:
            raise UserError(
                f"{key}.{key_shown(name)}: the campaign has no such workload, "
                f"only {', '.join(workloads)}{suggestion(name, workloads)}"
            )


def check_optimizers(key: str, names: Sequence[str], custom: Collection[str]) -> None:
    """Refuse unknown optimizers.

    Args:
        key: Where the campaign names them.
        names: As they are named.
        custom: Those that the campaign itself defines.
    """
    known = [*SEARCH_SPACES, *custom]
    for name in names:
        if name not in known:
            where = (
                f"{key} = {shown(list(names))}: {shown(name)}" if key == "optimizers" else f"{key}.{key_shown(name)}"
            )
            meant = suggestion(name, known) or "; your own needs a table [optimizer.NAME], or --optimizer module:spec"
            raise UserError(f"{where} is an unknown optimizer: known are {', '.join(known)}{meant}")


_OWN_KEYS = (
    "spec", "factory", "arguments", "needs_closure", "needs_create_graph", "needs_hessian", "evaluations_per_step",
    "has_modes", "groups", "schedule",
)  # fmt: skip
_TAKEN = ("all", "any", "confirm", "evaluate", "portfolio")
"""Words that stand for something else in the place of an optimizer, or after one in the name of a study."""


def check_custom(tables: Mapping[str, Mapping[str, object] | None]) -> None:
    """Refuse tables ``[optimizer.NAME]`` that define none; what they name is not imported.

    Args:
        tables: By name; ``None`` for a search space without an optimizer, of which the name alone is looked at.
    """
    for name, table in tables.items():
        if name in SEARCH_SPACES:
            raise UserError(f"optimizer.{name}: {name} is an optimizer of the project's own; give yours another name")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,39}", name):
            raise UserError(
                f"optimizer.{key_shown(name)}: is no name for an optimizer: allowed are 1 to 40 letters, digits, - and "
                "_, the first a letter"
            )
        if name.lower() in _TAKEN or re.fullmatch(r"replicate-\d+", name):
            raise UserError(
                f"optimizer.{name}: the word has another meaning in commands and studies' names; choose another"
            )
        try:
            if table is not None:
                _check_custom(table)
        except UserError as error:
            raise UserError(f"optimizer.{name}: {error}") from None


def _check_custom(table: Mapping[str, object]) -> None:
    for key in table:
        if key not in _OWN_KEYS:
            raise UserError(
                f"{key_shown(key)} is no key of an optimizer: allowed are {', '.join(_OWN_KEYS)}"
                f"{suggestion(key, _OWN_KEYS)}"
            )
    for key in ("spec", "factory", "groups"):
        path = table.get(key, "module:name")
        if not isinstance(path, str) or factory_named(path) is None:
            raise UserError(f"{key} = {shown(path)}: must be of the form module:name")
    if ("spec" in table) == ("factory" in table):
        raise UserError('must have factory = "module:callable", or spec = "module:name" of a row, and not both')
    if "spec" in table and len(table) > 1:
        beside = next(key for key in table if key != "spec")
        raise UserError(f"{beside}: a row says that itself; leave it out beside spec")
    for key in ("needs_closure", "needs_create_graph", "needs_hessian", "has_modes"):
        if not isinstance(table.get(key, False), bool):
            raise UserError(f"{key} = {shown(table[key])}: must be true or false")
    passes = table.get("evaluations_per_step", 0)
    if isinstance(passes, bool) or not isinstance(passes, int) or not 0 <= passes <= MOST:
        raise UserError(f"evaluations_per_step = {shown(passes)}: must be a whole number from 0 to {MOST}")
    if "schedule" in table and table["schedule"] not in tuple(SHAPES):
        raise UserError(f"schedule = {shown(table['schedule'])}: must be one of {', '.join(SHAPES)}")
    check_arguments(table.get("arguments", {}), OF_TRAINING)


def first_mistake(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Return the key of the first mistake, and one line: the key, its value and what is allowed.

    Args:
        error: What pydantic found.
        model: The model, whose field descriptions say what is allowed.
    """
    # An unknown key is often the cause of a missing one, so it goes first.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    top = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        keys = list(model.model_fields)
        return top, f"{key_shown(top)} is not a key of a campaign: allowed are {', '.join(keys)}{suggestion(top, keys)}"
    allowed = model.model_fields[top].description
    if first["type"] == "missing":
        return top, f"{top} is missing: it must be {allowed}"
    key = ".".join(key_shown(part) for part in first["loc"] if isinstance(part, str))
    why = first["ctx"]["error"] if first["type"] == "value_error" else f"must be {allowed}"
    return top, f"{key} = {shown(first['input'])}: {why}"
