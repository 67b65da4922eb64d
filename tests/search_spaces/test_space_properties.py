"""What holds of every search space and of every point in it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces import SEARCH_SPACES, Parameter, SearchSpace, from_dict

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from search_spaces import Value

ALL_SPACES = [
    pytest.param(variant, id=f"{variant.optimizer}-{variant.parameterization}")
    for space in SEARCH_SPACES.values()
    for variant in (space, *space.alternatives.values())
]


def points(distribution: BaseDistribution) -> st.SearchStrategy[Value]:
    if isinstance(distribution, CategoricalDistribution):
        return st.sampled_from(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return st.integers(distribution.low, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    return st.floats(distribution.low, distribution.high)


def inside(distribution: BaseDistribution, value: Value) -> bool:
    return distribution._contains(distribution.to_internal_repr(value))


@pytest.mark.parametrize("space", ALL_SPACES)
@settings(deadline=None)
@given(data=st.data())
def test_every_searched_point_decodes_into_the_stored_space_and_back(space: SearchSpace, data: st.DataObject) -> None:
    search = {name: data.draw(points(d), label=name) for name, d in space.search_distributions().items()}
    stored = space.decode(search)
    again = space.encode(stored)
    assert stored.keys() == again.keys() == space.parameters.keys()
    for name, distribution in space.stored_distributions().items():
        assert inside(distribution, stored[name])
        assert inside(space.search_distributions()[name], again[name])
        if isinstance(search[name], float):
            assert again[name] == pytest.approx(search[name], rel=1e-9)
        else:
            assert again[name] == search[name]


@pytest.mark.parametrize("space", ALL_SPACES)
@settings(deadline=None)
@given(data=st.data())
def test_arguments_are_the_same_names_at_every_point(space: SearchSpace, data: st.DataObject) -> None:
    stored = {name: data.draw(points(d), label=name) for name, d in space.stored_distributions().items()}
    arguments = space.arguments(stored)
    assert arguments.keys() == space.arguments(space.default).keys()
    assert arguments["batch_size"] == stored["batch_size"]
    assert isinstance(arguments["batch_size"], int)


@pytest.mark.parametrize("space", ALL_SPACES)
def test_a_sampler_can_work_on_the_search_scale(space: SearchSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        stored = space.decode(study.ask(space.search_distributions()).params)
        record = optuna.trial.create_trial(params=stored, distributions=space.stored_distributions(), value=0.0)
        assert record.params == stored


@pytest.mark.parametrize("space", ALL_SPACES)
def test_the_default_lies_inside_and_every_range_has_its_reason(space: SearchSpace) -> None:
    assert space.default.keys() == space.declared.keys()
    for name, parameter in space.declared.items():
        assert inside(parameter.distribution, space.default[name])
        assert parameter.reason.endswith(".")
        assert len(parameter.reason) > 20
    assert space.decode(space.encode(space.default)) == pytest.approx(
        {name: space.default[name] for name in space.parameters}
    )


@pytest.mark.parametrize("space", ALL_SPACES)
def test_a_space_survives_json(space: SearchSpace) -> None:
    again = from_dict(json.loads(json.dumps(space.to_dict(), allow_nan=False)))
    assert again.to_dict() == space.to_dict()
    assert again.stored_distributions() == space.stored_distributions()
    assert again.search_distributions() == space.search_distributions()
    assert again.arguments(again.default) == space.arguments(space.default)


def test_keys_of_the_table_are_the_keys_of_the_spaces() -> None:
    assert all(key == space.optimizer for key, space in SEARCH_SPACES.items())


@settings(deadline=None)
@given(low=st.floats(0.0, 1.0, exclude_max=True), high=st.floats(0.0, 1.0, exclude_max=True), data=st.data())
def test_any_range_of_a_momentum_round_trips(low: float, high: float, data: st.DataObject) -> None:
    if low >= high:
        return
    parameter = Parameter.one_minus_log(low, high, default=low, reason="any")
    distribution = parameter.search_distribution
    search = data.draw(points(distribution))
    stored = parameter.decode(search)
    assert low <= float(stored) <= high
    assert inside(distribution, parameter.encode(stored))
    assert float(parameter.encode(stored)) == pytest.approx(float(search), abs=2**-53)


def test_a_momentum_is_uniform_in_the_logarithm_of_one_minus_it() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = SEARCH_SPACES["sofim"].override({"beta": [0.9, 0.999]})
    stored = [space.decode(study.ask(space.search_distributions()).params)["beta"] for _ in range(400)]
    below_the_middle = sum(math.log10(1 - float(beta)) > -2 for beta in stored) / len(stored)
    assert below_the_middle == pytest.approx(0.5, abs=0.1)
    assert space.stored_distributions()["beta"] == FloatDistribution(0.9, 0.999)


def test_the_effective_coordinates_are_the_learning_rate_and_knee_of_sofim() -> None:
    space = SEARCH_SPACES["sofim"].override({"parameterization": "effective"})
    arguments = space.arguments({**space.default, "effective_lr": 0.25, "knee": 2.0})
    assert arguments["lr"] / arguments["rho"] == pytest.approx(0.25)  # type: ignore[operator]
    assert math.sqrt(arguments["rho"]) == pytest.approx(2.0)  # type: ignore[arg-type]
    assert arguments.keys() == SEARCH_SPACES["sofim"].arguments(SEARCH_SPACES["sofim"].default).keys()
    both = [SEARCH_SPACES["sofim"], space]
    assert both[0].arguments(both[0].default) == pytest.approx(both[1].arguments(both[1].default))


# Choi 2019: a superset must not lose to its subset, which means something only while it is one.
def test_adamw_contains_adam() -> None:
    adam, adamw = SEARCH_SPACES["adam"], SEARCH_SPACES["adamw"]
    assert adam.stored_distributions().items() <= adamw.stored_distributions().items()
    smallest = adamw.parameters["weight_decay"].low * adamw.parameters["lr"].high
    assert smallest < 1e-5, "the low end of the decay must do nothing"


def test_sofim_contains_momentum_sgd() -> None:
    sofim, sgd = SEARCH_SPACES["sofim"].parameters, SEARCH_SPACES["sgd"].parameters
    assert sofim["beta"].distribution == sgd["momentum"].distribution
    assert sofim["weight_decay"].distribution == sgd["weight_decay"].distribution
    assert sofim["batch_size"].distribution == sgd["batch_size"].distribution
    usual = sgd["lr"].default / (1 - float(sgd["momentum"].default))  # type: ignore[operator]
    assert sofim["lr"].low / sofim["rho"].high < usual < sofim["lr"].high / sofim["rho"].high
