"""Initial configurations: exported defaults, given back to a campaign."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_spaces import WARMUP, SearchSpace
from search_spaces.errors import UserError, is_finite, shown
from search_spaces.samplers import SAMPLERS
from studies.campaign.plan import CampaignPlan, InitialConfigurations


def read_initial(path: Path, plan: CampaignPlan, tell: Callable[[str], object] = str) -> InitialConfigurations:
    """Read what ``sofim export --format toml`` wrote, for the studies of a campaign.

    Each study begins with what is recommended on its workload, else with what is recommended on all; studies of
    optimizers that the file does not have begin as ever.

    Args:
        path: The file.
        plan: Of the campaign whose studies are to begin with it.
        tell: Hears, a line each, of values that are not taken since the campaign does not search their parameters.

    Raises:
        UserError: The file cannot be read or is none of these, has nothing for the campaign or something outside its
            search spaces, or the campaign's sampler does not learn.
    """
    campaign = plan.campaign
    if not SAMPLERS[campaign.sampler].learns:
        learning = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.learns)
        raise UserError(
            f"--from {path}: sampler {campaign.sampler} draws independently of any start; "
            f"samplers that begin with one are {learning}"
        )
    optimizers = _read(path)
    initial: dict[str, dict[str, dict[str, object]]] = {}
    for optimizer in campaign.optimizers:
        recommended = optimizers.get(optimizer)
        if not isinstance(recommended, Mapping):
            continue
        for workload in campaign.workloads:
            params = _params(recommended, workload)
            if params is not None:
                where = f"{path}: {optimizer} on {workload}"
                inside = _inside(params, plan.spaces[optimizer], optimizer, where)
                for line in _not_taken(params, plan.spaces[optimizer], optimizer, where):
                    tell(line)
                initial.setdefault(optimizer, {})[workload] = inside
    if not initial:
        raise UserError(f"--from {path}: recommends nothing of {', '.join(campaign.optimizers)}")
    return initial


def _read(path: Path) -> Mapping[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # a mark of its beginning is no text
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


def _params(recommended: Mapping[str, object], workload: str) -> Mapping[str, object] | None:
    """Return the parameters recommended on a workload, else those on all."""
    on = recommended.get("workloads")
    for entry in (on.get(workload) if isinstance(on, Mapping) else None, recommended.get("default")):
        if isinstance(entry, Mapping) and isinstance(entry.get("params"), Mapping):
            params: Mapping[str, object] = entry["params"]
            return params
    return None


def _inside(params: Mapping[str, object], space: SearchSpace, optimizer: str, where: str) -> dict[str, object]:
    """Return those that the campaign searches, each inside its range."""
    kept: dict[str, object] = {}
    for name, parameter in space.parameters.items():
        if name not in params and name == WARMUP:  # of the campaign's, not of the optimizer's: it begins at its default
            continue
        if name not in params:
            raise UserError(f"--from {where}: has no {name}, which the campaign searches")
        value: Any = params[name]
        known = isinstance(value, bool | str) or is_finite(value)
        if not (known and parameter.contains(value)):
            raise UserError(
                f"--from {where}: {name} = {shown(value)} lies outside {parameter}; "
                f"widen it with {name} in [search_space.{optimizer}]"
            )
        kept[name] = int(value) if parameter.is_integer else value
    return kept


def _not_taken(params: Mapping[str, object], space: SearchSpace, optimizer: str, where: str) -> list[str]:
    """Return a line on each value that is another than the fixed one."""
    return [
        f"--from {where}: {name} is fixed at {shown(fixed)}, so that {shown(params[name])} is not taken; "
        f"a range of {name} in [search_space.{optimizer}] searches it."
        for name, fixed in space.fixed.items()
        if name in params and params[name] != fixed
    ]
