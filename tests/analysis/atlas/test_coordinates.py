"""One ρ, or one η/ρ, for all workloads: told where it is planted, refused where it is not, and else not told."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import qmc

from analysis.atlas import coordinates
from analysis.defaults import SurrogateStudy, surrogate_study
from analysis.parameters import ParameterInfo
from analysis.study import Study

WIDE = {"low": 1e-3, "high": 10.0, "log": True}
SOFIM = {name: ParameterInfo(name, "float", default=0.1, **WIDE) for name in ("lr", "rho")}
EVENLY = dataclasses.replace(SOFIM["rho"], log=False)
EFFECTIVE = {
    "effective_lr": ParameterInfo("effective_lr", "float", 1e-3, 1e2, log=True, default=0.2),
    "knee": ParameterInfo("knee", "float", 1e-3**0.5, 10**0.5, log=True, default=0.7),
}
START = 0.1


def planted(workload, value, *, optimizer="sofim", direction="maximize", parameters=SOFIM, count=96, order=None):
    """The surrogate of quasi-random trials with the metric ``value(log10 η/ρ, log10 ρ)`` and the noise of a seed."""
    study = Study(
        0, f"made/{workload}/{optimizer}", {"name": "made"}, workload, optimizer, "m", direction,
        {"search_space": {"fixed": {"beta": 0.9}}, "metric_scale": "linear"}, parameters,
    )  # fmt: skip
    rng = np.random.default_rng(sum(map(ord, workload)))
    sign = 1 if direction == "maximize" else -1
    rows, curves = [], []
    for number, point in enumerate(qmc.Halton(2, rng=rng).random(count)):
        params = {
            name: info.low * (info.high / info.low) ** at
            for (name, info), at in zip(parameters.items(), point, strict=True)
        }
        if "knee" in params:
            told = math.log10(params["effective_lr"]), 2 * math.log10(params["knee"])
        else:
            told = math.log10(params["lr"] / params["rho"]), math.log10(params["rho"])
        metric = sign * (max(START, value(*told)) + rng.normal(0, 0.003))
        rows.append((study.name, workload, optimizer, number, "complete", metric, params))
        curves += [(study.name, number, 1, sign * START), (study.name, number, 2, metric)]
    names = ["study", "workload", "optimizer", "number", "outcome", "value", "params"]
    trials = pd.DataFrame(rows, columns=names)
    if order is not None:
        trials = trials.iloc[np.random.default_rng(order).permutation(len(trials))]
    epochs = pd.DataFrame(curves, columns=["study", "number", "epoch", "value"])
    return surrogate_study(study, trials, epochs, np.random.default_rng(0), num_refits=12)


def ridge(best: float):
    """Only η/ρ matters, and is best at 10**best."""
    return lambda ratio, rho: 0.9 - 0.12 * (ratio - best) ** 2


def shared(surrogates: list[SurrogateStudy]) -> pd.DataFrame:
    table, _ = coordinates.profiles(surrogates, np.random.default_rng(0))
    return coordinates.shared(table, surrogates).set_index("coordinate")


def said(surrogates: list[SurrogateStudy]) -> list[str]:
    table, intervals = coordinates.profiles(surrogates, np.random.default_rng(0))
    shares = coordinates.explained(surrogates)
    optimizer = surrogates[0].study.optimizer
    return coordinates.sentences(coordinates.shared(table, surrogates), intervals, shares, optimizer)


@pytest.fixture(scope="module")
def alike() -> list[SurrogateStudy]:
    return [planted("u", ridge(0.0)), planted("v", ridge(0.2))]


@pytest.fixture(scope="module")
def apart() -> list[SurrogateStudy]:
    return [planted("u", ridge(-1.2)), planted("w", ridge(1.5))]


@pytest.mark.slow
def test_where_only_the_ratio_matters_and_is_alike_one_ratio_does_and_so_does_one_rho(alike) -> None:
    found = shared(alike)
    assert list(found["verdict"]) == ["within", "within"]
    ratio = found.loc["lr/rho"]
    assert 0.1 < ratio["low"] <= ratio["value"] <= ratio["high"] < 15
    text = said(alike)
    assert text[0].startswith("One rho does for sofim on both workloads: ")
    assert text[1].startswith("One lr/rho does for sofim on both workloads: ")


@pytest.mark.nightly
@pytest.mark.slow
def test_where_the_best_ratio_moves_by_almost_three_decades_none_does_and_it_says_where_not(apart) -> None:
    found = shared(apart)
    assert found.loc["lr/rho", "verdict"] == "beyond"
    assert len(found.loc["lr/rho", "within"]) < 2
    assert found.loc["rho", "verdict"] != "beyond", "who tunes the ratio again loses nothing by any rho"
    assert any(text.startswith("No one lr/rho does for sofim on both workloads") for text in said(apart))


@pytest.mark.nightly
@pytest.mark.slow
def test_where_trials_say_nothing_nothing_is_told(alike) -> None:
    noise = planted("n", lambda ratio, rho: 0.5, count=32)
    found = shared([*alike, noise])
    assert set(found["verdict"]) == {"cannot be told"}
    assert all("n" in names for names in found["untold"])
    few = planted("n", ridge(0.0), count=32)
    _, intervals = coordinates.profiles([few], np.random.default_rng(0))
    assert set(intervals["why_not"]) == {"too few trials lie near the best to judge the surrogate there"}
    assert said([*alike, noise])[0].startswith("Whether one rho does for sofim on all 3 workloads cannot be told.")


@pytest.mark.slow
def test_the_profile_holds_what_was_planted(alike) -> None:
    table, intervals = coordinates.profiles(alike, np.random.default_rng(0))
    own = table[(table["workload"] == "u") & (table["coordinate"] == "lr/rho") & table["value"].between(0.02, 50)]
    truth = 100 * np.minimum(0.12 * np.log10(own["value"]) ** 2, 0.8) / 0.8
    near = own[truth <= 20]  # what far away values lose nobody needs to know as well
    inside = (near["loss_low"] - 2 <= truth[near.index]) & (truth[near.index] <= near["loss_high"] + 2)
    assert inside.mean() >= 0.9
    row = intervals[(intervals["workload"] == "u") & (intervals["coordinate"] == "lr/rho")].iloc[0]
    edge = 10 ** math.sqrt(row["loss_percent"] / 100 * 0.8 / 0.12)
    assert 1 / edge / 2 < row["low"] < 1 < row["high"] < 2 * edge
    roots = intervals[(intervals["workload"] == "u")].set_index("coordinate")
    assert roots.loc["√rho", "outer_high"] == pytest.approx(roots.loc["rho", "outer_high"] ** 0.5)


def test_a_gap_between_good_values_is_no_part_of_what_is_told(alike) -> None:
    words = {0.01: "within", 0.1: "beyond", 1.0: "within", 3.0: "within", 10.0: "beyond", 100.0: "cannot be told"}
    rows = [
        ("sofim", w, "", "rho", at, abs(math.log10(at)), -9.0, 9.0, word) for w in "uv" for at, word in words.items()
    ]
    table = pd.DataFrame(rows, columns=list(coordinates.PROFILES))
    row = coordinates.shared(table, alike).iloc[0]
    assert (row["verdict"], row["low"], row["value"], row["high"]) == ("within", 1.0, 1.0, 3.0)
    fit = coordinates._Ridged(alike[0], (), 5.0, "")
    _, best, *ends, _, _ = coordinates._interval(fit, table[table["workload"] == "u"])
    assert (best, *ends) == (1.0, 1.0, 3.0, 0.01, 100.0), "outside of the outer ones all are beyond"


@pytest.mark.nightly
@pytest.mark.slow
def test_a_workload_with_too_few_trials_counts_and_cannot_be_told(alike) -> None:
    few = planted("n", ridge(0.0), count=12)
    text = said([*alike, few])
    assert text[0].startswith("Whether one rho does for sofim on all 3 workloads cannot be told.")
    assert text[0].endswith("and what cannot be told on n.")
    assert (
        "Which rho and which lr/rho of sofim is near-optimal cannot be told on n, where 12 trials are too few, "
        "at least 20 are needed." in text
    )
    elsewhere = planted("m", ridge(0.0), optimizer="sgd", parameters={**SOFIM, "rho": EVENLY})
    assert said([*alike, elsewhere])[0].endswith("and what cannot be told on m.")
    single = dataclasses.replace(alike[0], parameters=[SOFIM["lr"]], points=alike[0].points[:, :1])
    assert any(
        "on u, where rho had a single value, or too few trials" in sentence for sentence in said([single, alike[1]])
    )


@pytest.mark.slow
def test_other_workloads_change_nothing_but_the_level(apart) -> None:
    every, _ = coordinates.profiles(apart, np.random.default_rng(0))
    turned, _ = coordinates.profiles(apart[::-1], np.random.default_rng(0))
    for one in apart:
        alone, _ = coordinates.profiles([one], np.random.default_rng(0))
        told = [table[table["workload"] == one.study.workload] for table in (alone, every, turned)]
        losses = [own.sort_values(["coordinate", "value"])["loss"].to_numpy() for own in told]
        assert len(losses[0])
        assert np.allclose(losses[0], losses[1])
        assert np.allclose(losses[0], losses[2])


def test_names_order_and_sign_change_nothing(apart) -> None:
    change = {"optimizer": "another", "direction": "minimize", "order": 3}
    other = [planted("u", ridge(-1.2), **change), planted("w", ridge(1.5), **change)]
    columns = ["verdict", "low", "high", "value", "within", "beyond", "untold"]
    pd.testing.assert_frame_equal(shared(other)[columns], shared(apart)[columns], rtol=1e-9)
    assert [text.replace("another", "sofim") for text in said(other)] == said(apart)


@pytest.mark.slow
def test_a_space_in_effective_coordinates_is_told_in_the_same(apart) -> None:
    other = [planted(w, ridge(best), parameters=EFFECTIVE) for w, best in (("u", -1.2), ("w", 1.5))]
    assert list(shared(other)["verdict"])[1] == "beyond"
    stranger = dataclasses.replace(other[0], study=dataclasses.replace(other[0].study, attributes={}))
    assert not coordinates.coordinates_of(stranger), "a rho without a beta is another optimizer's"
