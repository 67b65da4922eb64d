"""Ranges of any size at any place, and metrics in any unit: what is said does not depend on them."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from analysis.figures import _axis
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.analyse import analyse
from analysis.sensitivity.findings import Findings

RANGES = [
    ParameterInfo("farads", "float", 1e-15, 1e-12, log=True),
    ParameterInfo("x", "float", 1e-300, 1e300, log=True),
    ParameterInfo("x", "float", 1e-320, sys.float_info.max, log=True),
    ParameterInfo("x", "float", 1.0, 1.0 + 1e-9, log=True),
    ParameterInfo("x", "float", 1e-9, 1.000001e-9, log=True),
    ParameterInfo("x", "float", 1e9, 1e9 + 1),
    ParameterInfo("x", "float", -1e9 - 1e-3, -1e9),
    ParameterInfo("x", "float", 0.0, 1e-300),
    ParameterInfo("x", "float", -1.7e308, 1.7e308),
    ParameterInfo("nearly", "float", 0.5, 1 - 1e-13, one_minus=True),
    ParameterInfo("n", "int", 1, 1e15),
    ParameterInfo("n", "int", 1, 1e15, log=True),
    ParameterInfo("n", "int", 1e15, 1e15 + 5),
    ParameterInfo("n", "int", 0, 98, step=7),
    ParameterInfo("x", "float", 0.1, 0.9, step=0.1),
]
NAMES = [f"{r.low:g} to {r.high:.17g}{' log' * r.log}{f' by {r.step:g}' * bool(r.step)}" for r in RANGES]


@pytest.mark.parametrize("parameter", RANGES, ids=NAMES)
def test_a_range_is_told_apart_from_end_to_end(parameter: ParameterInfo) -> None:
    at = np.linspace(0, 1, 9)
    values = [scales.decode(parameter, place) for place in at]
    assert (values[0], values[-1]) == (parameter.low, parameter.high)
    back = [scales.position(parameter, value) for value in values]
    if parameter.kind == "float" and not parameter.step:
        finest = 0.0 if parameter.log else np.spacing(abs(parameter.low)) / (parameter.high / 2 - parameter.low / 2)
        assert np.abs(np.array(back) - at).max() <= max(1e-6, finest), "but for the numbers that there are"
    written = [float(scales.written(parameter, value)) for value in dict.fromkeys(values)]
    assert all(one < two for one, two in pairwise(written)), "no two of them read the same"
    assert scales.varies(parameter)


@pytest.mark.parametrize("parameter", RANGES, ids=NAMES)
def test_an_axis_has_ticks_in_its_order_that_read_as_what_they_are(parameter: ParameterInfo) -> None:
    places, labels = _axis.ticks(parameter)
    assert 2 <= len(places) <= 6
    assert all(one < two for one, two in pairwise(places))
    assert 0 <= places[0] < places[-1] <= 1
    assert len(set(labels)) == len(labels)


def test_a_step_is_what_is_recommended() -> None:
    steps = ParameterInfo("n", "int", 0, 98, step=7)
    assert {scales.decode(steps, float(at)) for at in np.linspace(0, 1, 500)} == set(range(0, 99, 7))
    shares = ParameterInfo("x", "float", 0.1, 0.9, step=0.1)
    assert [scales.decode(shares, float(at)) for at in scales.grid(shares, 32)] == [
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    ]  # fmt: skip


def findings(parameter: ParameterInfo, *, unit: float = 1.0, offset: float = 0.0, sign: float = 1.0) -> Findings:
    """Of a bowl over the position in the range and a weaker slope, the same draws whatever the range and the unit."""
    points = np.random.default_rng(3).random((60, 2))
    other = ParameterInfo("y", "float", 0.0, 1.0)
    params = [{parameter.name: scales.decode(parameter, float(u)), "y": float(v)} for u, v in points]
    values = sign * (offset + unit * ((points[:, 0] - 0.3) ** 2 + 0.3 * points[:, 1]))
    trials = pd.DataFrame({"study": "s", "number": range(60), "outcome": "complete", "value": values, "params": params})
    curves = pd.DataFrame(columns=["study", "number", "epoch", "value"])
    rng = np.random.default_rng(0)
    direction = "minimize" if sign > 0 else "maximize"
    return analyse([parameter, other], trials, curves, direction=direction, rng=rng, num_refits=4)


UNIT = ParameterInfo("x", "float", 0.0, 1.0)
USUAL = findings(UNIT)


def shares(found: Findings) -> np.ndarray:
    return found.importance[found.importance["region"] == "all"]["total_order"].to_numpy(float)


NUMBERS = [parameter for parameter in RANGES if parameter.kind == "float" and not parameter.step]


@pytest.mark.parametrize("parameter", NUMBERS, ids=lambda parameter: f"{parameter.low:g}")
def test_importance_does_not_depend_on_where_a_range_lies_or_how_wide_it_is(parameter: ParameterInfo) -> None:
    found = findings(parameter)
    assert found.conclusive
    np.testing.assert_allclose(shares(found), shares(USUAL), atol=0.05)


@pytest.mark.parametrize(
    ("unit", "offset"),
    [(1e-9, 0.0), (1e-200, 0.0), (1e-310, 0.0), (1e200, 0.0), (1e300, 0.0), (1.0, 1e9), (1e-3, 1e9), (1e-9, -1.0)],
)
def test_importance_does_not_depend_on_the_unit_of_the_metric_or_its_zero(unit: float, offset: float) -> None:
    found = findings(UNIT, unit=unit, offset=offset)
    assert found.conclusive
    np.testing.assert_allclose(shares(found), shares(USUAL), atol=0.05)


@pytest.mark.slow
def test_a_metric_turned_around_with_its_direction_is_the_same_metric() -> None:
    assert findings(UNIT, sign=-1.0).sentences == USUAL.sentences
    pd.testing.assert_frame_equal(findings(UNIT, sign=-1.0).importance, USUAL.importance)


def test_a_metric_that_differs_by_rounding_alone_is_constant_and_by_more_it_is_not() -> None:
    ulp = float(np.spacing(1e9))
    assert "the metric is the same for all trials" in findings(UNIT, unit=8 * ulp, offset=1e9).sentences[0]
    assert "the metric is the same" not in findings(UNIT, unit=1e4 * ulp, offset=1e9).sentences[0]


def test_values_that_no_number_spans_are_no_conclusion() -> None:
    found = findings(UNIT, unit=1.75e308, offset=-0.9e308)
    assert "No conclusion can be drawn: the values lie farther apart than can be calculated with" in found.sentences[0]
