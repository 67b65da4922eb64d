"""What each optimizer searched: the only thing in which optimizers of a fair comparison differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.optimizers import custom_optimizers, fixed_arguments
from analysis.parameters import ParameterInfo
from analysis.sensitivity.scales import decades
from analysis.study import Study
from analysis.text import listing
from search_spaces.errors import number_of

SPACES = ("optimizer", "parameter", "kind", "scale", "low", "high", "choices", "default", "decades", "not_searched")
FIXED = "fixed"


def searched(study: Study) -> str:
    """Return what of a study's space was searched, and what was fixed.

    What is fixed since the trials are few comes last, with the number of trials from which it is searched.
    """
    below = _fixed_below(study)
    values = {**study.fixed, **fixed_arguments(study.optimizer, study.campaign)}
    fixed = [f"{name} = {value}" for name, value in values.items() if name not in below]
    few = [
        f"{name} = {value} (begun below {below[name]} trials)" for name, value in study.fixed.items() if name in below
    ]
    return volume(study.parameters) + (f" with {', '.join([*fixed, *few])}" if fixed or few else "")


def _fixed_below(study: Study) -> Mapping[str, int]:
    """Return the parameters that are fixed since the trials are few, each with the number that it is searched from."""
    space = study.attributes.get("search_space")
    below = space.get("fixed_below") if isinstance(space, Mapping) else None
    return below if isinstance(below, Mapping) else {}


def why_fixed(study: Study, name: str) -> str:
    """Return why a fixed parameter was not searched."""
    below = _fixed_below(study)
    if name in below:
        return f"begun with fewer than {below[name]} trials"
    tables = study.campaign.get("search_space")
    own = tables.get(study.optimizer) if isinstance(tables, Mapping) else None
    of_campaign = {"batch_size": "batch_size", "decoupled_weight_decay": "decay"}.get(name, "")
    written = (isinstance(own, Mapping) and name in own) or name in fixed_arguments(study.optimizer, study.campaign)
    written = written or study.campaign.get(of_campaign) is not None
    return "the campaign fixes it" if written else "the space fixes it"


def decay_kinds(studies: Sequence[Study]) -> tuple[str, str]:
    """Return how the optimizers decay weights: what could be alike and is not, and what is known of all; or nothing.

    An L2 term in the gradient (coupled) passes through whatever an optimizer makes of the gradient, a decay beside the
    step (decoupled) does not, so that the two compare as two optimizers would.
    """
    kinds: dict[str, Sequence[str]] = {}
    for study in studies:
        space = study.attributes.get("search_space")
        decays = space.get("decays") if isinstance(space, Mapping) else None
        if isinstance(decays, list | tuple) and decays and study.fixed.get("weight_decay") != 0:
            kinds[study.optimizer] = decays
    groups = {kind: [name for name, own in kinds.items() if own[0] == kind] for kind in ("coupled", "decoupled")}
    told = [f"{kind} in {listing(names)}" for kind, names in groups.items() if names]
    own = [study for study in studies if study.optimizer in custom_optimizers(study.campaign)]
    untold = [study.optimizer for study in own if "weight_decay" in {**study.parameters, **study.fixed}]
    told += [f"not known of {listing(untold)}"] if told and untold else []
    if sum(map(bool, groups.values())) < 2:
        return "", f"weight decay {', '.join(told)}" if told else ""
    free = [name for name, own in kinds.items() if len(own) > 1]
    alone = listing([name for name in kinds if name not in free])
    evidence = f"weight decay differs: {', '.join(told)}" + (
        f" (one kind alone can be had of {alone})" if alone else ""
    )
    if len({kinds[name][0] for name in free}) < 2:
        return "", evidence
    of_each = ", ".join(f"{name} {kinds[name][0]}" for name in free)
    return f'weight decay differs where both kinds can be had ({of_each}): decay = "coupled" makes it one', evidence


def schedule_in_words(campaign: Mapping[str, object]) -> str:
    """Return the schedule of the learning rate of a campaign, as far as it is stored.

    >>> schedule_in_words({"schedule": "cosine", "warmup": 0.05}), schedule_in_words({"warmup": [0.0, 0.1]})
    ('cosine after a warm-up of 5 % of the steps', 'constant after a warm-up that was searched from 0 to 10 %')
    >>> schedule_in_words({"schedule": "constant", "spaces": {"mine": {"of_function": True}}})
    "the training function's own"
    """
    spaces = campaign.get("spaces")
    if isinstance(spaces, Mapping) and any(space.get("of_function") for space in spaces.values()):
        return "the training function's own"
    name, warmup = str(campaign.get("schedule", "constant")), campaign.get("warmup")
    if isinstance(warmup, list | tuple):
        low, high = (100 * float(share) for share in warmup)
        return f"{name} after a warm-up that was searched from {low:g} to {high:g} %"
    return f"{name} after a warm-up of {100 * float(str(warmup)):g} % of the steps" if warmup else name


def other_schedules(studies: Sequence[Study]) -> str:
    """Return which optimizers did not follow the campaign's schedule, and what instead; empty where all did.

    A method that takes the place of a schedule is run as it is defined: with a schedule it would be another.
    """
    campaign = studies[0].campaign
    shape = str(campaign.get("schedule", "constant")).partition("+")[0]
    others: dict[str, list[str]] = {}
    for study in studies:
        followed = study.attributes.get("schedule")
        if isinstance(followed, str) and followed != shape:
            others.setdefault(followed, []).append(study.optimizer)
    return ", ".join(
        f"the schedule is {shape}, but {followed} after the same warm-up for {listing(names)}, "
        f"whose method takes the place of a schedule"
        for followed, names in others.items()
    )


def volume(parameters: Mapping[str, ParameterInfo]) -> str:
    """Return the size of a search space: how many decades its logarithmic ranges span together, and its other choices.

    Volumes of different spaces have different units, so each factor is told on its own.
    """
    total = sum(width for p in parameters.values() if not math.isnan(width := decades(p)))
    others = [p for p in parameters.values() if math.isnan(decades(p))]
    factors = [f"{total:.1f} decades"] if len(others) < len(parameters) else []
    factors += [number_of(len(p.choices), f"{p.name} choice") for p in others if p.kind == "categorical"]
    factors += [f"{p.name} {p.low:g} to {p.high:g}" for p in others if p.kind != "categorical"]
    return f"{number_of(len(parameters), 'parameter')} ({' × '.join(factors)})" if factors else "nothing"


def _scale(parameter: ParameterInfo) -> str:
    if parameter.kind == "mixed":
        return ""
    if parameter.kind == "categorical":
        return "choice"
    return "log" if parameter.log else "log(1 - value)" if parameter.one_minus else "linear"


def search_spaces(studies: Sequence[Study]) -> pd.DataFrame:
    """Return what was searched, of each optimizer, and what was fixed: the only thing that may differ.

    Returns:
        One row a parameter (of the optimizer's first study), the fixed ones last. Columns: ``optimizer``,
        ``parameter``, ``kind`` (float, int, categorical, mixed, fixed), ``scale`` (log, log(1 - value), linear, choice;
        empty for a mixed or fixed one), ``low``, ``high`` (NaN for a choice), ``choices`` (as text), ``default`` (of a
        fixed one, its value), ``decades`` (width of a logarithmic range; NaN otherwise), ``not_searched`` (of a fixed
        one, why: the trials are few, somebody said so, or the space has it so; none for the others).
    """
    first = {study.optimizer: study for study in reversed(studies)}
    rows: list[tuple[object, ...]] = []
    for optimizer in dict.fromkeys(study.optimizer for study in studies):
        for p in first[optimizer].parameters.values():
            choices = ", ".join(map(str, p.choices))
            rows.append((optimizer, p.name, p.kind, _scale(p), p.low, p.high, choices, p.default, decades(p), None))
        for name, value in {**first[optimizer].fixed, **fixed_arguments(optimizer, first[optimizer].campaign)}.items():
            why = why_fixed(first[optimizer], name)
            rows.append((optimizer, name, FIXED, "", math.nan, math.nan, "", value, math.nan, why))
    frame = pd.DataFrame(rows, columns=list(SPACES))
    frame["default"] = pd.Series([row[7] for row in rows], dtype=object)
    return frame
