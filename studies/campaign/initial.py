"""Configurations to start from: exported defaults, given back to a campaign."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import UserError, shown

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from studies.campaign.model import Campaign

Starts = dict[str, dict[str, dict[str, object]]]
"""Stored values by optimizer, workload and parameter."""

LEARNING = ("tpe", "gp", "cmaes")
"""Samplers that learn from what they are given; the draws of the others are independent, and stay so."""


def read_starts(path: Path, campaign: Campaign) -> Starts:
    """Read what ``sofim export --format toml`` wrote, for the studies of a campaign.

    Each study begins with what is recommended on its workload, else with what is recommended on all; studies of
    optimizers that the file does not have begin as ever.

    Args:
        path: the file.
        campaign: whose studies are to begin with it.

    Raises:
        UserError: the file cannot be read or is none of these, has nothing for the campaign or something outside its
            search spaces, or the campaign's sampler does not learn.
    """
    if campaign.sampler not in LEARNING:
        raise UserError(
            f"--from {path}: sampler {campaign.sampler} draws independently of any start; "
            f"samplers that begin with one are {', '.join(LEARNING)}"
        )
    recommended = _read(path)
    found: Starts = {}
    for optimizer in campaign.optimizers:
        own = recommended.get(optimizer)
        if not isinstance(own, Mapping):
            continue
        for workload in campaign.workloads:
            entry = _entry(own, workload)
            if entry is not None:
                where = f"{path}: {optimizer} on {workload}"
                found.setdefault(optimizer, {})[workload] = _inside(entry, campaign.space(optimizer), optimizer, where)
    if not found:
        raise UserError(f"--from {path}: recommends nothing of {', '.join(campaign.optimizers)}")
    return found


def _read(path: Path) -> Mapping[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"--from {path}: is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"--from {path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"--from {path}: is not valid TOML: {' '.join(str(error).split())}") from None
    optimizers = document.get("optimizers")
    if not isinstance(optimizers, Mapping):
        raise UserError(f"--from {path}: is not what sofim export --format toml writes: it has no [optimizers]")
    return optimizers


def _entry(own: Mapping[str, object], workload: str) -> Mapping[str, object] | None:
    """The parameters recommended on a workload, else those on all."""
    on = own.get("workloads")
    for entry in (on.get(workload) if isinstance(on, Mapping) else None, own.get("default")):
        if isinstance(entry, Mapping) and isinstance(entry.get("params"), Mapping):
            params: Mapping[str, object] = entry["params"]
            return params
    return None


def _inside(params: Mapping[str, object], space: SearchSpace, optimizer: str, where: str) -> dict[str, object]:
    """Those that the campaign searches, each inside its range."""
    kept: dict[str, object] = {}
    for name, parameter in space.parameters.items():
        if name not in params:
            raise UserError(f"--from {where}: has no {name}, which the campaign searches")
        value: Any = params[name]
        known = isinstance(value, bool | int | float | str) and (isinstance(value, str) or math.isfinite(value))
        if not (known and parameter.contains(value)):
            raise UserError(
                f"--from {where}: {name} = {shown(value)} lies outside {parameter}; "
                f"widen it with {name} in [search_space.{optimizer}]"
            )
        kept[name] = int(str(value)) if parameter.is_integer else value
    return kept
