"""How parameters were searched, of studies of ours and of anybody's, and which studies are refused."""

from __future__ import annotations

import math

import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from analysis.load import confirmations, curves, studies, study, trials
from analysis.parameters import ParameterInfo, from_distributions, from_space
from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import make

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sofim"]}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture
def opened(url):
    storage = open_storage(url)
    yield storage
    close_storage(storage)


@pytest.mark.parametrize(
    "space",
    [s for o in SEARCH_SPACES.values() for s in (o, *o.alternatives.values())],
    ids=lambda space: f"{space.optimizer}-{space.parameterization}",
)
def test_every_space_of_ours_is_understood_from_what_the_database_stores(space):
    found = from_space(space.to_dict())
    assert list(found) == list(space.parameters)
    for name, info in found.items():
        parameter = space.parameters[name]
        assert info.name == name
        assert info.default == parameter.default
        if info.kind == "categorical":
            assert info.choices == parameter.distribution.choices
            continue
        low, high = parameter.distribution.low, parameter.distribution.high
        assert (info.low, info.high, info.choices) == (low, high, ())
        assert (info.kind == "int") == isinstance(parameter.distribution, IntDistribution)
        # on the scale that the sampler saw, ends and all
        searched = parameter.search_distribution
        assert (info.log or info.one_minus) == searched.log
        assert not (info.log and info.one_minus)
        assert info.one_minus == (searched != parameter.distribution)


def test_a_campaigns_own_ranges_count_and_fixed_parameters_are_not_searched(url, opened):
    table = {"rho": [0.01, 1.0], "beta": 0.5, "batch_size": [16, 32]}
    make(url, {}, search_space={"sofim": table}, **ONE)
    [found] = studies(opened)
    assert found == study(opened, "fake/digits-mlp/sofim")
    assert found.own
    assert list(found.parameters) == ["lr", "rho", "weight_decay", "batch_size"]
    assert found.parameters["rho"] == ParameterInfo(
        "rho", "float", 0.01, 1.0, log=True, default=0.5, accepts=SEARCH_SPACES["sofim"].declared["rho"].accepts
    )
    assert (found.parameters["batch_size"].low, found.parameters["batch_size"].high) == (16.0, 32.0)


def test_momentum_is_searched_as_one_minus_it():
    info = from_space(SEARCH_SPACES["sgd"].to_dict())["momentum"]
    assert (info.kind, info.log, info.one_minus) == ("float", False, True)
    assert 0 <= info.low < info.high < 1


def test_a_space_of_another_version_is_taken_from_the_trials(url, opened):
    make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    [ours] = studies(opened)
    stored = dict(ours.attributes["search_space"]) | {"parameters": {"lr": {"scale": "cubic"}}}
    opened.set_study_user_attr(ours.study_id, "search_space", stored)
    [found] = studies(opened)
    assert set(found.parameters) == set(ours.parameters)
    assert found.parameters["lr"].low == ours.parameters["lr"].low
    with pytest.raises(UserError, match="another version"):
        from_space(stored)


@pytest.mark.parametrize("space", [{}, {"fixed": {}, "parameters": 7}, {"fixed": {}, "parameters": {"lr": 7}}])
def test_what_is_no_space_is_refused_in_one_line(space):
    with pytest.raises(UserError, match="cannot be read") as caught:
        from_space(space)
    assert "\n" not in str(caught.value)


def objective(trial: optuna.Trial) -> float:
    kind = trial.suggest_categorical("kind", ["tree", "line", None])
    value = trial.suggest_float("rate", 1e-3, 1.0 + trial.number, log=True)
    if kind == "tree":
        value += trial.suggest_int("depth", 1, 9) * trial.suggest_float("share", 0.1, 0.9, step=0.1)
    return value


def test_a_foreign_studys_parameters_come_from_all_its_trials(opened):
    made = optuna.create_study(storage=opened, study_name="theirs", sampler=optuna.samplers.RandomSampler(seed=1))
    for kind in ("line", "tree", None):  # the first trial lacks two of them
        made.enqueue_trial({"kind": kind})
    made.optimize(objective, n_trials=3)
    found = study(opened, "theirs")
    assert not found.own
    assert (found.metric, found.direction, found.workload, found.campaign) == ("value", "minimize", "", {})
    assert dict(found.parameters) == {
        "kind": ParameterInfo("kind", "categorical", math.nan, math.nan, choices=("tree", "line", None)),
        "rate": ParameterInfo("rate", "float", 1e-3, 3.0, log=True),
        "depth": ParameterInfo("depth", "int", 1.0, 9.0),
        "share": ParameterInfo("share", "float", 0.1, 0.9, step=0.1),
    }
    assert list(found.parameters)[:2] == ["kind", "rate"]


def test_a_foreign_study_has_its_own_name_of_the_metric_and_direction(opened):
    made = optuna.create_study(storage=opened, study_name="theirs", direction="maximize")
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        made.set_metric_names(["accuracy"])
    found = study(opened, "theirs")
    assert (found.metric, found.direction, dict(found.parameters)) == ("accuracy", "maximize", {})


def test_ranges_that_moved_are_searched_from_end_to_end():
    assert from_distributions("x", [FloatDistribution(1, 2), FloatDistribution(-1, 0.5)]).low == -1.0
    assert from_distributions("x", [IntDistribution(1, 2), IntDistribution(2, 8)]).high == 8.0
    mixed = from_distributions("x", [IntDistribution(1, 2, log=True), FloatDistribution(2, 8)])
    assert (mixed.kind, mixed.log) == ("float", False)
    choices = from_distributions("x", [CategoricalDistribution([1, "a"]), CategoricalDistribution(["a", True])]).choices
    assert list(map(repr, choices)) == ["1", "'a'", "True"]
    assert from_distributions("x", [IntDistribution(1, 2), CategoricalDistribution([1, 2])]).kind == "mixed"


def test_steps_are_known_where_all_trials_had_the_same() -> None:
    def step(*found: FloatDistribution | IntDistribution) -> float:
        return from_distributions("x", found).step

    assert step(FloatDistribution(0.1, 0.9, step=0.1), FloatDistribution(0.3, 0.5, step=0.1)) == 0.1
    assert step(IntDistribution(0, 98, step=7)) == 7
    assert step(IntDistribution(0, 100)) == 0, "every whole number"
    assert step(IntDistribution(0, 8, step=2), IntDistribution(1, 9, step=2)) == 0
    assert step(IntDistribution(0, 8, step=2), IntDistribution(0, 8, step=4)) == 0
    assert step(FloatDistribution(0, 1), FloatDistribution(0, 1, step=0.5)) == 0


def refusal(storage, name, objective=None) -> str:
    with pytest.raises(UserError) as caught:
        study(storage, name, objective)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_of_several_objectives_one_is_looked_at_under_its_own_name_and_direction(opened):
    made = optuna.create_study(storage=opened, study_name="pareto", directions=["maximize", "minimize"])
    made.add_trial(create_trial(values=[0.9, 12.0]))
    made.add_trial(create_trial(values=[0.8, -math.inf]))
    assert refusal(opened, "pareto").startswith("study 'pareto' has 2 objectives")
    assert refusal(opened, "pareto", 2).startswith(
        "study 'pareto' has no objective 2: 0 is values[0] (maximize), 1 is "
    )
    found = study(opened, "pareto", 1)
    assert (found.metric, found.direction, found.title) == (
        "values[1]",
        "minimize",
        "pareto, objective 1 (values[1])",
    )
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        made.set_metric_names(["accuracy", "milliseconds"])
    for storage in (opened, by_optuna_alone(made)):
        columns = [trials(storage, [study(storage, "pareto", i)])["value"].tolist() for i in (0, 1)]
        assert columns == [[0.9, 0.8], [12.0, -math.inf]]
        assert study(storage, "pareto", 1).metric == "milliseconds"


def by_optuna_alone(made: optuna.Study) -> optuna.storages.BaseStorage:
    """The same study where there is no SQL."""
    storage = optuna.storages.InMemoryStorage()
    optuna.copy_study(
        from_study_name=made.study_name, from_storage=made._storage, to_storage=storage, to_study_name=made.study_name
    )
    return storage


def test_a_name_that_is_not_there_brings_the_nearest_that_is(opened):
    assert refusal(opened, "spring") == "no study 'spring' in the storage; it has no study"
    for name in ["spring", *map(str, range(12))]:
        optuna.create_study(storage=opened, study_name=name)
    message = refusal(opened, "sprint")
    assert message.startswith("no study 'sprint' in the storage; there are spring, 0, 1")
    assert message.endswith("and 3 more; did you mean spring?")


@pytest.mark.slow
def test_confirmation_runs_are_found_beside_the_search(url, opened):
    make(url, {"digits-mlp/sofim": [0.5, 0.6]}, workloads=["digits-mlp"])
    ours, other = studies(opened)
    assert confirmations(opened, [ours]).empty
    name = f"{ours.name}/confirm"
    confirm = optuna.create_study(storage=opened, study_name=name, direction="maximize")
    for key, value in ours.attributes.items():
        confirm.set_user_attr(key, value)
    history = {"epoch": [1], "seconds": [2.0], "gradient_evaluations": [9], "train_loss": [0.3], "accuracy": [0.9]}
    for seed, facts in ((101, {"test_accuracy": 0.8, "test_loss": 0.5}), (102, {"test_accuracy": None})):
        attributes = {"seed": seed, "device": "cpu", "seconds": 2.0, "gradient_evaluations": 9, "history": history}
        attributes |= {"confirms": 1, "rank": 1, "exclusive": seed == 101}
        confirm.add_trial(
            create_trial(value=0.9, user_attrs=attributes | facts, intermediate_values={1: 0.9}, params={"a": 1.0},
                         distributions={"a": FloatDistribution(0, 2)})
        )  # fmt: skip
    confirm.add_trial(create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs={"seed": 103, "testy": 1}))
    assert refusal(opened, name) == f"study '{name}' holds confirmation runs; ask for '{ours.name}'"
    found = confirmations(opened, [other, ours])
    assert found["study"].tolist() == [ours.name] * 3, "of the study whose winner was run"
    assert found["seed"].tolist() == [101, 102, 103]
    assert found["outcome"].tolist() == ["complete", "complete", "running"]
    assert list(found.columns[-6:]) == [
        "exclusive", "device", "other_cores", "cores", "test_accuracy", "test_loss",
    ]  # fmt: skip
    assert found["confirms"].tolist() == [1, 1, pd.NA], "a winner that was overtaken can be told from the present one"
    assert found["rank"].tolist() == [1, 1, pd.NA]
    assert found["exclusive"].tolist() == [True, False, pd.NA]
    assert repr(found["test_accuracy"].tolist()) == "[0.8, nan, nan]"
    assert repr(found["test_loss"].tolist()) == "[0.5, nan, nan]"
    assert found["params"][0] == {"a": 1.0}
    epochs = curves(opened, [other, ours], confirmed=True)
    assert epochs[["study", "number", "seconds"]].to_numpy().tolist() == [[ours.name, 0, 2.0], [ours.name, 1, 2.0]]
    assert len(curves(opened, [other, ours])) == 2, "the search's epochs alone"
