"""Values for trials that stopped early, and the scales on which parameters were searched."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.outcomes import Floats, outcomes, scores

INT = ParameterInfo("m", "int", 1, 10)
LOG_INT = ParameterInfo("m", "int", 1, 1024, log=True)
LINEAR = ParameterInfo("x", "float", -2.0, 3.0)
LOG = ParameterInfo("lr", "float", 1e-4, 10.0, log=True)
MOMENTUM = ParameterInfo("beta", "float", 0.5, 0.999, one_minus=True)
CHOICE = ParameterInfo("c", "categorical", math.nan, math.nan, choices=(True, 1, "1", None))


@pytest.mark.parametrize("parameter", [INT, LOG_INT, LINEAR, LOG, MOMENTUM, CHOICE], ids=lambda p: p.name + p.kind)
@given(at=st.floats(0, 1))
def test_stored_values_survive_the_round_trip(parameter: ParameterInfo, at: float) -> None:
    value = scales.decode(parameter, at)
    again = scales.decode(parameter, scales.position(parameter, value))
    assert type(again) is type(value)
    assert again == (pytest.approx(value) if isinstance(value, float) else value)
    if parameter.kind == "float":
        assert scales.position(parameter, value) == pytest.approx(at, abs=1e-6)


def test_positions_are_those_of_the_searched_scale() -> None:
    assert scales.position(LOG, 1e-2) == pytest.approx(0.4)
    assert scales.position(MOMENTUM, 0.5) == 0.0
    middle = 1 - math.sqrt(0.5 * 0.001)
    assert scales.position(MOMENTUM, middle) == pytest.approx(0.5)
    assert scales.position(INT, 1) == pytest.approx(0.05)
    assert scales.position(LINEAR, 98.0) == 20.0, "outside, and not at the end"
    assert scales.position(LOG, 0.0) == -math.inf
    assert scales.position(MOMENTUM, 1.0) == math.inf
    assert scales.position(CHOICE, "unknown") == math.inf
    assert scales.position(LOG, math.nan) == math.inf
    assert scales.decades(LOG) == pytest.approx(5)
    assert scales.decades(MOMENTUM) == pytest.approx(math.log10(500))
    assert math.isnan(scales.decades(LINEAR))


def test_missing_parameters_are_inactive() -> None:
    points = scales.encode([LOG, LINEAR], [{"lr": 1e-4}, {"x": 3.0, "other": 1}])
    np.testing.assert_array_equal(points, [[0.0, math.nan], [math.nan, 1.0]])


def frame(*rows: tuple[str, float]) -> pd.DataFrame:
    kinds, values = zip(*rows, strict=True)
    columns = {"number": range(len(rows)), "outcome": kinds, "value": values, "params": [{}] * len(rows)}
    return pd.DataFrame(columns).assign(study="s")


def curves_of(*curves: list[float]) -> pd.DataFrame:
    rows = [(n, e, v) for n, curve in enumerate(curves) for e, v in enumerate(curve, start=1)]
    return pd.DataFrame(rows, columns=["number", "epoch", "value"])


# Four trials: 3 is pruned at epoch 1 where it beats 0 and 1 but not 2; 4 diverged.
TRIALS = frame(("complete", 0.6), ("complete", 0.7), ("complete", 0.9), ("pruned", 0.35), ("diverged", math.nan))
CURVES = curves_of([0.1, 0.6], [0.3, 0.7], [0.4, 0.9], [0.35], [0.39])


def test_a_pruned_trial_lies_where_it_wins_its_comparisons() -> None:
    used = outcomes(TRIALS, CURVES, direction="maximize")
    assert used.goodness[:3].tolist() == [0.6, 0.7, 0.9]
    assert 0.7 < used.goodness[3] < 0.9
    assert used.goodness[4] == 0.6
    assert "a diverged trial counts as the worst" in used.sentence


def test_at_the_common_epoch_all_are_compared_there() -> None:
    used = outcomes(TRIALS, CURVES, direction="maximize", method="highest-common-epoch")
    assert used.goodness.tolist() == [0.1, 0.3, 0.4, 0.35, 0.1]
    assert "at epoch 1" in used.sentence


def test_minimizing_turns_the_sign() -> None:
    turned = TRIALS.assign(value=-TRIALS["value"])
    curves = CURVES.assign(value=-CURVES["value"])
    up, down = outcomes(TRIALS, CURVES, direction="maximize"), outcomes(turned, curves, direction="minimize")
    np.testing.assert_array_equal(up.goodness, down.goodness)
    assert down.sign == -1


def slow_scores(kinds: list[str], final: Floats, curves: list[list[float]]) -> list[float]:
    """Every pair on its own."""

    def beats(i: int, j: int) -> float:
        if "diverged" in (kinds[i], kinds[j]):
            return 0.5 + 0.5 * (kinds[j] == "diverged") - 0.5 * (kinds[i] == "diverged")
        common = min(len(curves[i]), len(curves[j]))
        if kinds[i] == kinds[j] == "complete":
            a, b = final[i], final[j]
        else:
            a, b = curves[i][common - 1], curves[j][common - 1]
        return 0.5 + 0.5 * float(np.sign(a - b))

    n = len(kinds)
    return [sum(beats(i, j) for j in range(n) if j != i) / (n - 1) for i in range(n)]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_scores_equal_the_comparison_of_every_pair(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["complete", "pruned", "diverged"]), min_size=2, max_size=8))
    value = st.integers(0, 4).map(float)
    curves = [
        data.draw(st.lists(value, min_size=5 if k == "complete" else 1, max_size=5 if k == "complete" else 4))
        for k in kinds
    ]
    final = np.array([data.draw(value) if k == "complete" else math.nan for k in kinds])
    found = scores(np.arange(len(kinds)), np.array(kinds, dtype=object), final, curves_of(*curves), 1.0)
    np.testing.assert_allclose(found, slow_scores(kinds, final, curves))


def test_without_curves_pruned_lose_to_complete_and_beat_diverged() -> None:
    used = outcomes(TRIALS, CURVES.iloc[:0], direction="maximize")
    assert used.goodness.tolist() == [0.6, 0.7, 0.9, 0.6, 0.6]


def test_one_loss_of_1e30_is_not_all_the_variance() -> None:
    trials = frame(*(("complete", float(i)) for i in range(20)), ("complete", 1e30))
    used = outcomes(trials, CURVES.iloc[:0], direction="minimize")
    assert used.moved == 1
    assert used.goodness.min() > -200
    assert "1 extremely bad value" in used.sentence


def test_failed_lost_and_running_trials_are_left_out_and_counted() -> None:
    without = [(kind, math.nan) for kind in ("failed", "lost", "running", "complete")]
    trials = frame(("complete", 1.0), *without)
    used = outcomes(trials, CURVES.iloc[:0], direction="maximize")
    assert used.trials["number"].tolist() == [0]
    assert "4 others" in used.sentence


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="direction must be"):
        outcomes(TRIALS, CURVES, direction="up")
    with pytest.raises(ValueError, match="method must be"):
        outcomes(TRIALS, CURVES, direction="maximize", method="mean")  # type: ignore[arg-type]
