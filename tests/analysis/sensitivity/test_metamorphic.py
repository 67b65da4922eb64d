"""What is said of a study does not change with what it does not depend on, and odd studies are told as such."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from analysis.parameters import ParameterInfo
from analysis.sensitivity.analyse import analyse
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.sentences import headline

NAMES = ("lr", "momentum", "inert")
EPOCHS = 5


def study(broken_from: float = 0.9, stop: bool = True, size: int = 120) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accuracies: a bowl in lr, a slope in momentum, chance where lr is high; half of the bad are stopped."""
    points = np.random.default_rng(2).random((size, len(NAMES)))
    good = 0.95 - 0.8 * (points[:, 0] - 0.5) ** 2 - 0.2 * points[:, 1]
    final = np.where(points[:, 0] > broken_from, 0.1, good)
    rows, epochs = [], []
    for number, (at, end) in enumerate(zip(points, final, strict=True)):
        pruned = stop and end < 0.8 and number % 2 == 0
        curve = 0.1 + (end - 0.1) * (1 - 0.4 ** np.arange(1, EPOCHS + 1))
        curve = curve[:2] if pruned else curve
        rows.append(
            ("s", number, "pruned" if pruned else "complete", curve[-1], dict(zip(NAMES, at.tolist(), strict=True)))
        )
        epochs += [("s", number, epoch, value) for epoch, value in enumerate(curve, 1)]
    trials = pd.DataFrame(rows, columns=["study", "number", "outcome", "value", "params"])
    return trials, pd.DataFrame(epochs, columns=["study", "number", "epoch", "value"])


def look(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    direction: str = "maximize",
    names: tuple[str, ...] = NAMES,
    refits: int = 6,
) -> Findings:
    space = [ParameterInfo(name, "float", 0.0, 1.0, default=0.5) for name in names]
    return analyse(space, trials, curves, direction=direction, rng=np.random.default_rng(0), num_refits=refits)


TRIALS, CURVES = study()
USUAL = look(TRIALS, CURVES)
CHANGES: dict[str, tuple[Callable[[pd.Series], pd.Series], str]] = {
    "an error rate": (lambda v: 1 - v, "minimize"),
    "percent": (lambda v: 100 * v, "maximize"),
    "accuracy above chance": (lambda v: v - 0.5, "maximize"),
    "percent of errors": (lambda v: 100 - 100 * v, "minimize"),
}


def told(found: Findings) -> pd.DataFrame:
    table = found.robustness
    return table[["parameter", "loss_percent", "low", "high", "resolved"]]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "direction"), CHANGES.values(), ids=CHANGES.keys())
def test_sign_zero_and_unit_of_the_metric_change_neither_shares_nor_widths(
    change: Callable[[pd.Series], pd.Series], direction: str
) -> None:
    found = look(TRIALS.assign(value=change(TRIALS["value"])), CURVES.assign(value=change(CURVES["value"])), direction)
    assert found.conclusive == USUAL.conclusive
    assert USUAL.conclusive
    np.testing.assert_allclose(found.importance["total_order"], USUAL.importance["total_order"], atol=0.05)
    usual = told(USUAL)
    assert usual["resolved"].astype(bool).any()
    np.testing.assert_allclose(told(found)["low"].astype(float), usual["low"].astype(float), atol=0.06)
    np.testing.assert_allclose(told(found)["high"].astype(float), usual["high"].astype(float), atol=0.06)
    expected = change(USUAL.robustness["threshold"].astype(float))
    np.testing.assert_allclose(found.robustness["threshold"].astype(float), expected, rtol=0.02)


@pytest.mark.slow
def test_names_and_the_order_of_rows_change_nothing() -> None:
    shuffled = look(TRIALS.sample(frac=1, random_state=3), CURVES.sample(frac=1, random_state=4))
    pd.testing.assert_frame_equal(shuffled.importance, USUAL.importance)
    pd.testing.assert_frame_equal(shuffled.robustness, USUAL.robustness)
    others = ("a", "b", "c")
    renamed = TRIALS.assign(params=[dict(zip(others, values.values(), strict=True)) for values in TRIALS["params"]])
    found = look(renamed, CURVES, names=others)
    np.testing.assert_array_equal(found.importance["total_order"], USUAL.importance["total_order"])


@pytest.mark.slow
def test_every_trial_twice_is_no_other_conclusion() -> None:
    later = len(TRIALS)
    trials = pd.concat([TRIALS, TRIALS.assign(number=TRIALS["number"] + later)], ignore_index=True)
    curves = pd.concat([CURVES, CURVES.assign(number=CURVES["number"] + later)], ignore_index=True)
    found = look(trials, curves)
    assert found.even == USUAL.even
    np.testing.assert_allclose(found.importance["total_order"], USUAL.importance["total_order"], atol=0.15)
    assert found.used is not None
    assert USUAL.used is not None
    assert found.used.loss_unit == USUAL.used.loss_unit


@pytest.mark.nightly(by_day=["stopped-0.3", "to the end-0.6"])
@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("stop", [True, False], ids=["stopped", "to the end"])
def test_no_width_reaches_into_a_collapse_however_many_trials_did(share: float, stop: bool) -> None:
    found = look(*study(1 - share, stop, 120), refits=20)
    rows = found.robustness[(found.robustness["parameter"] == "lr") & found.robustness["resolved"].astype(bool)]
    assert (rows["high"].astype(float) <= 1 - share + 0.05).all()
    share_of_space = found.near_best
    assert share_of_space is None or share_of_space[2] < 1 - share + 0.1


def values(change: Callable[[int, float], float]) -> pd.DataFrame:
    return TRIALS.assign(
        outcome="complete",
        value=[change(number, value) for number, value in zip(TRIALS["number"], TRIALS["value"], strict=True)],
    )


ODD: dict[str, tuple[pd.DataFrame, str]] = {
    "all stopped": (TRIALS.assign(outcome="pruned"), "only 0 trials are complete"),
    "one complete": (TRIALS.assign(outcome=["complete", *["pruned"] * 119]), "only 1 trial is complete"),
    "constant": (values(lambda _number, _value: 0.5), "the metric is the same for all trials"),
    "NaN": (values(lambda _number, _value: math.nan), "no trial has a value"),
    "infinitely bad": (values(lambda _number, _value: -math.inf), "no trial has a finite value"),
}


@pytest.mark.parametrize(("trials", "says"), ODD.values(), ids=ODD.keys())
def test_studies_of_which_nothing_can_be_told_say_why(trials: pd.DataFrame, says: str) -> None:
    found = look(trials, CURVES if "pruned" in set(trials["outcome"]) else CURVES.iloc[:0])
    assert not found.conclusive
    assert found.sentences[0].startswith("No conclusion can be drawn")
    assert says in found.sentences[0]
    assert not any("% of the best (" in text for text in headline(found))


@pytest.mark.slow
@pytest.mark.parametrize("bad", [-1e30, -math.inf, math.nan])
def test_one_run_that_explodes_does_not_hide_what_matters(bad: float) -> None:
    """The only complete trial at 1e30, infinite or without a value; the others as they are."""
    trials = TRIALS.copy()
    trials.loc[3, ["outcome", "value"]] = ["complete", bad]
    found = look(trials, CURVES[CURVES["number"] != 3])
    assert found.conclusive
    assert found.used is not None
    assert found.used.goodness.min() > -1
    np.testing.assert_allclose(found.importance["total_order"], USUAL.importance["total_order"], atol=0.2)


def test_a_study_in_which_nothing_stands_out_is_no_conclusion() -> None:
    points = np.random.default_rng(0).random((60, 6))
    rows = values(lambda _number, value: value).iloc[:60].copy()
    names = tuple(f"x{j}" for j in range(6))
    rows["params"] = [dict(zip(names, at.tolist(), strict=True)) for at in points]
    rows["value"] = np.random.default_rng(1).standard_normal(60)
    found = look(rows, CURVES.iloc[:0], names=names)
    assert not found.conclusive
    assert found.sentences[0].startswith("No conclusion can be drawn")
