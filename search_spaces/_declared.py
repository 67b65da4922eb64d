"""How values become an optimizer's arguments, said in data: nothing of it is code that a database could not hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from search_spaces._parameter import Value
from search_spaces.errors import UserError, key_shown, shown, suggestion


@dataclass(frozen=True, slots=True)
class DeclaredArguments:
    """The ``build`` of a space whose optimizer takes its parameters as they are, but for what a table says.

    Args:
        table: By argument: a list, whose texts are names of parameters, is a tuple made of these; all else is what the
            argument is, whatever is searched.

    >>> build = DeclaredArguments({"betas": ["beta1", 0.99], "amsgrad": True})
    >>> build({"lr": 0.1, "beta1": 0.9})
    {'lr': 0.1, 'betas': (0.9, 0.99), 'amsgrad': True}
    """

    table: Mapping[str, object]

    def __call__(self, values: Mapping[str, Value]) -> dict[str, object]:
        """Return the factory's arguments."""
        used = self.used
        return {
            **{name: value for name, value in values.items() if name not in used},
            **{name: _made(entry, values) for name, entry in self.table.items()},
        }

    @property
    def used(self) -> set[str]:
        """The names of parameters that the table makes arguments of."""
        lists = (entry for entry in self.table.values() if isinstance(entry, list | tuple))
        return {part for entry in lists for part in entry if isinstance(part, str)}

    def check(self, names: Collection[str]) -> None:
        """Refuse a table that names parameters which are not among ``names``, or an argument twice.

        Raises:
            UserError: It does.
        """
        for name, entry in self.table.items():
            for part in entry if isinstance(entry, list | tuple) else ():
                if isinstance(part, str) and part not in names:
                    raise UserError(
                        f"arguments.{name} = {shown(entry)}: {shown(part)} is no parameter of the search space, "
                        f"which has {', '.join(names)}{suggestion(part, names)}"
                    )
            if name in names and name not in self.used:
                raise UserError(f"arguments.{name}: {name} is a parameter of the search space; leave one of them out")


def check_arguments(table: object, of_training: Collection[str]) -> None:
    """Refuse what is no table of arguments; whether its names mean anything, `DeclaredArguments.check` looks up.

    Raises:
        UserError: A name or a value is not allowed.
    """
    if not isinstance(table, Mapping):
        raise UserError(f"arguments = {shown(table)}: must be a table of arguments")
    for name, entry in table.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(f"arguments.{key_shown(str(name))}: is no name of an argument")
        if name in of_training:
            raise UserError(f"arguments.{name}: is for the training loop, not for the optimizer")
        if not all(_is_plain(part) for part in (entry if isinstance(entry, list | tuple) else [entry])):
            raise UserError(
                f"arguments.{name} = {shown(entry)}: must be a number, a text, true, false, or a list of numbers and "
                "names of parameters"
            )


def _is_plain(value: object) -> bool:
    if isinstance(value, bool | str):
        return True
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _made(entry: object, values: Mapping[str, Value]) -> object:
    if not isinstance(entry, list | tuple):
        return entry
    return tuple(values[part] if isinstance(part, str) else part for part in entry)
