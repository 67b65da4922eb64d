"""Storages, opened by their URL whatever their kind, with clear errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from studies.storage.backend import Backend
from studies.storage.url import MODULES, RDB, backend, hide_password, parse


def open_storage(url: str, *, create: bool = True, read_only: bool = False) -> Backend:
    """Open Optuna's storage at a SQLAlchemy ``url``; nothing is written before it is known to be one.

    Args:
        url: For example ``sqlite:///sofim.db`` or ``postgresql+psycopg://user:password@host/name``; or
            ``journal:///sofim.log`` for Optuna's journal file.
        create: Whether a file that is not there may be made, and tables where there are none; otherwise it is an error.
        read_only: Whether it is only read. Then nothing of it changes, in whatever state a program that was cut off
            has left it: What is read may be a copy and, where nothing is in it yet (with ``create``: where there is no
            file yet), a storage in memory.

    Returns:
        The storage, to be closed.

    Raises:
        UserError: The URL cannot be read, the driver is missing, or the database cannot be opened.
    """
    parsed = parse(url)
    opened: Backend = import_module(MODULES.get(backend(parsed), RDB)).open_storage(
        parsed, hide_password(url), create=create, read_only=read_only
    )
    return opened


def check_settled(url: str) -> None:
    """Refuse a storage with a change that was begun and neither finished nor undone, as who writes would undo it.

    Raises:
        UserError: It is one, or the file is not there.
    """
    parsed = parse(url)
    if backend(parsed) not in MODULES:
        from studies.storage import rdb

        rdb.check_settled(parsed, hide_password(url))


def close_storage(storage: BaseStorage) -> None:
    """Give the connections of ``storage`` back, also of one that Optuna opened."""
    if isinstance(storage, Backend):
        storage.close()
        return
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def find_study(storage: BaseStorage, name: str) -> int | None:
    """Return the id of the study ``name``, or ``None``."""
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        return None


def running_template(
    number: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    user_attrs: Mapping[str, Any],
) -> FrozenTrial:
    """Return a RUNNING trial that starts now."""
    now = datetime.now()
    return FrozenTrial(
        trial_id=-1, number=number, state=TrialState.RUNNING, value=None, values=None, datetime_start=now,
        datetime_complete=None, params=dict(params), distributions=dict(distributions), user_attrs=dict(user_attrs),
        system_attrs={}, intermediate_values={},
    )  # fmt: skip
