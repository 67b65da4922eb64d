"""Parameters that a campaign's file describes: of an optimizer of one's own all of them, of the table's where asked."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces import (
    BATCH_SIZE,
    SEARCH_SPACES,
    CustomSpace,
    Parameter,
    SearchSpace,
    _override,
    configured,
    from_dict,
)
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

LION: Mapping[str, Any] = {
    "lr": {"low": 1e-5, "high": 1e-2, "log": True, "default": 3e-4},
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True, "default": 0.1},
    "beta1": {"low": 0.8, "high": 0.99, "log_of_one_minus": True, "default": 0.9},
    "beta2": 0.99,
}
BETAS = CustomSpace(arguments={"betas": ["beta1", "beta2"], "amsgrad": True})


def again(space: SearchSpace) -> SearchSpace:
    return from_dict(json.loads(json.dumps(space.to_dict(), allow_nan=False)))


def test_the_reference_has_every_key_of_a_parameter_and_an_example_that_is_accepted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "campaign.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(\[search_space\.mine\]\n.*?)```", page, re.DOTALL)
    space = configured("mine", tomllib.loads(example)["search_space"]["mine"], custom=CustomSpace())
    assert list(space.stored_distributions()) == ["lr", "momentum", "layers", "activation"]
    listed = re.findall(r"^\| (`[^|]*`) \|", page.partition("## Parameters")[2].partition("\n## ")[0], re.MULTILINE)
    assert {key for row in listed for key in re.findall(r"`(\w+)", row)} == {*_override._KEYS}


def test_what_is_written_is_what_is_searched_and_how_the_optimizer_is_called() -> None:
    space = configured("lion", LION, custom=BETAS)
    assert space.stored_distributions() == {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "weight_decay": FloatDistribution(1e-3, 1.0, log=True),
        "beta1": FloatDistribution(0.8, 0.99),
        "batch_size": SEARCH_SPACES["sgd"].stored_distributions()["batch_size"],
    }
    assert space.search_distributions()["beta1"].log  # type: ignore[union-attr]
    expected = {"lr": 3e-4, "weight_decay": 0.1, "betas": (0.9, 0.99), "amsgrad": True, "batch_size": 64}
    assert space.arguments(space.default) == expected
    assert again(space).arguments(space.default) == expected
    integers = configured("lion", {"n": {"low": 0, "high": 9, "integer": True, "default": 4}}, custom=CustomSpace())
    assert integers.stored_distributions()["n"] == IntDistribution(0, 9)
    choices = configured("lion", {"mode": {"choices": ["a", "b"], "default": "b"}}, custom=CustomSpace())
    assert choices.stored_distributions()["mode"] == CategoricalDistribution(["a", "b"])
    assert choices.default["mode"] == "b"


def test_with_few_trials_the_learning_rate_comes_first_and_then_what_is_written_first() -> None:
    late = {"eps": {**LION["lr"]}, "beta3": {**LION["beta1"]}, "beta4": {**LION["beta1"]}}
    table = {"weight_decay": LION["weight_decay"], "beta1": LION["beta1"], **late, "lr": LION["lr"], "beta2": 0.9}
    space = configured("lion", table, custom=CustomSpace())
    searched = [set(space.fitted(trials).parameters) for trials in (3, 10, 25, 50)]
    assert searched == [
        {"lr"},
        {"lr", "weight_decay"},
        {"lr", "weight_decay", "beta1", "eps", BATCH_SIZE},
        {"lr", "weight_decay", "beta1", "eps", "beta3", "beta4", BATCH_SIZE},
    ]
    said = configured("lion", {**table, "beta4": {**LION["beta1"], "rank": 1}}, custom=CustomSpace())
    assert set(said.fitted(3).parameters) == {"lr", "beta4"}
    assert set(configured("lion", {**LION, "lr": 0.1}, custom=BETAS).fitted(3).parameters) == {"weight_decay"}


def test_of_a_space_that_comes_with_the_optimizer_the_file_changes_what_it_names() -> None:
    custom = CustomSpace(base=LION, arguments={"betas": ["beta1", "beta2"]})
    space = configured(
        "lion", {"lr": {"high": 0.1}, "beta1": [0.5, 0.8], "beta2": 0.98, "batch_size": 32}, custom=custom
    )
    assert space.stored_distributions() == {
        "lr": FloatDistribution(1e-5, 0.1, log=True),
        "weight_decay": FloatDistribution(1e-3, 1.0, log=True),
        "beta1": FloatDistribution(0.5, 0.8),
    }
    assert space.default == {"lr": 3e-4, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.98, "batch_size": 32}


def test_of_the_tables_optimizers_a_table_changes_what_it_names() -> None:
    sgd = SEARCH_SPACES["sgd"]
    space = configured("sgd", {"lr": {"low": 0.1, "default": 0.5}, "momentum": {"default": 0.5}})
    assert space.stored_distributions()["lr"] == FloatDistribution(0.1, 5.0, log=True)
    assert (space.default["lr"], space.default["momentum"]) == (0.5, 0.5)
    assert space.declared["momentum"].rank == sgd.declared["momentum"].rank  # its range is as it was
    assert space.declared["lr"].rank == 1
    sizes = configured("sgd", {"batch_size": {"choices": [32, 64]}, "lr": {"log": False}})
    assert sizes.stored_distributions()["batch_size"] == CategoricalDistribution([32, 64])
    assert sizes.stored_distributions()["lr"] == FloatDistribution(1e-3, 5.0)
    assert again(sizes).to_dict() == sizes.to_dict()


RANGE = {"low": 0.1, "high": 1.0, "default": 0.5}
MISTAKES: list[tuple[str, object, str]] = [
    ("lr", RANGE | {"low": 1.0}, r"^lr: low = high = 1.0 is an empty range \(to fix the value, write lr = 1.0\)$"),
    ("lr", RANGE | {"low": 2}, r"^lr: low = 2.0 is above high = 1.0$"),
    ("lr", RANGE | {"low": 0, "log": True}, r"^lr.low = 0.0: log = true needs a range above 0"),
    ("lr", RANGE | {"default": 3}, r"^lr.default = 3.0 lies outside the range from 0.1 to 1.0$"),
    ("lr", RANGE | {"defalt": 3}, r"^lr.defalt is no key of a parameter: .*; did you mean default\?$"),
    ("lr", RANGE | {"low": "a"}, r"^lr.low = 'a' is not a number$"),
    ("lr", RANGE | {"low": True}, r"^lr.low = true is not a number$"),
    ("lr", RANGE | {"default": [1]}, r"^lr.default = \[1\] is not a number$"),
    ("lr", RANGE | {"high": math.nan}, r"^lr.high = nan is not finite$"),
    ("lr", RANGE | {"high": 10**400}, r"^lr.high = 1000+… is not finite$"),
    ("lr", RANGE | {"log_of_one_minus": True}, r"^lr.high = 1.0: log_of_one_minus = true needs a range below 1$"),
    ("lr", RANGE | {"log": 1}, r"^lr.log = 1: must be true or false$"),
    ("lr", RANGE | {"log": True, "log_of_one_minus": True}, r"^lr: log_of_one_minus and log exclude each other"),
    ("lr", RANGE | {"rank": 5}, r"^lr.rank = 5: must be 1"),
    ("lr", RANGE | {"rank": True}, r"^lr.rank = true: must be 1"),
    ("lr", RANGE | {"rank": [1]}, r"^lr.rank = \[1\]: must be 1"),
    ("lr", RANGE | {"reason": ""}, r"^lr.reason = '': must be a sentence"),
    ("lr", {"high": 1.0, "default": 0.5}, r"^lr.low is missing: a range is written"),
    ("lr", {"low": 0.1, "high": 1.0}, r"^lr.default is missing"),
    ("lr", {}, r"^lr.low is missing"),
    ("lr", [0.1, 1.0], r"^lr = \[0.1, 1.0\] says neither its scale nor its default: write"),
    ("lr", math.inf, r"^lr = inf: must be a table"),
    ("lr", None, r"^lr = None: must be a table"),
    ("n", RANGE | {"integer": True}, r"^n.low = 0.1 is not a whole number$"),
    ("mode", {"choices": []}, r"^mode.choices = \[\] is empty or names a choice twice$"),
    ("mode", {"choices": [1, True]}, r"^mode.choices = \[1, true\] is empty or names a choice twice$"),
    ("mode", {"choices": "ab"}, r"^mode.choices = 'ab': must be a list"),
    ("mode", {"choices": [[1]]}, r"^mode.choices = \[\[1\]\]: must be a list"),
    ("mode", {"choices": [1, 2], "low": 1}, r"^mode.low: is of a range"),
    ("mode", {"choices": [1, 2], "default": 3}, r"^mode.default = 3 is none of its choices 1, 2$"),
    ("batch_size", {"low": 0}, r"^batch_size.low = 0 is not accepted by the optimizer"),
    ("batch_size", {"integer": False}, r"^batch_size.integer = false: batch_size is a whole number$"),
    ("schedule.warmup", RANGE, r"^schedule.warmup: is no name of a parameter$"),
    ("", RANGE, r"^'': is no name of a parameter$"),
    ("parameterization", "effective", r"^parameterization = 'effective': an optimizer of your own has but one$"),
]


@pytest.mark.parametrize(("name", "setting", "message"), MISTAKES)
def test_a_mistake_is_one_line(name: str, setting: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        configured("lion", {**LION, name: setting}, custom=BETAS)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"betas": ["beta1", "beta3"]}, r"^arguments.betas = .*: 'beta3' is no parameter .*; did you mean beta2\?$"),
        ({"betas": ["beta1", BATCH_SIZE]}, r"'batch_size' is no parameter"),
        ({"lr": 0.1}, r"^arguments.lr: lr is a parameter of the search space; leave one of them out$"),
    ],
)
def test_arguments_are_made_of_parameters_that_there_are(arguments: Mapping[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        configured("lion", LION, custom=CustomSpace(arguments=arguments))


NAMES = st.sampled_from(["lr", "beta1", "beta2", "eps", "mode", BATCH_SIZE])
NUMBERS = st.floats(-10, 10) | st.integers(-3, 300)
RANGES = st.fixed_dictionaries(
    {"low": NUMBERS, "high": NUMBERS, "default": NUMBERS},
    optional={
        "log": st.booleans(),
        "log_of_one_minus": st.booleans(),
        "integer": st.booleans(),
        "rank": st.integers(1, 4),
    },
)
CHOICES = st.fixed_dictionaries({"choices": st.lists(st.booleans() | NUMBERS | st.text(max_size=3), max_size=3)})
VALUES = NUMBERS | st.booleans() | st.text(max_size=3)


@given(table=st.dictionaries(NAMES, RANGES | CHOICES | VALUES, min_size=1), data=st.data())
def test_what_is_accepted_survives_the_database_and_all_else_is_refused(
    table: dict[str, object], data: st.DataObject
) -> None:
    names = [name for name in table if name != BATCH_SIZE]
    arguments = {"betas": data.draw(st.lists(st.sampled_from(names) | NUMBERS, max_size=2))} if names else {}
    try:
        space = configured("lion", table, custom=CustomSpace(arguments=arguments))
    except UserError:  # that its line is one is tried above
        return
    read = again(space)
    assert read.to_dict() == space.to_dict()
    assert read.search_distributions() == space.search_distributions()
    stored = space.decode(space.encode(space.default))
    assert read.arguments(stored) == space.arguments(stored)
    assert "betas" in space.arguments(stored) or not names
    for name, parameter in space.declared.items():
        assert isinstance(parameter, Parameter)
        assert parameter.contains(space.default[name]) or name == BATCH_SIZE
