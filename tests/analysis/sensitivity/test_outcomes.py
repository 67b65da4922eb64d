"""Values for trials that stopped early, and the scales on which parameters were searched."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.outcomes import outcomes

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


def test_a_pruned_trial_gets_what_complete_ones_gain_from_there_and_never_more_than_the_best() -> None:
    used = outcomes(TRIALS, CURVES, direction="maximize")
    assert used.goodness[:3].tolist() == [0.6, 0.7, 0.9]
    assert used.goodness[3] == pytest.approx(0.35 + 0.5), "the gains from epoch 1 are 0.5, 0.4 and 0.5"
    assert used.goodness[4] == pytest.approx(0.325), "no better than the start of training"
    assert "a diverged trial counts as the worst there is" in used.sentence
    lucky = CURVES.assign(value=CURVES["value"].where(CURVES["number"] != 3, 0.8))
    assert outcomes(TRIALS, lucky, direction="maximize").goodness[3] == 0.9


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_collapse_stays_one_whether_complete_or_stopped(share: float) -> None:
    """A search that learns leaves little spread among good trials, and stops most collapsed ones at chance."""
    rng = np.random.default_rng(0)
    number = 40
    broken = rng.random(number) < share
    final = np.where(broken, 0.10, 0.98 + 0.005 * rng.random(number))
    kinds = ["pruned" if bad and place % 2 else "complete" for place, bad in enumerate(broken)]
    curves = [
        [0.1] * (3 if kind == "pruned" else 10) if bad else list(np.linspace(0.9, end, 10))
        for kind, bad, end in zip(kinds, broken, final, strict=True)
    ]
    used = outcomes(frame(*zip(kinds, final, strict=True)), curves_of(*curves), direction="maximize")
    complete = (used.trials["outcome"] == "complete").to_numpy()
    np.testing.assert_array_equal(used.goodness[complete], final[complete])
    assert used.goodness[broken].max() < 0.2
    unit, _ = used.loss_unit
    assert (used.goodness.max() - used.goodness[broken] > unit / 2).all()


def test_a_loss_is_of_the_way_that_training_goes_whatever_sign_and_zero_the_metric_has() -> None:
    def unit(of, direction: str) -> float:
        trials, curves = TRIALS.assign(value=of(TRIALS["value"])), CURVES.assign(value=of(CURVES["value"]))
        return outcomes(trials, curves, direction=direction).loss_unit[0]

    way = unit(lambda v: v, "maximize")
    assert way == pytest.approx(0.9 - 0.325)
    assert unit(lambda v: 1 - v, "minimize") == pytest.approx(way)
    assert unit(lambda v: v - 0.1, "maximize") == pytest.approx(way)
    assert unit(lambda v: 100 * v, "maximize") == pytest.approx(100 * way)


def test_on_a_logarithmic_scale_a_stopped_trial_gains_a_factor() -> None:
    trials = frame(("complete", 1e-6), ("complete", 1e-4), ("pruned", 1e-1), ("complete", 0.0))
    curves = curves_of([1e-1, 1e-6], [1e-1, 1e-4], [1e-1], [1e-1, 1e-3])
    used = outcomes(trials, curves, direction="minimize", scale="log")
    values = used.metric(used.goodness)
    np.testing.assert_allclose(values[[0, 1, 3]], [1e-6, 1e-4, 1e-6], rtol=1e-9)
    assert values[2] == pytest.approx(1e-6), "the median gain is a factor of 1e5"
    assert (values > 0).all()


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


def test_without_curves_a_pruned_trial_keeps_its_value_and_one_without_is_among_the_worst() -> None:
    used = outcomes(TRIALS, CURVES.iloc[:0], direction="maximize")
    assert used.goodness[:4].tolist() == [0.6, 0.7, 0.9, 0.35]
    unknown = TRIALS.assign(value=TRIALS["value"].where(TRIALS["outcome"] != "pruned"))
    used = outcomes(unknown, CURVES.iloc[:0], direction="maximize")
    assert used.goodness[3] == used.goodness[4] == used.goodness.min()


@pytest.mark.parametrize("with_curves", [True, False])
def test_one_loss_of_1e30_is_not_all_the_variance(with_curves: bool) -> None:
    trials = frame(*(("complete", float(i)) for i in range(20)), ("complete", 1e30))
    curves = curves_of(*([30.0, float(i)] for i in range(20)), [1e30, 1e30]) if with_curves else CURVES.iloc[:0]
    used = outcomes(trials, curves, direction="minimize")
    assert used.moved == 1
    assert -31 < used.goodness.min() <= -19
    assert used.goodness[20] == used.goodness.min()
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
