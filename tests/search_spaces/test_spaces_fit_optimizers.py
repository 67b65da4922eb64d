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


def of_width(width: int, lr: float, adamw_lr: float) -> dict[str, object]:
    """Learning rates of a published Muon whose update of a square matrix is not scaled by 0.2 √width."""
    scaled = lr / (0.2 * width**0.5)
    return {"lr": scaled, "adamw_lr_ratio": adamw_lr / scaled}


ALL_SPACES = [
    pytest.param(variant, id=f"{variant.optimizer}-{variant.parameterization}")
    for space in SEARCH_SPACES.values()
    for variant in (space, *space.alternatives.values())
]


def build(optimizer: str, arguments: Mapping[str, object]) -> torch.optim.Optimizer:
    kwargs = {name: value for name, value in arguments.items() if name != "batch_size"}
    return OPTIMIZERS[optimizer].factory([torch.nn.Parameter(torch.zeros(4, 10))], **kwargs)


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


PUBLISHED: list[tuple[str, str, dict[str, object]]] = [
    # learning rates of Muon in other units are those of a square matrix as wide as the network, see `of_width`
    ("muon", "Liu et al., arXiv 2502.16982", {"lr": 4.2e-4, "momentum": 0.95, "weight_decay": 0.1}),
    (
        "muon",
        "Jordan's README, for a GPT of width 768",
        {**of_width(768, 0.02, 3e-4), "momentum": 0.95, "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.01},
    ),
    (
        "muon",
        "AlgoPerf, submissions/self_tuning/muon, for the ViT of width 384",
        {
            **of_width(384, 1.357495179e-4 * 28.61130298, 1.357495179e-4),
            "momentum": 0.9560745273,
            "beta1": 0.96586744,
            "beta2": 0.8629173173,
            "eps": 1e-8,
            "nesterov": False,
        },
    ),
    (
        "muon",
        "AlgoPerf, submissions/self_tuning/muon_torch_replicated_torch_hps, likewise",
        {**of_width(384, 0.01, 0.01), "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    ),
    (
        "schedule-free-adamw",
        "AlgoPerf, submissions/self_tuning/schedule_free_adamw",
        {"lr": 2.5e-3, "beta1": 0.9, "beta2": 0.9955159689799007, "weight_decay": 0.08121616522670176, "r": 0.75},
    ),
    (
        "schedule-free-adamw",
        "its authors' package schedulefree, defaults",
        {"lr": 2.5e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "r": 0.0},
    ),
    ("prodigy", "its authors' package prodigyopt, defaults", {"lr": 1.0, "d_coef": 1.0, "beta1": 0.9, "beta2": 0.999}),
]


@pytest.mark.parametrize(
    ("optimizer", "source", "point"), PUBLISHED, ids=[f"{key}-{source}" for key, source, _ in PUBLISHED]
)
def test_what_was_published_lies_in_the_ranges(optimizer: str, source: str, point: dict[str, object]) -> None:
    space = SEARCH_SPACES[optimizer]
    assert {name: value for name, value in point.items() if not space.declared[name].contains(value)} == {}, source
