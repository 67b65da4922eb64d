"""Every optimizer has a search space, and takes whatever comes out of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pytest
import torch

from search_spaces import SEARCH_SPACES, Interval, SearchSpace
from search_spaces.errors import UserError
from sofim.registry import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL_SPACES = [
    pytest.param(variant, id=f"{variant.optimizer}-{variant.parameterization}")
    for space in SEARCH_SPACES.values()
    for variant in (space, *space.alternatives.values())
]


def build(optimizer: str, arguments: Mapping[str, object]) -> torch.optim.Optimizer:
    kwargs = {name: value for name, value in arguments.items() if name != "batch_size"}
    return OPTIMIZERS[optimizer].factory([torch.nn.Parameter(torch.zeros(40))], **kwargs)


def test_every_optimizer_has_a_space_and_every_space_an_optimizer() -> None:
    assert SEARCH_SPACES.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("space", ALL_SPACES)
def test_the_factory_knows_every_argument_by_name(space: SearchSpace) -> None:
    # By name: a factory that swallows unknown keywords would hide a misspelt one.
    known = inspect.signature(OPTIMIZERS[space.optimizer].factory).parameters
    named = {name for name, p in known.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    assert space.arguments(space.default).keys() - {"batch_size"} <= named


@pytest.mark.parametrize("space", ALL_SPACES)
def test_what_is_searched_is_what_the_optimizer_is_built_with(space: SearchSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        arguments = space.arguments(space.decode(study.ask(space.search_distributions()).params))
        group = build(space.optimizer, arguments).param_groups[0]
        for name, value in arguments.items():
            if name != "batch_size" and name in group:
                assert group[name] == value


@pytest.mark.parametrize("space", ALL_SPACES)
def test_the_optimizer_accepts_every_value_the_space_says_it_accepts(space: SearchSpace) -> None:
    for name, parameter in space.declared.items():
        accepts = parameter.accepts
        if isinstance(accepts, Interval):
            ends = [np.nextafter(accepts.low, 1.0) if accepts.open_low else accepts.low]
            if np.isfinite(accepts.high):
                ends.append(np.nextafter(accepts.high, 0.0) if accepts.open_high else accepts.high)
            values = [int(end) if parameter.is_integer else float(end) for end in ends]
        else:
            values = list(accepts)
        for value in values:
            changed = space.override({name: value})
            build(space.optimizer, changed.arguments(changed.default))


@pytest.mark.parametrize("space", ALL_SPACES)
def test_the_space_refuses_what_the_optimizer_refuses(space: SearchSpace) -> None:
    for name in ("lr", "rho", "beta", "eps", "weight_decay"):
        if name in space.declared:
            with pytest.raises((ValueError, UserError), match=name):
                space.override({name: -0.1})
