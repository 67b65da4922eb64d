"""A kind of storage that the product does not know: held in this process, by the name that stands for a host."""

from __future__ import annotations

import sqlalchemy as sa
from optuna.storages import InMemoryStorage

from search_spaces.errors import UserError
from studies.storage.backend import Backend


class Toy(Backend, InMemoryStorage):
    """Optuna's storage in memory, by public calls."""


_KEPT: dict[str, Toy] = {}


def open_storage(url: sa.URL, shown: str, *, create: bool, read_only: bool) -> Backend:
    """Open the storage of that name; who looks at one that is not there makes none."""
    name = str(url.host)
    if name not in _KEPT and not create and not read_only:
        raise UserError(f"storage '{shown}' is not there")
    return _KEPT.setdefault(name, Toy()) if create else _KEPT.get(name, Toy())
