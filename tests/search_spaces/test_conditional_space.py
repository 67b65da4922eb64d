"""A space whose first choice is the optimizer: what holds of every optimizer and of every point."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import ANY, OPTIMIZER, SEARCH_SPACES, ConditionalSpace
from search_spaces.errors import UserError
from tests.search_spaces.test_space_properties import inside, points

SPACE = ConditionalSpace(SEARCH_SPACES)


@pytest.mark.parametrize("optimizer", SEARCH_SPACES)
@given(data=st.data())
def test_every_point_of_every_optimizer_goes_to_the_database_and_back(optimizer: str, data: st.DataObject) -> None:
    distributions = SPACE.search_distributions({OPTIMIZER: optimizer})
    drawn = {name: data.draw(points(d), label=name) for name, d in distributions.items() if name != OPTIMIZER}
    search = {OPTIMIZER: optimizer, **drawn}
    stored = SPACE.decode(search)
    again = SPACE.encode(stored)
    assert list(stored) == list(again) == list(distributions) == list(SPACE.stored_distributions(stored))
    for name, distribution in SPACE.stored_distributions(stored).items():
        assert inside(distribution, stored[name])
        assert inside(distributions[name], again[name])
    own = SEARCH_SPACES[optimizer]
    bare = {name.removeprefix(f"{optimizer}."): value for name, value in search.items() if name != OPTIMIZER}
    assert stored == {OPTIMIZER: optimizer, **{f"{optimizer}.{name}": v for name, v in own.decode(bare).items()}}
    assert SPACE.arguments(stored) == own.arguments(own.decode(bare)), "and trains as in the optimizer's own space"
    assert SPACE.optimizer_of(stored) == optimizer


@pytest.mark.parametrize("optimizer", SEARCH_SPACES)
def test_the_default_of_every_optimizer_lies_inside_with_and_without_its_fixed_values(optimizer: str) -> None:
    own = SEARCH_SPACES[optimizer]
    whole = SPACE.of(optimizer, own.default)
    searched = SPACE.of(optimizer, {name: own.default[name] for name in own.parameters})
    assert SPACE.encode(whole) == SPACE.encode(searched)
    assert SPACE.arguments(whole) == SPACE.arguments(searched) == own.arguments(own.default)


def test_what_a_plain_space_and_this_one_say_of_themselves() -> None:
    assert (SPACE.optimizer, SPACE.conditional, SEARCH_SPACES["sgd"].conditional) == (ANY, True, False)
    assert list(SPACE.search_distributions()) == list(SPACE.stored_distributions({})) == [OPTIMIZER]
    assert SPACE.optimizer_of(SPACE.default) == next(iter(SEARCH_SPACES))
    assert SEARCH_SPACES["sgd"].optimizer_of({}) == "sgd"


def test_it_is_stored_as_a_space_is_and_read_by_the_analysis() -> None:
    from analysis.parameters import from_space

    found = from_space(json.loads(json.dumps(SPACE.to_dict())))
    assert found[OPTIMIZER].choices == tuple(SEARCH_SPACES)
    assert found["sofim.beta"].one_minus, "the scale is known, which the database's distribution does not tell"
    assert found["sofim.lr"].log
    assert "sgd.nesterov" not in found, "fixed"
    assert sum(name.startswith("sofim.") for name in found) == len(SEARCH_SPACES["sofim"].parameters)
    assert all(parameter.default is not None for parameter in found.values())


def test_optuna_sees_a_conditional_space() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(120):
        trial = study.ask(fixed_distributions=SPACE.search_distributions())
        for name, distribution in SPACE.search_distributions(trial.params).items():
            if name != OPTIMIZER:
                trial._suggest(name, distribution)
        assert set(trial.params) == set(SPACE.search_distributions(trial.params))
        study.tell(trial, 0.0)
    assert {trial.params[OPTIMIZER] for trial in study.trials} == set(SEARCH_SPACES)


SGD: dict[str, Any] = SPACE.of("sgd", SEARCH_SPACES["sgd"].default)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "optimizer = None: must be one of sofim, sgd,"),
        ({OPTIMIZER: "sgdd"}, "must be one of .*; did you mean sgd?"),
        ({OPTIMIZER: True}, "optimizer = true: must be one of"),
        ({**SGD, "adam.lr": 0.1}, "adam.lr not of sgd: its parameters are called sgd."),
        ({**SGD, "lr": 0.1}, "lr not of sgd"),
        ({**SGD, "sgd.rho": 0.1}, "rho is no parameter of sgd"),
        ({OPTIMIZER: "sgd", "sgd.lr": 0.1}, "missing"),
        ({**SGD, "sgd.lr": 1e9}, "lr: .* lies outside"),
    ],
)
def test_what_is_no_configuration_is_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SPACE.encode(params)


def test_without_an_optimizer_there_is_nothing_to_choose_from() -> None:
    with pytest.raises(UserError, match="at least one optimizer"):
        ConditionalSpace({})
