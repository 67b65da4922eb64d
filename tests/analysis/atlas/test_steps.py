"""The factor of SOFIM's step: found where it is planted, and not where another function of η and ρ is."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from analysis.atlas import Atlas, steps
from analysis.figures._looks import Look
from analysis.figures.atlas import steps as draw
from tests.analysis.atlas.test_coordinates import EFFECTIVE, SOFIM, planted

LINEAR = {name: dataclasses.replace(info, log=False) for name, info in SOFIM.items()}


def factor(c: float, best: float = 0.0, width: float = 0.12):
    """Only η/(ρ + c) matters, and is best at 10**best."""
    return lambda ratio, rho: 0.9 - width * (ratio + rho - math.log10(10**rho + c) - best) ** 2


def told(*surrogates) -> pd.DataFrame:
    return steps.steps(surrogates, np.random.default_rng(0)).set_index("workload")


def said(*surrogates) -> str:
    table = steps.steps(surrogates, np.random.default_rng(0))
    return " ".join(steps.sentences(table, surrogates[0].study.optimizer))


def test_a_planted_factor_is_found_and_neither_rate_does_as_well() -> None:
    row = told(planted("u", factor(0.1))).loc["u"]
    assert row["c_low"] <= 0.1 <= row["c_high"]
    assert row["c_high"] < 4 * row["c_low"]
    assert row["factor"] > 0.95
    assert row["factor"] > row["with_rho"] - 0.02
    assert row["rho_counts"] is False
    assert max(row[["ratio", "lr"]]) < row["factor"] - 0.05
    assert row["rho"] < 0.3


def test_where_only_the_ratio_or_only_the_rate_matters_it_says_so() -> None:
    ratio = planted("u", lambda ratio, rho: 0.9 - 0.12 * ratio**2)
    rate = planted("v", lambda ratio, rho: 0.9 - 0.12 * (ratio + rho + 1) ** 2)
    table = told(ratio, rate)
    assert table.loc["u", "c_low"] == 0
    assert table.loc["u", "c_high"] < 0.01
    assert math.isinf(table.loc["v", "c_high"])
    assert table.loc["v", "c_low"] > 1
    assert words_of_c(said(ratio, rate)) == ("at most", "at least")
    assert "That rho tells anything beside lr/(rho + c) is not shown" in said(ratio, rate)
    assert "far above" not in said(ratio, rate), "no c is known to be within what was tried"
    assert "far above it only lr/rho counts" in said(planted("u", factor(0.1)))


def words_of_c(text: str) -> tuple[str, ...]:
    """In which words c is told, by workload."""
    listed = text[text.index("c is ") + 5 : text.index(" (90 %")]
    return tuple(part.rpartition(" ")[0] for part in (one.partition(" on ")[0] for one in listed.split(" and ")))


def test_where_rho_counts_by_itself_the_factor_is_not_said_to_be_all() -> None:
    both = planted("u", lambda ratio, rho: 0.9 - 0.1 * (ratio + rho + 1) ** 2 - 0.06 * (rho + 1) ** 2)
    row = told(both).loc["u"]
    assert row["with_rho"] > row["factor"] + 0.1
    assert row["rho_counts"] is True
    assert "Beside lr/(rho + c) rho is shown to tell something on u, at most " in said(both)
    assert "on u, at most " in said(both, planted("v", factor(0.1)))
    rows = [
        ("sofim", w, "", 96, 0.8, more, 0.5, 0.5, 0.0, counts, 0.1, 0.05, 0.2, "")
        for w, more, counts in (("u", 0.82, True), ("v", 0.9, False))
    ]
    text = " ".join(steps.sentences(pd.DataFrame(rows, columns=list(steps.COLUMNS)), "sofim"))
    assert "on u, at most 2.0 points of the variance" in text, "v's ten points are not shown"
    alone = planted("u", lambda ratio, rho: 0.9 - 0.15 * (rho + 1) ** 2)
    assert told(alone).loc["u", "why_not"].startswith("lr/(rho + c) tells too little")


def test_a_trial_without_one_of_the_two_is_left_out() -> None:
    one = planted("u", factor(0.1))
    points = one.points.copy()
    points[3, 1] = math.nan
    row = told(dataclasses.replace(one, points=points)).loc["u"]
    assert row["trials"] == 95
    assert row["c_low"] <= 0.1 <= row["c_high"]


def test_where_trials_say_nothing_or_are_few_nothing_is_told() -> None:
    noise = planted("n", lambda ratio, rho: 0.5)
    few = planted("f", factor(0.1), count=39)
    table = told(noise, few, planted("enough", factor(0.1), count=40))
    assert table.loc["n", "why_not"].startswith("lr/(rho + c) tells too little")
    assert table.loc["f", "why_not"] == "39 trials are too few, at least 40 are needed"
    assert table.loc["enough", "factor"] > 0.5
    assert said(noise, few).startswith("How well lr/(rho + c) does for sofim cannot be told on n, where ")
    single = dataclasses.replace(few, parameters=[SOFIM["lr"]], points=few.points[:, :1])
    assert told(single).loc["f", "why_not"] == "rho had a single value, or too few trials"


def test_another_optimizer_or_a_rate_on_a_linear_scale_is_not_asked() -> None:
    assert not len(told(planted("u", factor(0.1), parameters=LINEAR)))
    assert steps.sentences(steps.steps([], np.random.default_rng(0)), "sofim") == []


def test_scale_sign_order_names_and_other_workloads_change_nothing() -> None:
    def bent(ratio: float, rho: float) -> float:
        return math.exp(20 * factor(0.1)(ratio, rho)) / 1e7 + 7  # what ranks alike; 7 is above what it starts from

    numbers = ["trials", *steps.SHARES, "rho_counts", "c", "c_low", "c_high"]
    one = told(planted("u", lambda ratio, rho: factor(0.1)(ratio, rho) + 6)).loc["u", numbers].astype(float)
    for other in (
        planted("u", lambda ratio, rho: factor(0.1)(ratio, rho) + 6, optimizer="mine", direction="minimize"),
        planted("u", lambda ratio, rho: factor(0.1)(ratio, rho) + 6, order=5),
    ):
        pd.testing.assert_series_equal(
            told(planted("a", bent), other).loc["u", numbers].astype(float), one, check_names=False
        )


def test_the_effective_space_tells_the_same_factor() -> None:
    row = told(planted("u", factor(0.1), parameters=EFFECTIVE)).loc["u"]
    assert row["c_low"] <= 0.1 <= row["c_high"]
    assert row["factor"] > 0.9


@pytest.mark.nightly(by_day=["0.04-0.1"])
@pytest.mark.slow
@pytest.mark.parametrize("c", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("noise", [0.005, 0.04, 0.15])
def test_nine_in_ten_intervals_of_c_hold_it_and_rho_rarely_counts(noise: float, c: float) -> None:
    """Straight from numbers, as no forest takes part: 96 pairs, of which the factor tells 97, 92 and 60 %."""
    rng, surrogate, rows = np.random.default_rng(1), planted("u", factor(0.1)), []
    for _ in range(80):
        points = rng.random((96, 2))
        lr, rho = (-3 + 4 * points[:, at] for at in (0, 1))
        goodness = 0.9 - 0.12 * (lr + 1 if math.isinf(c) else lr - np.log10(10**rho + c)) ** 2
        used = dataclasses.replace(surrogate.used, goodness=goodness + rng.normal(0, noise, 96))
        rows += steps.steps([dataclasses.replace(surrogate, points=points, used=used)], rng).to_dict("records")
    assert sum(row["c_low"] <= c <= row["c_high"] for row in rows) >= 66
    assert sum(row["rho_counts"] is True for row in rows) <= 14


def test_the_figure_has_room_for_a_c_that_is_bounded_on_one_side_or_on_none() -> None:
    rows = [(0.0, 0.0, 0.05), (0.1, 0.05, 0.2), (math.inf, 2.0, math.inf), (0.0, 0.0, math.inf)]
    table = pd.DataFrame(
        [("sofim", w, "", 96, 0.8, 0.8, 0.5, 0.5, 0.0, False, *c, "") for w, c in zip("uvwx", rows, strict=True)],
        columns=list(steps.COLUMNS),
    )
    drawn = draw(Atlas("sofim", "", (), {"rho_steps": table}), {"sofim": Look("C1", "o", "-")})
    assert drawn is not None
    explained, c = (panel.figure.axes[0] for panel in drawn.panels)
    assert max(line.get_xdata()[0] for line in explained.lines) == 80
    c_axis = c.get_xticklabels()
    drawn.panels[1].figure.canvas.draw()
    assert not any("$" in label.get_text() for label in c_axis)
    ends = [tuple(line.get_xdata()) for line in c.lines if len(line.get_xdata()) == 2]
    assert ends == [(0.005, 20.0), (2.0, 20.0), (0.05, 0.2), (0.005, 0.05)], "to the edges where nothing bounds it"
    assert [steps.c_in_words(row) for row in table.to_dict("records")] == [
        "at most 0.05", "0.1 [0.05, 0.2]", "at least 2", "any number (not told)",
    ]  # fmt: skip
