"""What no process can import by its name: of a notebook's cell, a script or a closure. It is pickled.

Workloads, and optimizers of a person's own (`studies.optimizers`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Literal

from search_spaces.errors import UserError
from studies.workloads._base import Workload
from studies.workloads._function import TrainingFunction
from studies.workloads._load import seeded
from studies.workloads.user_errors import blaming, definition

MAIN = "__main__"  # the module of a notebook's cells, and of the script that Python runs

Source = Workload | TrainingFunction | Callable[[], Workload]

Kind = Literal["workload", "optimizer"]
"""What a person defines and names as ``package.module:name``."""

_WHERE = {"workload": ("load or model", "xor"), "optimizer": ("its factory", "spec")}
"""By kind, where a person makes what cannot travel, and an example of a name."""

_carried: dict[tuple[Kind, str], object] = {}


def carry(name: str, source: object, kind: Kind = "workload") -> None:
    """Have ``name`` mean ``source`` in this process, among others of its kind."""
    _carried[kind, name] = source


def carried(name: str, kind: Kind = "workload") -> object:
    """Return what ``name`` means that is not to be imported, or None if it is.

    Raises:
        UserError: If it was defined in a notebook or a script, and not in this process.
    """
    module, _, attribute = name.partition(":")
    found = _carried.get((kind, name))
    if found is None and module == MAIN:
        found = getattr(sys.modules[MAIN], attribute, None)
        if found is None:
            raise UserError(
                f"{kind} {name}: was defined in a notebook or a script, and this process has no {attribute}; run its "
                f"definition in this one and call studies.tune again, or move it to a file, mine.py, and name it "
                f"mine:{attribute}"
            )
    return found


def content(name: str, kind: Kind = "workload") -> bytes | None:
    """Return what ``name`` means as bytes that travel to other processes, or None where these import it.

    Raises:
        UserError: If it holds what cannot travel.
    """
    import cloudpickle

    source = carried(name, kind)
    if source is None:
        return None
    try:
        pickled: bytes = cloudpickle.dumps(source)
        cloudpickle.loads(pickled)
    except Exception as error:  # whatever is in it may raise anything
        reason = " ".join(str(error).split())
        inside, example = _WHERE[kind]
        raise UserError(
            f"{kind} {name}: cannot be sent to the processes that train ({type(error).__name__}: {reason}); make "
            f"what it needs inside {inside}, or move it to a file and name it mine:{example}{definition(source)}"
        ) from error
    return pickled


def named(source: Source) -> str:
    """Return a name for a workload that a person gave as it is: itself, or a function that returns one.

    It is the name by which it can be imported, if it has one; otherwise ``source`` is carried under a name of its own.

    Raises:
        UserError: If it is neither, or the function fails.
    """
    if not isinstance(source, Workload | TrainingFunction) and not callable(source):
        raise UserError(
            "workload: must be a name such as digits-mlp or package.module:factory, or a function that returns a "
            f"Workload, not {type(source).__name__}"
        )
    module, attribute = getattr(source, "__module__", ""), getattr(source, "__qualname__", "")
    if attribute.isidentifier() and getattr(sys.modules.get(module), attribute, None) is source:
        name = f"{module}:{attribute}"
        if module == MAIN or getattr(sys.modules[module], "__file__", None):
            return name
    workload: object = source
    if not isinstance(source, Workload | TrainingFunction):
        with blaming("workload: the function", source), seeded():
            workload = source()
    if not isinstance(workload, Workload | TrainingFunction):
        raise UserError(
            f"workload: the function returned {type(workload).__name__}, not a studies.workloads.Workload"
            f"{definition(source)}"
        )
    return carried_as(workload.name, source)


def carried_as(called: str, source: object, kind: Kind = "workload") -> str:
    """Return the name under which ``source``, which the person has called so, is carried from now on."""
    name = f"{MAIN}:{re.sub(r'(^(?=[0-9]))|[^A-Za-z0-9]', '_', called)}"
    carry(name, source, kind)
    return name
