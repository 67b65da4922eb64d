"""Regrets of what was run: from the means over seeds, with what broke counted as the worst."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pandas as pd
import pytest

from analysis.defaults import Evaluated, portfolio_of_all, recommend
from tests.analysis.defaults.test_recommend import runs as confirmed
from tests.analysis.defaults.test_recommend import study, surface

GOOD, BAD, NEVER = {"lr": 0.1, "size": 32}, {"lr": 0.5, "size": 32}, {"lr": 0.9, "size": 32}


def ran(name: str, **outcomes: list[float | str]) -> pd.DataFrame:
    """Evaluation runs of a study: values of what came through, or how it ended."""
    given = {"good": GOOD, "bad": BAD}
    rows = [
        (name, "complete", one, given[key]) if isinstance(one, float) else (name, one, math.nan, given[key])
        for key, listed in outcomes.items()
        for one in listed
    ]
    return pd.DataFrame(rows, columns=["study", "outcome", "value", "evaluates"])


@pytest.fixture(scope="module")
def surrogate():
    return surface(study("w"), lambda rate, share: 0.9 - 0.02 * (rate + 2) ** 2)[0]  # training starts from 0.1


def test_regret_is_that_of_the_mean_between_the_start_and_the_best(surrogate) -> None:
    measured = Evaluated(ran("made/w/sofim", good=[0.8, 1.0], bad=[0.5, 0.5]))
    assert measured.regrets(surrogate, [GOOD, BAD, NEVER]) == pytest.approx([0.0, 0.5, math.nan], nan_ok=True)
    assert measured.fewest([surrogate], [GOOD, BAD]) == 2
    assert measured.fewest([surrogate], [NEVER]) == 0


def test_runs_of_what_is_recommended_no_more_tell_nothing_of_the_seeds(surrogate) -> None:
    """With more --seeds after the search went on, the former recommendation keeps its few runs."""
    measured = Evaluated(ran("made/w/sofim", good=[0.8, 0.9, 0.9], bad=[0.5]))
    assert measured.fewest([surrogate], [GOOD]) == 3


def test_where_less_is_better_it_is_the_other_way_round() -> None:
    found = surface(study("w", direction="minimize"), lambda rate, share: 1.1 + 0.02 * (rate + 2) ** 2)[0]
    measured = Evaluated(ran("made/w/sofim", good=[1.1], bad=[1.5]))
    assert measured.regrets(found, [GOOD, BAD]) == pytest.approx([0.0, 0.5])  # training starts from 1.9


def test_what_broke_counts_as_the_worst_and_sets_no_best(surrogate) -> None:
    """One seed of three that survives by luck, with the best value of all, is no configuration to recommend."""
    measured = Evaluated(ran("made/w/sofim", good=[0.9, 0.9, 0.9], bad=[0.95, "diverged", "failed"]))
    assert measured.regrets(surrogate, [GOOD, BAD]) == pytest.approx([0.0, 2 / 3])
    every = Evaluated(ran("made/w/sofim", good=["diverged"], bad=["diverged"]))
    assert every.regrets(surrogate, [GOOD, BAD]) == pytest.approx([1.0, 1.0])


def test_runs_that_are_to_be_run_again_count_for_nothing(surrogate) -> None:
    measured = Evaluated(ran("made/w/sofim", good=[0.9, "lost", "running"], bad=["lost"]))
    assert measured.regrets(surrogate, [GOOD, BAD]) == pytest.approx([0.0, math.nan], nan_ok=True)


def test_whole_numbers_and_order_do_not_tell_configurations_apart(surrogate) -> None:
    measured = Evaluated(ran("made/w/sofim", good=[0.9]))
    assert measured.regrets(surrogate, [{"size": 32.0, "lr": 0.1}]) == pytest.approx([0.0])


@pytest.mark.slow
def test_runs_overrule_what_surrogates_say_of_other_workloads() -> None:
    """By the surrogates each workload's own optimum is far from the other's; the runs say that one serves both."""
    surrogates, tables = [], []
    for place, (name, optimum) in enumerate([("u", -1.0), ("v", -3.0)]):
        found, trials = surface(study(name), lambda rate, share, x=optimum: 0.9 - 0.1 * (rate - x) ** 2, seed=place)
        surrogates.append(found)
        tables.append(trials)
    trials, none = pd.concat(tables, ignore_index=True), confirmed(study("u"), 0, [])
    [before] = recommend(surrogates, trials, none)
    chosen = {name: one.params for name, one in before.workloads.items()}
    reached = {"u": 0.5, "v": 0.9}
    rows = [(f"made/{on}/sofim", "complete", reached[of], chosen[of]) for on, of in itertools.product("uv", repeat=2)]
    measured = Evaluated(pd.DataFrame(rows, columns=["study", "outcome", "value", "evaluates"]))
    [after] = recommend(surrogates, trials, none, measured=measured)
    same = {name: one.params for name, one in after.workloads.items()}
    assert same == chosen, "what each workload recommends stays"
    assert (after.default.source.workload, after.default.regret) == ("v", 0.0)
    assert {name: one.regret for name, one in after.left_out.items()} == pytest.approx({"u": 0.0, "v": 0.5})
    assert before.left_out["u"].regret > 0.1
    [first] = portfolio_of_all(surrogates, [after], 4, measured)
    assert (first.source.workload, first.regret) == ("v", 0.0)


@pytest.mark.slow
def test_all_optimizers_of_a_workload_have_one_scale() -> None:
    """An optimizer whose trials begin badly must not be forgiven more: its 0.5 is as bad as another's 0.5."""
    slow, trials = surface(study("w"), lambda rate, share: 0.9 - 0.02 * (rate + 2) ** 2)
    other, more = surface(study("w", "sgd"), lambda rate, share: 0.9 - 0.02 * (rate + 2) ** 2)
    slow, other = dataclasses.replace(slow, start=-3.0), dataclasses.replace(other, start=0.5)
    elsewhere, most = surface(study("v"), lambda rate, share: 0.9 - 0.02 * (rate + 1) ** 2, seed=1)
    surrogates = [slow, elsewhere, other]
    table, none = pd.concat([trials, more, most], ignore_index=True), confirmed(study("w"), 0, [])
    [sofim, _] = recommend(surrogates, table, none)
    chosen = {name: one.params for name, one in sofim.workloads.items()}
    reached = {("w", "w"): 0.9, ("w", "v"): 0.5, ("v", "w"): 0.9, ("v", "v"): 0.9}
    rows = [(f"made/{on}/sofim", "complete", value, chosen[of]) for (on, of), value in reached.items()]
    measured = Evaluated(pd.DataFrame(rows, columns=["study", "outcome", "value", "evaluates"]))
    [sofim, _] = recommend(surrogates, table, none, measured=measured)
    start = (-3.0 + 0.5) / 2
    assert sofim.left_out["w"].regret == pytest.approx(0.4 / (0.9 - start))
