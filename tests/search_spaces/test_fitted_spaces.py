"""With few trials only what matters is searched, by one rule for all optimizers; decay and warm-up for all alike."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import (
    FEWEST_TRIALS,
    OF_TRAINING,
    SEARCH_SPACES,
    WARMUP,
    Parameter,
    SearchSpace,
    configured,
    fewest_trials,
    from_dict,
)
from search_spaces.errors import UserError

OPTIMIZERS = st.sampled_from(sorted(SEARCH_SPACES))
TRIALS = st.integers(1, 300)


def searched(optimizer: str, trials: int) -> set[str]:
    return set(SEARCH_SPACES[optimizer].fitted(trials).parameters)


def rate_of(optimizer: str) -> str:
    """What says how long a step is: the learning rate, where that is not fixed."""
    return "lr" if "lr" in SEARCH_SPACES[optimizer].parameters else "d_coef"


def test_what_is_searched_with_so_many_trials() -> None:
    last = {"eps", "beta2", "rank", "update_period", "history_size", "r"}
    for optimizer in SEARCH_SPACES:
        assert searched(optimizer, 9) == {rate_of(optimizer)}
        assert not searched(optimizer, 24) & (last | {"weight_decay", "batch_size", "max_iter"})
        assert not searched(optimizer, 49) & last
        assert searched(optimizer, 50) == set(SEARCH_SPACES[optimizer].parameters)
    assert searched("adamw", 16) == {"lr", "beta1"}
    assert searched("sofim", 16) == {"lr", "rho", "beta"}
    assert searched("adamw", 30) == {"lr", "beta1", "weight_decay", "batch_size"}
    assert set(SEARCH_SPACES["sofim"].switched("effective").fitted(9).parameters) == {"effective_lr"}


@pytest.mark.parametrize("trials", [5, 16, 30, 50])
def test_what_means_the_same_has_the_same_rank_everywhere(trials: int) -> None:
    for names in ({"momentum", "beta", "beta1"}, {"weight_decay"}, {"batch_size"}, {"lr"}, {"rho"}, {"eps"}):
        of_each = [bool(names & searched(key, trials)) for key, s in SEARCH_SPACES.items() if names & set(s.parameters)]
        assert len(set(of_each)) == 1


@given(OPTIMIZERS, TRIALS, TRIALS)
def test_more_trials_free_parameters_in_the_order_of_their_ranks_and_fix_none(
    optimizer: str, trials: int, more: int
) -> None:
    whole = SEARCH_SPACES[optimizer]
    few, many = whole.fitted(trials), whole.fitted(trials + more)
    assert set(few.parameters) <= set(many.parameters) <= set(whole.parameters)
    freed = set(many.parameters) - set(few.parameters)
    assert all(whole.declared[name].rank >= max(p.rank for p in few.parameters.values()) for name in freed)
    assert few.default == whole.default  # what is fixed is at its default
    assert whole.fitted(fewest_trials(trials)) == few
    assert few.fitted(trials) == few
    assert {name: FEWEST_TRIALS[whole.declared[name].rank] for name in set(whole.parameters) - set(few.parameters)} == (
        few.fixed_below
    )
    again = from_dict(json.loads(json.dumps(few.to_dict())))
    assert again.to_dict() == few.to_dict()
    assert again.parameters == few.parameters
    params = {name: few.default[name] for name in few.parameters}
    assert again.arguments(params) == whole.arguments(whole.default)


def test_what_somebody_gives_a_range_is_searched_in_any_case() -> None:
    space = SEARCH_SPACES["adamw"].override({"eps": [1e-8, 1e-4], "weight_decay": 0.0})
    assert set(space.fitted(5).parameters) == {"lr", "eps"}
    assert space.fitted(5).fixed_below == {"beta1": 10, "batch_size": 25, "beta2": 50}
    later = SEARCH_SPACES["adamw"].fitted(5).override({"eps": [1e-8, 1e-4], "beta1": 0.8})
    assert set(later.parameters) == {"lr", "eps"}
    assert "beta1" not in later.fixed_below  # it is no longer the trials that fix it


def test_where_the_learning_rate_is_fixed_what_matters_next_is_searched() -> None:
    assert set(SEARCH_SPACES["sgd"].override({"lr": 0.1}).fitted(5).parameters) == {"momentum"}
    assert set(SEARCH_SPACES["sgd"].override({"lr": 0.1, "momentum": 0.9}).fitted(5).parameters) == {
        "weight_decay",
        "batch_size",
    }


def test_a_space_of_ones_own_is_searched_whole_unless_it_says_ranks() -> None:
    declared = {
        "lr": Parameter.log(1e-3, 1.0, default=0.1, reason="Mine."),
        "momentum": Parameter.linear(0.0, 0.9, default=0.5, reason="Mine."),
        "batch_size": Parameter.integer(8, 16, default=8, reason="Mine.", rank=4),
    }
    assert set(SearchSpace(optimizer="sgd", declared=declared).fitted(3).parameters) == {"lr", "momentum"}
    with pytest.raises(UserError, match="rank = 5 is unknown: allowed is 1"):
        Parameter.log(1e-3, 1.0, default=0.1, reason="Mine.", rank=5)


@pytest.mark.parametrize("parameterization", ["default", "effective"])
@pytest.mark.parametrize("key", ["sofim", "sofim-gradient", "sofim-tensor"])
def test_decay_is_of_one_kind_for_all_that_have_both(key: str, parameterization: str) -> None:
    table = {"parameterization": parameterization}
    own = configured(key, table)
    assert configured(key, table, decay="coupled").to_dict() == own.to_dict()
    space = configured(key, table, decay="decoupled")
    decay = space.parameters["weight_decay"]
    assert (decay.low, decay.high, space.decays[0]) == (1e-5, 1.0, "decoupled")
    assert decay.rank == own.parameters["weight_decay"].rank
    assert space.arguments(space.default)["decoupled_weight_decay"] is True
    assert "decoupled_weight_decay" not in space.parameters
    again = from_dict(json.loads(json.dumps(space.to_dict())))
    assert again.arguments(again.default) == space.arguments(space.default)
    narrow = configured(key, {**table, "weight_decay": [1e-4, 1e-3]}, decay="decoupled")
    assert narrow.parameters["weight_decay"].high == 1e-3  # a range of one's own stays


def test_decay_of_optimizers_that_have_one_kind_stays() -> None:
    both = {key for key, space in SEARCH_SPACES.items() if len(space.decays) == 2}
    assert {"sofim", "sofim-gradient", "sofim-tensor", "adahessian"} <= both
    for key in SEARCH_SPACES.keys() - both:
        for decay in ("coupled", "decoupled"):
            assert configured(key, {}, decay=decay).to_dict() == SEARCH_SPACES[key].to_dict()
    coupled = configured("adahessian", {}, decay="coupled")
    assert (coupled.parameters["weight_decay"].low, coupled.parameters["weight_decay"].high) == (1e-7, 1e-2)
    assert coupled.arguments(coupled.default)["decoupled_weight_decay"] is False


@given(OPTIMIZERS)
def test_a_searched_warm_up_is_a_parameter_that_no_optimizer_can_have(optimizer: str) -> None:
    space = SEARCH_SPACES[optimizer].with_warmup(0.0, 0.2).fitted(1)
    assert {rate_of(optimizer), WARMUP} == set(space.parameters)
    assert not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", WARMUP)
    arguments = space.arguments(space.decode({rate_of(optimizer): 0.1, WARMUP: 0.15}))
    assert arguments[WARMUP] == 0.15
    kept = {name: value for name, value in arguments.items() if name not in OF_TRAINING}
    whole = SEARCH_SPACES[optimizer]
    assert kept.keys() == whole.arguments(whole.default).keys() - {"batch_size"}
    assert space.default[WARMUP] == 0.05
    assert SEARCH_SPACES[optimizer].with_warmup(0.1, 0.2).default[WARMUP] == 0.1
