"""What stands beside a recommended configuration was measured of it, and what was measured to be worse gives way."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from analysis.defaults import (
    Evaluated,
    Recommendation,
    SurrogateStudy,
    pooled,
    portfolio_of_all,
    ran,
    recommend,
    surrogate_study,
)
from analysis.defaults.robust import with_digits
from analysis.study import Frames, Study
from search_spaces import configuration_key
from tests.analysis.defaults.test_recommend import runs, study, surface, tuned

SEEDS = range(10)


@pytest.fixture(scope="module")
def made() -> tuple[SurrogateStudy, pd.DataFrame]:
    return surface(study("u"), lambda rate, share: 0.9 - 0.09 * (rate + 1) ** 2)


def best(trials: pd.DataFrame) -> int:
    return int(trials.loc[trials["value"].idxmax(), "number"])


def evaluated(surrogate: SurrogateStudy, params, values) -> Evaluated:
    """Runs of a configuration, by seed: a value, or how it ended."""
    rows = [
        (surrogate.study.name, value if isinstance(value, str) else "complete",
         math.nan if isinstance(value, str) else value, dict(params), seed)
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return Evaluated(pd.DataFrame(rows, columns=["study", "outcome", "value", "evaluates", "seed"]))


def recommended(made, confirmed=(), robust_runs=(), **options) -> Recommendation:
    """What the study recommends once its robust configuration and its winner were run so."""
    surrogate, trials = made
    confirmations = runs(surrogate.study, best(trials), confirmed).assign(seed=range(len(confirmed)))
    confirmations["outcome"] = [one if isinstance(one, str) else "complete" for one in confirmed]
    confirmations["value"] = [math.nan if isinstance(one, str) else one for one in confirmed]
    [before] = recommend([surrogate], trials, confirmations)
    measured = evaluated(surrogate, before.workloads["u"].params, robust_runs)
    [after] = recommend([surrogate], trials, confirmations, measured=measured, **options)
    return after.workloads["u"]


@pytest.mark.slow
def test_numbers_are_of_the_very_configuration_and_where_nothing_was_run_there_are_none(made) -> None:
    one = recommended(made, confirmed=[0.8, 0.9])
    assert (one.kind, one.trials, one.measured.runs) == ("robust", 120, 0)
    assert math.isnan(one.measured.mean[0])
    assert one.winner_measured.mean[0] == pytest.approx(0.85)
    assert configuration_key(one.winner) != configuration_key(one.params)
    assert "never run" in " ".join(one.notes)
    one = recommended(made, confirmed=[0.8, 0.9], robust_runs=[0.86, 0.88, 0.9])
    assert one.measured.mean[0] == pytest.approx(0.88)
    assert (one.measured.runs, one.notes) == (3, ())


def test_the_winner_has_its_confirmation_runs_and_those_of_an_overtaken_one_count_for_nothing(made) -> None:
    surrogate, trials = made
    confirmed = pd.concat([runs(study("u"), best(trials), [0.8, 0.9]), runs(study("u"), best(trials) + 1, [0.1])])
    [found] = recommend([surrogate], trials, confirmed.reset_index(drop=True), exact=True)
    one = found.workloads["u"]
    assert (one.kind, one.winner, one.measured.runs) == ("winner", None, 2)
    assert one.measured.mean[0] == pytest.approx(0.85)
    assert {name: one.params[name] for name in ("lr", "beta")} == surrogate.winner


@pytest.mark.parametrize(
    ("confirmed", "robust_runs", "gives_way", "why"),
    [
        ([0.9] * 5, [0.95] * 8 + ["diverged"] * 2, True, "2 of 10 runs diverged (of the winner: 0 of 5)"),
        ([0.9] * 5, [0.95] * 9 + ["failed"], True, "1 of 10 runs failed (of the winner: 0 of 5)"),
        ([0.9, 0.91, 0.9, 0.89, 0.9], [0.95] * 9 + [0.3], True, "1 of 10 runs collapsed"),
        ([], [0.95] * 9 + ["diverged"], True, "of the winner: none: it was never run on fresh seeds"),
        ([0.90, 0.91, 0.92, 0.93], [0.88, 0.888, 0.901, 0.909], True, "beyond the noise on the same 4 seeds"),
        ([0.90, 0.91, 0.92, 0.93], [0.93, 0.89, 0.94, 0.90], False, ""),
        ([0.90, "diverged", 0.92], [0.90, 0.91, "diverged", 0.92], False, ""),
        ([0.90, 0.91], [0.5, 0.6], False, ""),
        ([0.9, 0.9, 0.9], [0.89, 0.89, 0.89], False, ""),  # one example apart on each of three seeds
    ],
)  # fmt: skip
def test_what_was_measured_to_break_or_to_be_worse_gives_way_to_the_winner(
    made, confirmed, robust_runs, gives_way, why
) -> None:
    one = recommended(made, confirmed, robust_runs)
    assert (one.kind == "winner") is gives_way
    assert why in " ".join(one.notes)
    assert one.measured.runs == (len(confirmed) if gives_way else len(robust_runs))
    if any(isinstance(value, str) for value in ([] if gives_way else robust_runs)):
        assert "1 of 4 runs diverged; the worst run that came through: 0.9" in one.notes


def test_runs_that_broke_or_collapsed_have_no_interval_and_are_told(made) -> None:
    one = recommended(made, confirmed=[0.96] * 9 + [0.43], exact=True)
    assert one.measured.collapsed == 1
    assert np.isnan(one.measured.mean[1:]).all()
    assert (one.measured.median, one.measured.worst) == (pytest.approx(0.96), pytest.approx(0.43))
    assert "1 of 10 runs collapsed; the worst run that came through: 0.43" in one.notes


def test_an_interval_stays_within_what_an_accuracy_can_be_and_equal_runs_have_none(made) -> None:
    assert recommended(made, confirmed=[0.999, 0.97, 0.98], exact=True).measured.mean[2] == 1
    assert np.isnan(recommended(made, confirmed=[0.9, 0.9], exact=True).measured.mean[1:]).all()


@pytest.mark.slow
def test_a_prediction_beyond_the_best_trial_is_none_and_within_it_stays() -> None:
    """A cliff, which a rescaled forest predicts beyond; an accuracy cannot be above 1, a gap not below 0."""
    for direction, sign in (("maximize", 1), ("minimize", -1)):
        for seed in range(4):

            def value(rate: float, share: float) -> float:
                good = 0.90 + 0.08 * min(1.0, (rate + 4) / 2.8) if rate < -0.7 else 0.15
                return good if sign > 0 else 1 - good  # noqa: B023

            surrogate, trials = surface(study("u", direction=direction), value, count=60, seed=seed)
            if not surrogate.trusted:
                continue
            around = sign * surrogate.metric(surrogate.around(surrogate.at(surrogate.candidates())))
            assert around.max() <= (sign * trials["value"]).max() + 1e-12
            [found] = recommend([surrogate], trials, runs(study("u"), 0, []))
            told = sign * found.workloads["u"].predicted[0]
            assert math.isnan(told) or told <= (sign * trials["value"]).max()


def test_a_gap_is_regretted_by_its_decades() -> None:
    """1e-4 where 1e-10 can be had is no small matter, whatever 1e-4 is beside what training starts from."""
    gap = dataclasses.replace(study("u", direction="minimize"), attributes={"metric_scale": "log"})
    surrogate, _ = surface(gap, lambda rate, share: 10 ** (-10 + 2 * (rate + 1) ** 2))
    good, bad = surrogate.regrets([{"lr": 0.1, "beta": 0.9}, {"lr": 10**-2.7, "beta": 0.9}])
    assert good < 0.1
    assert bad > 0.4
    params = {"lr": 0.1, "beta": 0.9}
    measured = evaluated(surrogate, params, [1e-10, 1e-8]).of(surrogate, params)
    assert measured.mean[0] == pytest.approx(1e-9)
    assert measured.mean[1] > 0


def test_a_value_at_the_end_of_its_range_is_named_with_the_line_that_widens_it() -> None:
    surrogate, trials = surface(study("u"), lambda rate, share: 0.8 + 0.02 * rate)
    [found] = recommend([surrogate], trials, runs(study("u"), 0, []), exact=True)
    notes = [note for note in found.workloads["u"].notes if "upper end" in note]
    assert len(notes) == 1
    assert notes[0].startswith("lr = ")
    assert notes[0].endswith("search_space.sofim.lr = [0.0001, 10.0]")


@pytest.mark.parametrize(
    ("optimizer", "loss", "told"), [("sofim", 157.0, True), ("sofim", 2.3, False), ("sgd", 157.0, False)]
)
def test_a_loss_far_from_1_is_named_where_the_learning_rate_is_in_its_units(optimizer, loss, told) -> None:
    trials, curves = tuned(study("u", optimizer), lambda rate, share: 0.9 - 0.15 * (rate + 1) ** 2)
    curves = curves.assign(train_loss=loss)
    surrogate = surrogate_study(study("u", optimizer), trials, curves, np.random.default_rng(0), num_refits=4)
    [found] = recommend([surrogate], trials, runs(study("u"), 0, []))
    notes = " ".join(found.workloads["u"].notes)
    assert ("scale the targets" in notes) is told
    assert ("157" in notes) is told


@pytest.mark.slow
def test_regrets_count_the_runs_that_broke_where_no_surrogate_is_to_be_trusted() -> None:
    """A study whose surrogate knows nothing had a regret of 0 of its own winner, whatever came of it."""
    rng = np.random.default_rng(5)
    noise, trials = surface(study("u"), lambda rate, share: float(rng.normal()))
    good, more = surface(study("v"), lambda rate, share: 0.9 - 0.15 * (rate + 1) ** 2)
    confirmed = runs(study("u"), best(trials), [1.0, 1.0])
    confirmed.loc[1, "outcome"] = "diverged"
    [found] = recommend([noise, good], pd.concat([trials, more], ignore_index=True), confirmed)
    assert found.workloads["u"].notes[-1].startswith("1 of 2 runs diverged")
    assert any(choice.regret >= 0.25 for choice in found.portfolio if choice.source.workload == "u") or (
        found.default.source.workload == "v"
    )


def replicates(count: int) -> tuple[list[Study], Frames, list[pd.DataFrame]]:
    studies, tables, curves = [], [], []
    for replicate in range(1, count + 1):
        suffix = f"/replicate-{replicate}" if replicate > 1 else ""
        one = dataclasses.replace(study("u"), name=f"made/u/sofim{suffix}", attributes={"replicate": replicate})
        told, epochs = tuned(one, lambda rate, share: 0.9 - 0.15 * (rate + 1) ** 2, count=40, seed=replicate)
        studies.append(one)
        tables.append(told)
        curves.append(epochs)
    confirmed = pd.concat([runs(one, best(table), [0.8]) for one, table in zip(studies, tables, strict=True)])
    trials, epochs = (pd.concat(frames, ignore_index=True) for frames in (tables, curves))
    return studies, Frames(trials, epochs, confirmed.reset_index(drop=True)), tables


def test_all_searches_of_an_optimizer_recommend_together() -> None:
    studies, frames, tables = replicates(3)
    first, every = pooled(studies, frames)
    assert [one.name for one in first] == ["made/u/sofim"]
    assert len(every.trials) == 120
    assert not every.trials["number"].duplicated().any()
    surrogate = surrogate_study(first[0], every.trials, every.curves, np.random.default_rng(0), num_refits=4)
    [found] = recommend([surrogate], every.trials, every.confirmations, exact=True)
    one = found.workloads["u"]
    winners = [table.loc[table["value"].idxmax()] for table in tables]
    expected = max(winners, key=lambda row: row["value"])
    assert {name: one.params[name] for name in ("lr", "beta")} == expected["params"]
    assert (one.trials, one.searches, one.measured.runs) == (120, 3, 1)
    broken = every.confirmations.assign(
        outcome=["diverged" if row == int(np.argmax([w["value"] for w in winners])) else "complete" for row in range(3)]
    )
    [found] = recommend([surrogate], every.trials, broken, exact=True)
    assert found.workloads["u"].params["lr"] != expected["params"]["lr"]
    assert "the winner of another search" in found.workloads["u"].notes[0]


def test_the_best_trial_as_it_was_is_not_rounded() -> None:
    noise = np.random.default_rng(5)
    surrogate, trials = surface(study("u"), lambda rate, share: float(noise.normal()), count=15)
    nothing = runs(study("u"), 0, [])
    [before] = recommend([surrogate], trials, nothing, exact=True)
    winner = before.workloads["u"].params
    as_rounded = evaluated(
        surrogate, with_digits(winner, list(surrogate.study.parameters.values()), 3), [0.9, 0.8, 0.85]
    )
    [exact] = recommend([surrogate], trials, nothing, exact=True, measured=as_rounded)
    assert exact.workloads["u"].params == winner
    [rounded] = recommend([surrogate], trials, nothing, measured=as_rounded)
    assert rounded.workloads["u"].params != winner, "that which was run, and is no worse"


@pytest.mark.parametrize("order", [("sofim", "sgd"), ("sgd", "sofim")])
def test_without_surrogates_the_first_to_try_is_the_best_winner_whoever_is_named_first(order: tuple[str, str]) -> None:
    surrogates, trials = [], []
    for optimizer in order:
        noise, centre = np.random.default_rng(1), {"sofim": 0.3, "sgd": 0.9}[optimizer]
        one, own = surface(study("u", optimizer), lambda rate, share: centre + 0.01 * float(noise.normal()), count=10)  # noqa: B023
        surrogates.append(one)
        trials.append(own)
    every = pd.concat(trials, ignore_index=True)
    nothing = runs(study("u"), 0, [])
    found = recommend(surrogates, every, nothing)
    first = portfolio_of_all(surrogates, found, 8, ran(surrogates, every, nothing, None))[0]
    assert (first.source.optimizer, first.regret) == ("sgd", 0.0)


def test_a_search_whose_only_trials_lie_outside_its_ranges_is_no_error() -> None:
    surrogate, trials = surface(study("u"), lambda rate, share: 0.9, count=3)
    outside = trials.assign(params=[{**params, "lr": 1e9} for params in trials["params"]])
    nothing = runs(study("u"), 0, [])
    one = surrogate_study(
        study("u"), outside, pd.DataFrame(columns=["study", "number", "epoch", "value"]), np.random.default_rng(0)
    )
    assert surrogate.used.best is not None
    assert one.used.best is None
    found = recommend([one], outside, nothing)
    [choice] = portfolio_of_all([one], found, 8, ran([one], outside, nothing, None))
    assert choice.source.params["lr"] == 1e9
