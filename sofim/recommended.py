"""Recommended hyperparameters that ship with the package, as ``sofim export`` wrote them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sofim.registry import OPTIMIZERS


@dataclass(frozen=True, slots=True)
class Recommended:
    """A recommended configuration.

    Attributes:
        arguments: Keyword arguments of the optimizer.
        batch_size: In examples.
        schedule: Of the learning rate in the runs that it was found in, ``"cosine"`` or ``"constant"``: train with the
            same one.
        warmup: Share of all steps, before that schedule, in which the learning rate rises to its value.
        evidence: What it rests on: ``campaign``, ``metric``, ``trials``; ``seeds`` on which this very configuration was
            run, and of these runs ``mean``, ``median``, ``worst``, ``diverged``, …; ``predicted``; and ``winner``,
            the same of the best trial, where that is another configuration.
        notes: Why the evidence is thin, where it is.
        workload: The one that it was found on, and that ``evidence`` is of.
        left_out: What to expect on a workload that nobody has tuned: ``regret``, the share of what training gains that
            was missed on workloads left out of the choice, on average, and ``regret_interval``; empty on a tuned one.
    """

    arguments: dict[str, Any]
    batch_size: int
    schedule: str
    warmup: float
    evidence: Mapping[str, Any]
    notes: tuple[str, ...]
    workload: str
    left_out: Mapping[str, Any]


def recommended(optimizer: str, workload: str | None = None) -> Recommended:
    """Return what this package's own campaigns recommend; of an optimizer that none has tuned, nothing.

    Args:
        optimizer: Its key in ``sofim.OPTIMIZERS``.
        workload: On this workload; without one, for a workload that nobody has tuned yet.

    Raises:
        KeyError: Nothing is recommended of that optimizer, or on that workload; the message names what is.

    >>> from sofim import SOFIM
    >>> import torch
    >>> optimizer = SOFIM(torch.nn.Linear(2, 1).parameters(), **recommended("sofim").arguments)
    """
    every = shipped()["optimizers"]
    if optimizer in OPTIMIZERS and optimizer not in every:
        raise KeyError(
            f"nothing was measured of {optimizer} yet, so that nothing is recommended; its factory has the defaults of "
            f"its source ({OPTIMIZERS[optimizer].source}). Measured are {', '.join(every)}"
        )
    if optimizer not in every:
        raise KeyError(f"nothing is recommended of {optimizer!r}, only of {', '.join(every)}")
    own = every[optimizer]
    if workload is not None and workload not in own["workloads"]:
        raise KeyError(f"nothing is recommended on {workload!r}, only on {', '.join(own['workloads'])}")
    entry = own["default"] if workload is None else own["workloads"][workload]
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in entry["arguments"].items()}
    rules = shipped()["campaigns"][entry["evidence"]["campaign"]]
    return Recommended(
        arguments, int(entry["batch_size"]), entry.get("schedule", rules["schedule"]),
        entry.get("warmup", rules["warmup"]), entry["evidence"], tuple(entry["notes"]), entry["from"],
        {name: value for name, value in entry.get("left_out", {}).items() if name != "workloads"},
    )  # fmt: skip


@cache
def shipped() -> Mapping[str, Any]:
    """Return the whole file: ``made``, ``campaigns``, ``portfolio`` and ``optimizers``, see ``sofim export``."""
    return tomllib.loads((resources.files("sofim") / "recommended.toml").read_text(encoding="utf-8"))
