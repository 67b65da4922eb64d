"""Values of trials that did not work: infinite ones, penalties and what breaks a constraint, in whatever share."""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd
import pytest

from analysis.parameters import ParameterInfo
from analysis.sensitivity.analyse import analyse
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.outcomes import outcomes

SPACE = [ParameterInfo("x", "float", 0.0, 1.0), ParameterInfo("y", "float", 0.0, 1.0)]
NO_CURVES = pd.DataFrame({"number": [], "epoch": [], "value": []}, dtype=float)
LARGEST = sys.float_info.max


def trials_of(share: float, bad: float | list[float], sign: float = 1.0, offset: float = 0.0) -> pd.DataFrame:
    """To be minimized where ``sign`` is 1: best at small x and y; above ``1 - share`` x does not work."""
    points = np.random.default_rng(5).random((80, 2))
    values = offset + (points[:, 0] - 0.1) ** 2 + 0.3 * points[:, 1]
    broken = np.flatnonzero(points[:, 0] > 1 - share)
    values[broken] = np.resize(bad, len(broken))
    params = [{"x": float(x), "y": float(y)} for x, y in points]
    columns = {"study": "s", "number": range(80), "outcome": "complete", "value": sign * values, "params": params}
    return pd.DataFrame(columns)


def look(trials: pd.DataFrame, direction: str) -> Findings:
    rng = np.random.default_rng(0)
    return analyse(SPACE, trials, NO_CURVES, direction=direction, rng=rng, num_refits=5)


PENALTIES = {
    "the largest float": LARGEST,
    "1e308": 1e308,
    "1e30": 1e30,
    "1000": 1000.0,
    "mixed": [LARGEST, math.inf, 1e30, 1e10],
}


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["minimize", "maximize"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES.keys())
def test_a_penalty_is_what_infinity_is_however_many_have_it(
    penalty: float | list[float], share: float, sign: float
) -> None:
    direction = "minimize" if sign > 0 else "maximize"
    by_penalty = outcomes(trials_of(share, penalty, sign), NO_CURVES, direction=direction)
    by_infinity = outcomes(trials_of(share, math.inf, sign), NO_CURVES, direction=direction)
    np.testing.assert_array_equal(by_penalty.goodness, by_infinity.goodness)
    np.testing.assert_array_equal(by_penalty.failed, by_infinity.failed)
    assert by_penalty.best == by_infinity.best
    assert len(by_penalty.trials) == 80, "none is left out"
    assert by_penalty.remarks


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [LARGEST, math.inf])
@pytest.mark.parametrize("share", [0.25, 0.8])
def test_what_matters_among_the_trials_that_work_is_still_told(share: float, penalty: float) -> None:
    found = look(trials_of(share, penalty), "minimize")
    assert found.conclusive
    everywhere = found.importance[found.importance["region"] == "all"].set_index("parameter")["total_order"]
    noise = found.tables["quality"]["noise_total_order"].iloc[0]
    assert everywhere["x"] > everywhere["y"] > noise
    assert found.diverged is not None
    assert found.diverged[0] == pytest.approx(share, abs=0.1)
    assert found.diverged[1] == pytest.approx(share, abs=0.15), "of the space"
    rows = found.robustness[(found.robustness["parameter"] == "x") & (found.robustness["loss_percent"] == 10)]
    assert float(rows["high"].iloc[0]) < 1 - share + 0.1, "no stretch near the best holds what does not work"


@pytest.mark.slow
def test_no_stretch_near_the_best_is_infeasible_even_where_all_values_are_alike() -> None:
    """Whatever the metric's zero is, what is forbidden is worse than any loss that is told."""
    for offset, sign in ((100.0, 1.0), (-100.0, -1.0)):
        trials = trials_of(0.0, math.nan, sign, offset * sign)
        trials.loc[[params["x"] > 0.5 for params in trials["params"]], "outcome"] = "infeasible"
        found = look(trials, "minimize" if sign > 0 else "maximize")
        near = found.robustness[found.robustness["parameter"] == "x"].set_index("loss_percent")
        assert (near["high"].astype(float) < 0.6).all()
        assert any("are infeasible" in text for text in found.remarks)


def test_infeasible_trials_are_never_the_best_and_stay_in_the_count() -> None:
    trials = trials_of(0.0, math.nan)
    best = int(trials["value"].idxmin())
    trials.loc[best, "outcome"] = "infeasible"
    used = outcomes(trials, NO_CURVES, direction="minimize")
    assert used.best is not None
    assert used.best != best
    assert used.goodness[best] == used.goodness.min()
    assert "79 complete, 0 pruned, 1 infeasible" in used.sentence


def test_an_infinitely_good_trial_is_the_best_and_no_scale_is_made_of_it() -> None:
    trials = trials_of(0.0, math.nan)
    trials.loc[17, "value"] = -math.inf
    used = outcomes(trials, NO_CURVES, direction="minimize")
    assert used.best == 17
    assert np.isfinite(used.goodness).all()
    assert "1 complete trial is infinitely good (-inf)" in used.remarks[0]


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_where_bad_values_all_differ_it_is_said_that_the_good_ones_cannot_be_told_apart(share: float) -> None:
    spread = list(1e30 * np.random.default_rng(1).random(80))
    used = outcomes(trials_of(share, spread), NO_CURVES, direction="minimize")
    assert any("two kinds far apart" in text for text in used.remarks)
    few = outcomes(trials_of(0.1, spread), NO_CURVES, direction="minimize")
    assert few.moved
    assert not few.remarks, "a fence of quartiles holds"


def test_values_that_are_often_the_same_are_no_penalties() -> None:
    for listed in ([0.0] * 70 + [1.0] * 5 + [2.0] * 5, [float(i % 7) for i in range(80)], [0.0, 1.0] * 40):
        trials = trials_of(0.0, math.nan).assign(value=listed)
        used = outcomes(trials, NO_CURVES, direction="minimize")
        assert not used.remarks
        assert not used.failed.any()
        assert used.moved == 0


def test_a_pruned_trial_is_not_valued_by_penalties() -> None:
    """The value of the complete trials that win as often as it did is one of those that worked."""
    trials = trials_of(0.5, LARGEST)
    trials.loc[:9, ["outcome", "value"]] = ["pruned", math.nan]
    rows = [(n, e, v if math.isfinite(v) else 1.0) for n, v in enumerate(trials["value"]) for e in (1, 2)]
    curves = pd.DataFrame(rows, columns=["number", "epoch", "value"])
    used = outcomes(trials, curves, direction="minimize")
    assert np.ptp(used.goodness) < 10
    assert used.trials["number"].tolist() == list(range(80))


def test_an_infinite_intermediate_value_loses_where_trials_are_compared() -> None:
    trials = trials_of(0.0, math.nan).iloc[:6].copy()
    trials.loc[[0, 1], ["outcome", "value"]] = ["pruned", math.nan]
    curves = pd.DataFrame(
        [(n, 1, math.inf if n == 0 else math.nan if n == 5 else 0.5 + n) for n in range(6)],
        columns=["number", "epoch", "value"],
    )
    used = outcomes(trials, curves, direction="minimize")
    assert used.goodness[0] <= used.goodness[2:].min()
    assert np.isfinite(used.goodness).all()
