"""What a campaign's ``[search_space.<optimizer>]`` table may change, and what it is told otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

import search_spaces
from search_spaces import SEARCH_SPACES, Parameter, SearchSpace, configured, from_dict
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def test_a_range_is_on_the_stored_scale() -> None:
    space = SEARCH_SPACES["sofim"].override({"beta": [0.8, 0.99], "rho": [1e-3, 5], "batch_size": [32, 64]})
    stored = space.stored_distributions()
    assert stored["beta"] == FloatDistribution(0.8, 0.99)
    assert stored["rho"] == FloatDistribution(1e-3, 5.0, log=True)
    assert stored["batch_size"] == IntDistribution(32, 64, log=True)
    search = space.search_distributions()["beta"]
    assert isinstance(search, FloatDistribution)
    assert (search.low, search.high, search.log) == (pytest.approx(0.01), pytest.approx(0.2), True)


def test_a_value_is_fixed_part_of_the_arguments_and_not_searched() -> None:
    space = SEARCH_SPACES["sofim"].override({"beta": 0, "weight_decay": 0.0})
    assert {"beta", "weight_decay"}.isdisjoint(space.stored_distributions())
    assert {"beta", "weight_decay"}.isdisjoint(space.parameters)
    assert {"beta", "weight_decay"}.isdisjoint(space.encode(space.default))
    searched = {name: space.default[name] for name in space.parameters}
    assert space.arguments(searched) == space.arguments(space.default)
    assert space.arguments(searched)["beta"] == 0.0


def test_a_fixed_parameter_is_searched_again_when_given_a_range() -> None:
    sgd = SEARCH_SPACES["sgd"]
    assert "nesterov" not in sgd.parameters
    assert sgd.override({"nesterov": [False, True]}).parameters["nesterov"].choices == (False, True)
    assert "beta" in SEARCH_SPACES["sofim"].override({"beta": 0.9}).override({"beta": [0.5, 0.9]}).parameters


def test_the_default_is_clipped_into_the_new_range() -> None:
    assert SEARCH_SPACES["sgd"].override({"lr": [1e-4, 1e-2]}).default["lr"] == 1e-2
    assert SEARCH_SPACES["sgd"].override({"lr": [0.5, 2]}).default["lr"] == 0.5
    assert SEARCH_SPACES["sgd"].override({"lr": [1e-4, 1.0]}).default["lr"] == SEARCH_SPACES["sgd"].default["lr"]
    assert SEARCH_SPACES["lbfgs"].override({"line_search_fn": ["none"]}).default["line_search_fn"] == "none"


def test_betas_line_search_and_nesterov_become_what_torch_takes() -> None:
    adam = SEARCH_SPACES["adam"].override({"beta1": 0.8, "beta2": 0.98})
    assert adam.arguments(adam.default)["betas"] == (0.8, 0.98)
    assert "beta1" not in adam.arguments(adam.default)
    lbfgs = SEARCH_SPACES["lbfgs"].override({"line_search_fn": "none"})
    assert lbfgs.arguments(lbfgs.default)["line_search_fn"] is None
    plain = SEARCH_SPACES["sgd"].override({"nesterov": True, "momentum": 0})
    assert plain.arguments(plain.default)["nesterov"] is False


def test_overriding_leaves_the_table_as_it_was() -> None:
    before = json.dumps(SEARCH_SPACES["sofim"].to_dict())
    SEARCH_SPACES["sofim"].override({"rho": [1.0, 2.0], "beta": 0.5, "parameterization": "default"})
    assert json.dumps(SEARCH_SPACES["sofim"].to_dict()) == before


MISTAKES: list[tuple[str, dict[str, object], str]] = [
    ("sofim", {"roh": [0.1, 1.0]}, r"^roh is no parameter of sofim: allowed are lr, .*; did you mean rho\?$"),
    ("sofim", {"momentum": 0.9}, r"^momentum is no parameter of sofim: allowed are lr, rho, beta,"),
    ("sofim", {"": 0.9}, r"^'' is no parameter"),
    ("sofim", {"a\nb": 0.9}, r"^'a\\nb' is no parameter"),
    ("sofim", {"rho": [10, 0.1]}, r"^rho = \[10, 0.1\] is a reversed range \(write \[0.1, 10.0\]\): allowed is"),
    ("sofim", {"rho": [1, 1.0]}, r"^rho = \[1, 1.0\] is an empty range \(to fix the value, write rho = 1.0\)"),
    ("sofim", {"rho": []}, r"^rho = \[\] is not a range of two numbers"),
    (
        "sofim",
        {"rho": [0.1, 0.5, 1.0]},
        r"is not a range of two numbers: allowed is a range \[low, high\] of numbers above 0",
    ),
    ("sofim", {"rho": ["a", "b"]}, r"is not a number"),
    ("sofim", {"rho": "0.5"}, r"^rho = '0.5' is not a number"),
    ("sofim", {"rho": True}, r"^rho = true is not a number"),
    ("sofim", {"rho": {"low": "1"}}, r"^rho.low = .1. is not a number$"),
    ("sofim", {"rho": None}, r"is not a number"),
    ("sofim", {"rho": float("nan")}, r"is not finite"),
    ("sofim", {"rho": [1e-3, float("inf")]}, r"^rho = \[0.001, inf\] is not finite"),
    ("sofim", {"rho": 10**400}, r"is not finite"),
    ("sofim", {"rho": 1 << 20_000}, r"^rho = an enormous integer is not finite"),
    ("sofim", {"rho": 0}, r"^rho = 0 is not accepted by the optimizer: allowed is .* above 0, or one value$"),
    ("sofim", {"rho": [-1, 1]}, r"is not accepted by the optimizer"),
    (
        "sofim",
        {"weight_decay": [0, 1e-3]},
        r"^weight_decay = \[0, 0.001\] reaches 0 or below, which a log scale cannot",
    ),
    ("sofim", {"weight_decay": -0.1}, r"is not accepted by the optimizer: allowed is .* at least 0"),
    ("sofim", {"beta": 1.0}, r"^beta = 1.0 is not accepted .* at least 0 and below 1"),
    ("sofim", {"beta": [0.9, 1]}, r"is not accepted"),
    ("sofim", {"batch_size": 0}, r"^batch_size = 0 is not accepted .* whole numbers at least 1"),
    ("sofim", {"batch_size": [16.5, 64]}, r"is not a whole number"),
    ("sofim", {"batch_size": 10**9}, r"is not accepted"),
    (
        "sofim",
        {"parameterization": "efective"},
        r"'efective' is unknown: allowed is default, effective; did you mean effective\?",
    ),
    ("sofim", {"parameterization": 3}, r"parameterization = 3 is unknown"),
    ("sgd", {"parameterization": "effective"}, r"'effective' is unknown: allowed is default$"),
    (
        "sofim",
        {"parameterization": "effective", "rho": 1.0},
        r"^rho is no parameter of sofim: allowed are effective_lr, knee",
    ),
    ("sofim", {"parameterization": "effective", "knee": 1e-200}, r"is not accepted"),
    (
        "lbfgs",
        {"line_search_fn": "armijo"},
        r"'armijo' is not one of its choices: allowed is a list out of 'none', 'strong_wolfe'",
    ),
    ("lbfgs", {"line_search_fn": []}, r"is empty or names a choice twice"),
    ("lbfgs", {"line_search_fn": ["none", "none"]}, r"is empty or names a choice twice"),
    ("lbfgs", {"line_search_fn": [["none"]]}, r"is not one of its choices"),
    ("sgd", {"nesterov": 1}, r"^nesterov = 1 is not one of its choices: allowed is a list out of false, true"),
    (
        "sgd",
        dict.fromkeys(["lr", "momentum", "weight_decay", "batch_size"], 0.5) | {"batch_size": 8},
        r"every parameter of sgd is fixed",
    ),
    ("sdg", {}, r"^'sdg' has no search space: known are sofim, .*; did you mean sgd\?"),
    ("sofim", {"file": 3}, r"^file = 3 is not a path"),
    ("sofim", {"file": "nowhere.py"}, r"nowhere.py cannot be read: No such file"),
    ("sofim", {"file": "nul\0.py"}, r"cannot be read"),
    ("sofim", {"file": "."}, r"cannot be read: Is a directory"),
]


@pytest.mark.parametrize(("optimizer", "table", "message"), MISTAKES)
def test_a_mistake_is_one_line_that_says_what_is_allowed(
    optimizer: str, table: Mapping[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        configured(optimizer, table, directory=tmp_path)
    assert str(caught.value).isprintable()


SETTINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("strong_wolfe"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("space", SEARCH_SPACES.values(), ids=SEARCH_SPACES)
@settings(deadline=None)
@given(data=st.data())
def test_any_setting_gives_a_sound_space_or_a_space_error(space: SearchSpace, data: st.DataObject) -> None:
    names = st.sampled_from([*space.declared, "typo"])
    table = data.draw(st.dictionaries(names, SETTINGS | st.lists(st.floats(0, 1), min_size=2, max_size=2), max_size=2))
    try:
        changed = space.override(table)
    except UserError:
        return
    again = from_dict(json.loads(json.dumps(changed.to_dict(), allow_nan=False)))
    assert again.stored_distributions() == changed.stored_distributions()
    assert again.arguments(again.default).keys() == space.arguments(space.default).keys()
    assert again.decode(again.encode(again.default)) == pytest.approx({n: again.default[n] for n in again.parameters})


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"lr": 0.1}, r"^rho, beta, batch_size missing from the configuration"),
        ({"lr": 0.1, "rho": 1.0, "beta": 0.9, "batch_size": 64, "gamma": 1}, r"^gamma is no parameter of sofim"),
        (
            {"lr": 0.1, "rho": 1.0, "beta": 0.9, "batch_size": 64, "weight_decay": 0.1},
            r"contradicts its fixed value 0.0",
        ),
        (
            {"lr": 0.1, "rho": 1e9, "beta": 0.9, "batch_size": 64},
            r"^rho: 1000000000.0 lies outside the range from 0.001 to 10$",
        ),
        ({"lr": 0.1, "rho": 1.0, "beta": 0.9, "batch_size": 64.5}, r"^batch_size: 64.5 lies outside the whole numbers"),
        ({"lr": "high", "rho": 1.0, "beta": 0.9, "batch_size": 64}, r"^lr: 'high' lies outside"),
    ],
)
def test_encode_refuses_what_the_space_does_not_hold(stored: dict[str, float], message: str) -> None:
    space = SEARCH_SPACES["sofim"].override({"weight_decay": 0})
    with pytest.raises(UserError, match=message):
        space.encode(stored)


OWN_SPACE = """
from search_spaces import Parameter, SearchSpace

FACTOR = 2.0

def build(values):
    return {"lr": values["half_lr"] * FACTOR}

SPACE = SearchSpace(
    optimizer="sgd",
    parameterization="halves",
    build=build,
    declared={
        "half_lr": Parameter.log(1e-3, 1.0, default=0.25, reason="Half of it."),
        "batch_size": Parameter.integer(8, 16, default=8, reason="Small data."),
    },
)
"""


def test_a_users_file_is_read_relative_to_the_campaign_and_can_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "my_space.py").write_text(OWN_SPACE)
    space = configured("sgd", {"file": "my_space.py", "half_lr": [0.1, 0.2]}, directory=tmp_path)
    assert space.arguments(space.default) == {"batch_size": 8, "lr": 0.4}


def test_a_stored_file_space_needs_the_file_for_arguments_alone(tmp_path: Path) -> None:
    file = tmp_path / "my_space.py"
    file.write_text(OWN_SPACE)
    space = configured("sgd", {"file": str(file)})
    again = from_dict(json.loads(json.dumps(space.to_dict())))
    assert again.arguments(again.default) == space.arguments(space.default)

    file.write_text(OWN_SPACE.replace("FACTOR = 2.0", "FACTOR = 3.0"))
    with pytest.raises(UserError, match=r"my_space.py has changed since its search space was stored"):
        again.arguments(again.default)
    file.unlink()
    with pytest.raises(UserError, match=r"cannot be read: No such file"):
        again.arguments(again.default)
    assert again.stored_distributions() == space.stored_distributions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SPACE = [", r"does not run: SyntaxError"),
        ("raise RuntimeError('two\\nlines')", r"does not run: RuntimeError: two lines \(line 1\)$"),
        ("import sys; sys.exit(3)", r"does not run: SystemExit: 3"),
        ("space = 1", r"defines no SPACE, a search_spaces.SearchSpace"),
        ("SPACE = {}", r"SPACE is a dict, not a search_spaces.SearchSpace$"),
        (OWN_SPACE.replace('"sgd"', '"adam"'), r"SPACE is for 'adam', not for 'sgd'"),
        (OWN_SPACE.replace('"batch_size"', '"batch"'), r"has no batch_size"),
        (OWN_SPACE.replace("default=8", "default=99"), r"default = 99 lies outside the whole numbers from 8 to 16"),
    ],
)
def test_a_broken_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "my_space.py").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        configured("sgd", {"file": "my_space.py"}, directory=tmp_path)
    assert str(caught.value).isprintable()
    assert "my_space.py" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Parameter.log(1.0, 0.1, default=0.5, reason="r"), "empty or reversed"),
        (lambda: Parameter.log(0.0, 0.1, default=0.05, reason="r"), "not accepted"),
        (lambda: Parameter.linear(0.0, 1.0, default=2.0, reason="r"), "default = 2.0 lies outside"),
        (lambda: Parameter.log(0.1, 1.0, default=0.5, reason=" "), "reason is empty"),
        (lambda: Parameter.one_minus_log(0.5, 1.0, default=0.5, reason="r"), "not accepted"),
        (lambda: Parameter.categorical([], default="a", reason="r"), "one or more different"),
        (lambda: Parameter.categorical(["a", "a"], default="a", reason="r"), "one or more different"),
        (lambda: Parameter.integer(1, 4, default=True, reason="r"), "default = true lies outside"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_when_it_is_written(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


def test_a_space_stored_by_another_version_is_refused_by_name() -> None:
    data = SEARCH_SPACES["sgd"].to_dict()
    with pytest.raises(UserError, match=r"'rprop', which is unknown"):
        from_dict({**data, "optimizer": "rprop"})
    with pytest.raises(UserError, match=r"'polar' is unknown"):
        from_dict({**data, "parameterization": "polar"})


def test_the_example_in_the_documentation_is_a_users_file_that_works(tmp_path: Path) -> None:
    example = str(search_spaces.__doc__).split("```python\n")[1].split("```")[0]
    (tmp_path / "my_space.py").write_text(example)
    space = configured("sgd", {"file": "my_space.py"}, directory=tmp_path)
    assert space.arguments(space.default) == {"batch_size": 64, "lr": 0.1, "momentum": 0.9}
