"""The search space of an optimizer of one's own: written as data in a campaign's file, or in Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from search_spaces._base import BATCH_SIZE as BATCH
from search_spaces._base import SearchSpace
from search_spaces._declared import DeclaredArguments
from search_spaces._override import described, fixed, override
from search_spaces._parameter import Parameter, Value
from search_spaces._ranges import BATCH_SIZE
from search_spaces.errors import UserError, key_shown, shown

LEARNING_RATE = "lr"
_RANKS = (2, 3, 3)
"""Of the parameters after the first, in their order; those after these have 4."""


@dataclass(frozen=True, slots=True)
class CustomSpace:
    """What is known of the space of an optimizer of one's own besides what the campaign's file says of it.

    Args:
        base: What comes with the optimizer: a `SearchSpace`, a table as in a campaign's file, or ``None``.
        arguments: How arguments are made of parameters, see `DeclaredArguments`.
        of_function: There is no optimizer: it is what a training function of one's own takes.
    """

    base: object = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    of_function: bool = False


def custom_space(optimizer: str, table: Mapping[str, object], custom: CustomSpace) -> SearchSpace:
    """Return the search space of an optimizer that is not in the table.

    A parameter is ``{ low =, high =, log = true, default = }`` with the keys of `search_spaces._override.described`, or
    a fixed value. Without a ``batch_size`` it has that of the table's optimizers. With few trials ``lr`` is searched
    (without one, what is written first), then the others in the order in which they are written: the first of them from
    as many trials as what shapes the step in the table's optimizers, the next two as weight decay does, as does the
    batch size wherever it stands, the rest as ε does; ``rank`` says otherwise (`search_spaces.FEWEST_TRIALS`).

    Args:
        optimizer: Its key.
        table: What the campaign's file says under ``[search_space.<optimizer>]``.
        custom: What ``table`` adds to or changes.

    Raises:
        UserError: There is nothing to search, or something that is written is not allowed.
    """
    base = custom.base
    if isinstance(base, SearchSpace):
        if base.optimizer != optimizer:
            raise UserError(f"its space is for {shown(base.optimizer)}, not for {shown(optimizer)}")
        if base.build is not dict:
            raise UserError(
                "its space makes the arguments by a function, build, which no database can hold: leave that out, and "
                f"let the factory take {', '.join(name for name in base.declared if name != BATCH)}"
            )
        return dataclasses.replace(base, build=DeclaredArguments({}), alternatives={}).override(table)
    if base is not None and not isinstance(base, Mapping):
        raise UserError(f"its space is a {type(base).__name__}, not a search_spaces.SearchSpace or a table")
    whole, ranges = _merged(base or {}, table)
    space = _declared(optimizer, whole, custom)
    return space.override(ranges)


def _merged(base: Mapping[str, object], table: Mapping[str, object]) -> tuple[dict[str, object], Mapping[str, object]]:
    """Return both tables as one, and what of the second is no more than a range of the first's."""
    whole, ranges = dict(base), {}
    for name, setting in table.items():
        before = base.get(name)
        if isinstance(setting, list | tuple) and isinstance(before, Mapping):
            ranges[name] = setting
        else:
            both = isinstance(setting, Mapping) and isinstance(before, Mapping)
            whole[name] = {**before, **setting} if both else setting  # type: ignore[dict-item]
    return whole, ranges


def _declared(optimizer: str, table: Mapping[str, object], custom: CustomSpace) -> SearchSpace:
    apart = () if custom.of_function else (BATCH,)
    searched = [name for name, setting in table.items() if isinstance(setting, Mapping) and name not in apart]
    first = LEARNING_RATE if LEARNING_RATE in searched else next(iter(searched), "")
    others = [name for name in searched if name != first]
    ranks = {first: 1, **dict.fromkeys(others, 4), **dict(zip(others, _RANKS, strict=False))}
    declared: dict[str, Parameter] = {}
    values: dict[str, Value] = {}
    for name, setting in table.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise UserError(f"{key_shown(str(name))}: is no name of a parameter")
        if name == "parameterization":
            raise UserError(f"{name} = {shown(setting)}: an optimizer of your own has but one")
        if name == BATCH and not custom.of_function:
            continue
        if isinstance(setting, Mapping):
            declared[name] = described(name, setting, rank=ranks[name])
        else:
            declared[name] = fixed(name, setting)
            values[name] = declared[name].default
    if custom.of_function:
        return SearchSpace(optimizer, declared, fixed=values, build=DeclaredArguments({}), of_function=True)
    build = DeclaredArguments(custom.arguments)
    build.check(list(declared))
    batch = override(BATCH, BATCH_SIZE, table[BATCH]) if BATCH in table else BATCH_SIZE
    if isinstance(batch, Parameter):
        said = isinstance(table.get(BATCH), Mapping) and "rank" in table[BATCH]  # type: ignore[operator]
        declared[BATCH] = batch if said else dataclasses.replace(batch, rank=BATCH_SIZE.rank)
    else:
        declared[BATCH], values[BATCH] = BATCH_SIZE, batch
    return SearchSpace(optimizer=optimizer, declared=declared, fixed=values, build=build)
