"""Recommended configurations: robust, rounded, and regretted where nobody has looked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.defaults import portfolio_of_all, recommend, surrogate_study
from analysis.defaults.robust import robust, with_digits
from analysis.defaults.surrogates import SurrogateStudy
from analysis.parameters import ParameterInfo
from analysis.study import Study

LR = ParameterInfo("lr", "float", 1e-4, 1.0, log=True, default=0.01)
BETA = ParameterInfo("beta", "float", 0.5, 0.995, one_minus=True, default=0.9)
EPOCHS = (1, 2)


def study(workload: str, optimizer: str = "sofim", direction: str = "maximize") -> Study:
    return Study(
        study_id=0,
        name=f"made/{workload}/{optimizer}",
        campaign={"name": "made", "trials": 100},
        workload=workload,
        optimizer=optimizer,
        metric="accuracy",
        direction=direction,
        attributes={"search_space": {"fixed": {"nesterov": False}, "parameters": {"lr": 0, "nesterov": 0, "beta": 0}}},
        parameters={"lr": LR, "beta": BETA},
    )


def tuned(found: Study, value, count: int = 120, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random trials whose metric is ``value(log10 lr, log10(1 - beta))``; after the first epoch they are at 0.1."""
    rng = np.random.default_rng(seed)
    rows, curves = [], []
    for number in range(count):
        rate, share = rng.uniform(-4, 0), rng.uniform(math.log10(0.005), math.log10(0.5))
        metric = value(rate, share)
        params = {"lr": 10**rate, "beta": 1 - 10**share}
        rows.append((found.name, found.workload, found.optimizer, number, "complete", metric, params))
        start = 0.1 if found.direction == "maximize" else 1.9
        curves += [(found.name, number, 1, start), (found.name, number, 2, metric)]
    names = ["study", "workload", "optimizer", "number", "outcome", "value", "params"]
    return pd.DataFrame(rows, columns=names), pd.DataFrame(curves, columns=["study", "number", "epoch", "value"])


def runs(found: Study, confirms: int, values) -> pd.DataFrame:
    rows = [(found.name, "complete", value, confirms) for value in values]
    return pd.DataFrame(rows, columns=["study", "outcome", "value", "confirms"])


def surface(found: Study, value, **options) -> tuple[SurrogateStudy, pd.DataFrame]:
    trials, curves = tuned(found, value, **options)
    return surrogate_study(found, trials, curves, np.random.default_rng(0), num_refits=8), trials


def cliff(rate: float, share: float) -> float:
    """Best just before it breaks down: at lr 0.1 the metric falls from 0.9 to 0.2; around 0.001 it is 0.88, wide."""
    if rate > -1:
        return 0.2
    return 0.9 if rate > -1.25 else 0.88 - 0.02 * (rate + 2.5) ** 2


def test_nobody_gets_a_cliff_edge() -> None:
    surrogate, trials = surface(study("w"), cliff, count=200)
    edge = float(trials.loc[trials["value"].idxmax(), "params"]["lr"])
    assert 10**-1.25 < edge < 0.1, "the best trial stands at the edge"
    assert 10**-3.3 < robust(surrogate)["lr"] < 10**-1.6


def test_where_less_is_better_it_is_the_other_way_round() -> None:
    surrogate, trials = surface(study("w", direction="minimize"), lambda rate, share: 2 - cliff(rate, share), count=200)
    assert surrogate.winner == trials.loc[trials["value"].idxmin(), "params"]
    assert 10**-3.3 < robust(surrogate)["lr"] < 10**-1.6


def test_a_wide_optimum_needs_one_digit_and_a_narrow_one_more() -> None:
    wide, _ = surface(study("w"), lambda rate, share: 0.9 - 0.01 * (rate + 2) ** 2)
    assert len(f"{robust(wide)['lr']:.12g}".strip("0.")) == 1
    assert with_digits({"lr": 0.012345, "beta": 0.98765}, [LR, BETA], 2) == {"lr": 0.012, "beta": 0.988}
    assert with_digits({"lr": 0.96}, [LR], 1) == {"lr": 1.0}
    knee = ParameterInfo("knee", "float", 10**-1.5, 10**0.5, log=True)
    assert with_digits({"knee": knee.high}, [knee], 2) == {"knee": knee.high}, "12 digits of it lie outside"
    assert with_digits({"lr": 0.00011}, [ParameterInfo("lr", "float", 1.05e-4, 1.0, log=True)], 1) == {"lr": 0.00011}


def test_regrets_are_0_for_the_best_and_1_for_what_training_starts_from() -> None:
    surrogate, _ = surface(study("w"), lambda rate, share: 0.9 - 0.2 * min(4.0, (rate + 1) ** 2))
    found = surrogate.regrets([{"lr": 0.1, "beta": 0.9}, {"lr": 10**-2, "beta": 0.9}, {"lr": 1e-4, "beta": 0.9}])
    assert found[0] == pytest.approx(0.0, abs=0.05)
    assert found[1] == pytest.approx(0.2 / 0.8, abs=0.1)
    assert found[2] == pytest.approx(1.0, abs=0.05)
    assert surrogate.start == 0.1


def two() -> tuple[list[SurrogateStudy], pd.DataFrame]:
    """Workloads u and v want lr 0.1, w wants 0.001: there u's and v's is regretted a lot, and the other way round."""
    made = [
        surface(study(name), lambda rate, share, best=best: 0.9 - 0.15 * (rate - best) ** 2)
        for name, best in (("u", -1), ("v", -1), ("w", -3))
    ]
    return [surrogate for surrogate, _ in made], pd.concat([trials for _, trials in made], ignore_index=True)


@pytest.mark.slow
def test_the_default_is_what_most_workloads_want_and_the_portfolio_adds_the_rest() -> None:
    surrogates, trials = two()
    [found] = recommend(surrogates, trials, runs(study("u"), 0, []))
    assert found.default.source.workload in ("u", "v")
    assert found.default.source.params["lr"] == pytest.approx(0.1, rel=1.0)
    assert [choice.source.workload for choice in found.portfolio[:2]][1] == "w"
    assert found.portfolio[0] == found.default
    assert set(found.left_out) == {"u", "v", "w"}
    assert found.left_out["w"].regret > 0.5, "nobody told the others what w wants"
    for one, other in (("u", "v"), ("v", "u")):  # of the two that are left, either may be taken
        assert (found.left_out[one].regret < 0.1) is (found.left_out[one].source.workload == other)
    middle, low, high = found.expected
    assert middle == pytest.approx(np.mean([one.regret for one in found.left_out.values()]))
    assert 0 <= low <= middle <= high <= 1
    assert "only 3 workloads" in found.notes


@pytest.mark.slow
def test_params_have_what_was_fixed_in_the_order_of_the_space() -> None:
    surrogates, trials = two()
    [found] = recommend(surrogates, trials, runs(study("u"), 0, []))
    assert list(found.workloads["u"].params) == ["lr", "nesterov", "beta"]


@pytest.mark.slow
def test_a_workload_alone_says_so() -> None:
    surrogate, trials = surface(study("u"), lambda rate, share: 0.9 - 0.15 * (rate + 1) ** 2)
    [found] = recommend([surrogate], trials, runs(study("u"), 0, []))
    assert found.notes == ("one workload: this says nothing beyond it",)


def test_what_a_study_did_not_search_it_does_not_judge() -> None:
    surrogate, _ = surface(study("u"), lambda rate, share: 0.9 - 0.15 * (rate + 1) ** 2)
    found = surrogate.regrets([{"lr": 0.1}, {"lr": 0.1, "beta": 0.9, "nesterov": True}, {"lr": 0.1, "beta": 0.9}])
    assert np.isnan(found).tolist() == [True, True, False], "without beta; fixed otherwise"


@pytest.mark.slow
def test_optimizers_of_a_workload_are_regretted_on_one_scale() -> None:
    """One starts at 0.1 and gets to 0.864, the other starts at 0.85 and gets to 0.887: the better is regretted less."""
    surrogates, frames = [], []
    for optimizer, start, top in (("sofim", 0.1, 0.864), ("sgd", 0.85, 0.887)):
        found = study("u", optimizer)
        trials, curves = tuned(found, lambda rate, share, top=top: top - 0.05 * (rate + 1) ** 2)
        curves.loc[curves["epoch"] == 1, "value"] = start
        surrogates.append(surrogate_study(found, trials, curves, np.random.default_rng(0), num_refits=8))
        frames.append(trials)
    trials = pd.concat(frames, ignore_index=True)
    [first, *_] = portfolio_of_all(surrogates, recommend(surrogates, trials, runs(study("u"), 0, [])), 2)
    assert first.source.optimizer == "sgd"


@pytest.mark.slow
def test_a_surrogate_that_knows_nothing_is_not_asked() -> None:
    rng = np.random.default_rng(5)
    noise, trials = surface(study("u"), lambda rate, share: float(rng.normal()))
    good, more = surface(study("v"), lambda rate, share: 0.9 - 0.15 * (rate + 1) ** 2)
    assert not noise.trusted
    [found] = recommend([noise, good], pd.concat([trials, more], ignore_index=True), runs(study("u"), 0, []))
    one = found.workloads["u"]
    assert one.kind == "winner"
    assert "explains too little" in one.notes[0]
    assert math.isnan(one.predicted[0])
    assert found.left_out["u"].source.workload == "v"
    assert math.isnan(found.left_out["u"].regret)
    assert found.expected[0] == found.left_out["v"].regret
    assert any("u is not known" in note for note in found.notes)


def test_a_study_without_a_complete_trial_recommends_nothing() -> None:
    trials, _ = tuned(study("u"), lambda rate, share: 0.5)
    broken = trials.assign(outcome="failed", value=np.nan)
    empty = surrogate_study(study("u"), broken, trials.head(0).assign(epoch=0), np.random.default_rng(0))
    assert recommend([empty], broken, runs(study("u"), 0, [])) == []


def test_what_a_value_is_good_for_does_not_depend_on_others() -> None:
    found, _ = surface(study("u", direction="minimize"), lambda rate, share: 10.0 ** (rate - 3))
    surrogate = replace(found, scale="log", floor=1e-7)
    alone = [float(surrogate.goodness(np.array([value]))[0]) for value in (1e-9, 0.0, 1e-3)]
    assert surrogate.goodness(np.array([1e-9, 0.0, 1e-3])).tolist() == alone
    assert surrogate.metric(np.array(alone)).tolist() == pytest.approx([1e-9, 1e-7, 1e-3])


@pytest.mark.slow
def test_the_portfolio_of_all_begins_with_the_better_optimizer() -> None:
    made = [
        surface(study(w, optimizer), lambda rate, share, top=top: top - 0.15 * (rate + 1) ** 2)
        for w in ("u", "v")
        for optimizer, top in (("sofim", 0.9), ("sgd", 0.7))
    ]
    surrogates, trials = (
        [surrogate for surrogate, _ in made],
        pd.concat([trials for _, trials in made], ignore_index=True),
    )
    every = recommend(surrogates, trials, runs(study("u"), 0, []))
    assert [defaults.optimizer for defaults in every] == ["sofim", "sgd"]
    [first, *rest] = portfolio_of_all(surrogates, every, 4)
    assert first.source.optimizer == "sofim"
    assert all(choice.source.optimizer == "sofim" for choice in rest), "sgd adds nothing"
    assert every[1].default.regret < 0.1, "against its own best it is good"
