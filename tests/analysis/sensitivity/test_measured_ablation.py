"""The path from a default to a winner as it was run: what each change gained."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.parameters import ParameterInfo
from analysis.sensitivity.ablation import COLUMNS, measured
from analysis.sensitivity.analyse import analyse

DEFAULT = {"lr": 0.1, "momentum": 0.9, "batch_size": 64}
STEP = {**DEFAULT, "lr": 0.5}
GOAL = {"lr": 0.5, "momentum": 0.9 + 1e-13, "batch_size": 32}  # the momentum went through search coordinates
VALUES = {"default": [0.5, 0.6, 0.4], "step": [0.7, 0.9, 0.6], "winner": [0.8, 0.9, 0.7]}


def runs(values: dict[str, list[float | None]] = VALUES, goal: dict[str, object] = GOAL) -> pd.DataFrame:
    """A run for each role and seed; ``None`` for one that diverged."""
    params = {"default": DEFAULT, "step": STEP, "winner": goal}
    rows = [
        {
            "role": role,
            "seed": seed,
            "value": math.nan if value is None else value,
            "outcome": "diverged" if value is None else "complete",
            "params": params[role],
            "step": 1 if role == "step" else None,
            "path_to": 7 if role == "step" else None,
            "confirms": 7 if role == "winner" else None,
        }
        for role, listed in values.items()
        for seed, value in enumerate(listed)
    ]
    return pd.DataFrame(rows).astype({"step": "Int64", "path_to": "Int64", "confirms": "Int64"})


def test_each_step_has_the_change_its_value_and_its_gain_with_an_interval():
    table = measured(runs().sample(frac=1, random_state=0), 7, 1.0, "linear")
    assert table["parameter"].tolist() == ["(default)", "lr", "batch_size"]
    assert table[["before", "after"]].to_numpy().tolist()[1:] == [[0.1, 0.5], [64, 32]]
    assert table["measured"].tolist() == pytest.approx([0.5, 2.2 / 3, 0.8])
    assert table["gain"].tolist()[1:] == pytest.approx([0.7 / 3, 0.2 / 3])
    assert (table["gain_low"] < table["gain"])[1:].all()
    assert table["runs"].tolist() == [3, 3, 3]


def test_less_is_better_of_a_minimized_metric_and_decades_are_factors():
    table = measured(runs(), 7, -1.0, "linear")
    assert table.loc[1, "gain"] == pytest.approx(-0.7 / 3)
    decades = {"default": [1e-2, 1e-2], "step": [1e-4, 1e-4], "winner": [1e-4, 0.0]}
    table = measured(runs(decades), 7, -1.0, "log")
    assert table["measured"].tolist() == pytest.approx([1e-2, 1e-4, 1e-4])
    assert table["gain"].tolist()[1:] == pytest.approx([100, 1])


def test_a_run_that_broke_is_counted_and_in_no_mean():
    table = measured(runs({**VALUES, "step": [0.7, None, 0.6]}), 7, 1.0, "linear")
    assert table["diverged"].tolist() == [0, 1, 0]
    assert table["runs"].tolist() == [3, 3, 3]
    assert table.loc[1, "measured"] == pytest.approx(0.65)


def test_without_the_default_nothing_is_told_and_two_changes_at_once_are_named_together():
    table = measured(runs()[lambda frame: frame["role"] != "default"], 7, 1.0, "linear")
    assert len(table) == 0
    assert list(table.columns) == list(COLUMNS)
    of_another = measured(runs().assign(path_to=pd.array([6] * 9, "Int64")), 7, 1.0, "linear")
    assert of_another["parameter"].tolist() == ["(default)", "lr, batch_size"]


def said(default: list[float | None], winner: list[float | None]) -> str:
    """The sentence on tuning of a study of 40 trials of one parameter, whose default and winner were run so."""
    rate = ParameterInfo("lr", "float", 1e-3, 1.0, log=True, default=0.1)
    at = 10 ** np.random.default_rng(0).uniform(-3, 0, 40)
    values = 0.9 - 0.1 * (np.log10(at) + 2) ** 2
    trials = pd.DataFrame(
        {"study": "s", "number": range(40), "outcome": "complete", "value": values, "params": [{"lr": x} for x in at]}
    )
    best = int(values.argmax())
    ran = runs({"default": default, "winner": winner}, {"lr": float(at[best])})
    ran["confirms"] = ran["confirms"].where(ran["confirms"].isna(), best)
    return found(rate, trials=trials, measured=ran)


def found(*parameters: ParameterInfo, trials: pd.DataFrame, measured: pd.DataFrame | None = None) -> str:
    nothing = pd.DataFrame({"study": [], "number": [], "epoch": [], "value": []})
    return analyse(
        parameters, trials, nothing, direction="maximize", rng=np.random.default_rng(0), num_refits=8,
        metric="accuracy", measured=measured,
    ).sentences[-1]  # fmt: skip


GOOD, OKAY = [0.9, 0.91, 0.92, 0.9, 0.91], [0.8, 0.81, 0.8, 0.8, 0.81]


@pytest.mark.slow
def test_runs_that_broke_take_no_part_in_a_verdict_on_tuning():
    assert said(OKAY, GOOD).startswith("Tuning gains 0.10")
    every = "Tuning gains more than a number can tell: every run of the default broke, and none of the winner."
    assert said([None] * 5, GOOD) == every
    cannot = "What tuning gains over the default cannot be told: "
    lost = f"{cannot}0 of 5 runs of the default and 3 of 5 runs of the winner broke."
    assert said(OKAY, [None, None, None, 0.95, 0.96]).startswith(f"{lost} Over the runs that came through it is 0.15")
    assert said([None, None, None, 0.8, 0.81], GOOD).startswith(f"{cannot}3 of 5 runs of the default and 0 of 5 runs")


def test_the_default_is_the_best_trial_where_it_is_so_in_all_parameters():
    rate = ParameterInfo("lr", "float", 1e-3, 1.0, log=True, default=10**-1.5)
    warm = ParameterInfo("warm", "float", 0.0, 1.0, default=0.5)
    at = [rate.default, *10 ** np.random.default_rng(0).uniform(-3, 0, 39), rate.default]
    values = [0.9 - 0.1 * (np.log10(x) + 1.5) ** 2 for x in at]
    params = [{"lr": x} for x in at]
    frame = {"study": "s", "number": range(41), "outcome": "complete", "value": values, "params": params}
    assert found(rate, trials=pd.DataFrame(frame)) == (
        "The best trial is the default itself: the search found nothing better."
    )
    params[0]["warm"], params[-1]["warm"], values[-1] = 0.5, 0.1, 0.99
    assert found(rate, warm, trials=pd.DataFrame(frame)).startswith("What tuning gains over the default cannot be told")
