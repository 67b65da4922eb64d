"""What figures say: axes are what their values are, texts and lines agree, nothing is shown that cannot be."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import Drawn, Subject, of_each
from analysis.figures._metric_axis import limits, ordinary, power
from analysis.figures._style import files, style, svg
from analysis.figures.comparison import View, confirmed, convergence, cost, ranks, time_to_target
from analysis.figures.comparison._base import forest
from analysis.sensitivity import sentences
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.importance import Importance
from tests.support.made_campaign import Made, made, study


def around(mean: float, n: int = 10, seed: int = 0) -> list[float | str]:
    return list(mean + 0.01 * np.random.default_rng(seed).standard_normal(n))


def view(found: Made, workload: int = 0) -> View:
    comparison = found.compare()
    return View(comparison.contests[workload], comparison)


def panel(picture: Drawn | None, name: str = "") -> Figure:
    assert picture is not None
    return next(one.figure for one in picture.panels if one.name == name)


def written(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def on_training(found: Made) -> Made:
    """The same campaign with a gap of the optimization itself, which has no validation data."""
    changed = [
        dataclasses.replace(one, metric="gap", attributes={**one.attributes, "metric_split": "train"})
        for one in found.studies
    ]
    return dataclasses.replace(found, studies=changed)


def all_pictures(found: Made) -> list[Drawn]:
    comparison = found.compare()
    with style():
        pictures = [draw(View(comparison.contests[0], comparison)) for draw in of_each("workload").values()]
        pictures += [draw(comparison) for draw in of_each("campaign").values()]
    return [picture for picture in pictures if picture is not None]


def labels(picture: Drawn) -> str:
    figures = [one.figure for one in picture.panels]
    on_axes = [f"{axes.get_xlabel()} {axes.get_ylabel()}" for figure in figures for axes in figure.axes]
    return " ".join([picture.title, picture.caption, *on_axes])


# ---- cost


@pytest.mark.slow
def test_evaluations_are_counted_and_seconds_are_ratios() -> None:
    found = made({"u": {"sgd": around(0.5), "sofim": around(0.5), "adam": around(0.5)}}, speed={"sofim": 3.0})
    found.curves.loc[found.curves["study"] == "made/u/sofim", "gradient_evaluations"] *= 2
    with style():
        picture = cost.draw(view(found))
        counts, seconds = panel(picture, "evaluations").axes[0], panel(picture, "evaluation").axes[0]
    assert counts.get_xlabel() == "gradient evaluations of an epoch"
    assert sorted(float(line.get_xdata()[0]) for line in counts.lines) == [10.0, 10.0, 20.0]
    assert all(len(container.lines[2]) == 0 for container in counts.containers), "a count has no interval"
    assert seconds.get_xlabel().startswith("seconds of a gradient evaluation")
    shown = {round(float(line.get_xdata()[0]), 3) for line in seconds.lines}
    assert 1.5 in shown, "three times the seconds for twice the evaluations"


@pytest.mark.slow
def test_evaluations_of_a_step_are_those_until_a_run_has_converged() -> None:
    """Ten evaluations a step for two epochs, then one: not one."""
    found = made({"u": {"sgd": around(0.5, 3), "lbfgs": around(0.5, 3)}})
    of_lbfgs = found.curves["study"] == "made/u/lbfgs"
    spent = {1: 100.0, 2: 200.0, 3: 210.0, 4: 220.0}
    found.curves.loc[of_lbfgs, "gradient_evaluations"] = found.curves.loc[of_lbfgs, "epoch"].map(spent)
    table = found.compare().tables["cost"].set_index("optimizer")
    assert table.loc["lbfgs", "gradient_evaluations_per_epoch"] == 100.0
    assert table.loc["sgd", "gradient_evaluations_per_epoch"] == 10.0
    assert table.loc["lbfgs", "gradient_evaluations_per_step"] == pytest.approx(10.0)


@pytest.mark.slow
def test_seconds_that_do_not_compare_are_on_no_axis() -> None:
    found = made({"u": {"sgd": around(0.5), "sofim": around(0.6)}})
    with style():
        assert "seconds" in labels(cost.draw(view(found)))
    found.confirmations.loc[0, "exclusive"] = False
    for picture in all_pictures(found):
        for one in picture.panels:
            assert "seconds" not in one.name
            for axes in one.figure.axes:
                assert "seconds" not in axes.get_xlabel() + axes.get_ylabel()


# ---- names of metrics


@pytest.mark.slow
def test_a_training_metric_is_never_called_validation() -> None:
    found = on_training(made({"u": {"sgd": around(0.5), "sofim": around(0.6)}}, direction="minimize"))
    said = " ".join(labels(picture) for picture in all_pictures(found))
    assert "training gap" in said
    assert "validation gap" not in said
    assert "validation value" not in said
    assert "on validation data" not in said


@pytest.mark.parametrize("split", ["validation", "train"])
def test_tuning_is_told_by_the_data_that_it_went_by(split: str) -> None:
    one = study("u", "sgd")
    one = dataclasses.replace(one, attributes={**one.attributes, "metric_split": split})
    assert one.tuned_metric == {"validation": "validation accuracy", "train": "training accuracy"}[split]
    assert dataclasses.replace(one, own=False).tuned_metric == "accuracy", "nobody knows of another program's"


# ---- what ranks and importances tell


@pytest.mark.slow
@pytest.mark.parametrize("workloads", [2, 4])
def test_a_critical_difference_beyond_all_differences_is_not_drawn(workloads: int) -> None:
    names = ("sofim", "sgd", "adam", "adamw")
    runs = {f"w{w}": {name: around(0.5 + 0.1 * k, 3, w) for k, name in enumerate(names)} for w in range(workloads)}
    with style():
        picture = ranks.draw(made(runs).compare())
    axes = panel(picture).axes[0]
    assert bool(axes.patches) == (workloads == 4)
    assert picture is not None
    assert ("tell nobody apart" in picture.caption) == (workloads == 2)
    assert axes.get_xlim()[1] <= len(names) + 1


def test_what_stands_out_is_the_same_in_the_text_and_beyond_the_line() -> None:
    """A dot beyond the line whose interval is not: the text says it does not stand out, and so it is faint."""
    total = np.array([[0.8, 0.41], [0.6, 0.089], [0.9, 0.7]])
    shares = Importance(total, total, {}, 0.1, 0.1)
    said = sentences.importance(["lr", "size"], shares, 0.9, True, "all", True)
    assert any(sentence.startswith("size does not stand out") for sentence in said)
    columns = {
        f"{order}{end}": total[place]
        for order in ("first_order", "total_order")
        for place, end in enumerate(("", "_low", "_high"))
    }
    table = pd.DataFrame({"parameter": ["lr", "size"], "region": "all", "stands_out": [True, False], **columns})
    quality = pd.DataFrame([{"region": "all", "conclusive": True, "noise_total_order": 0.1, "r2": 0.9}])
    findings = Findings("s", tables={"importance": table, "quality": quality})
    with style():
        picture = of_each("study")["importance"](Subject(study("u", "sgd"), pd.DataFrame(), findings, 4))
    axes = panel(picture, "all").axes[0]
    shown = {
        axes.get_yticklabels()[round(float(line.get_ydata()[0]))].get_text(): line.get_alpha()
        for line in axes.lines
        if line.get_marker() == "o"
    }
    assert shown["lr"] == 1.0
    assert shown["size"] < 0.5
    assert picture is not None
    assert "the whole interval" in picture.caption


# ---- targets


@pytest.mark.slow
def test_a_target_that_nobody_reaches_has_no_figure() -> None:
    runs = {"u": {"sgd": around(0.5), "sofim": around(0.6)}}
    with style():
        assert time_to_target.draw(view(made(runs, targets={"u": 0.99}))) is None
        picture = time_to_target.draw(view(made(runs, targets={"u": 0.55})))
    axes = panel(picture, "epochs").axes[0]
    assert {text for text in written(panel(picture, "epochs")) if text} == {"0 of 10", "10 of 10"}
    assert sum(len(line.get_xdata()) > 0 and line.get_marker() not in ("None", "") for line in axes.lines) == 1


# ---- what can be


@pytest.mark.slow
def test_what_lies_beyond_the_metric_is_not_drawn() -> None:
    found = made({"u": {"sgd": [1.0, 0.7, 1.0], "sofim": [0.99, 0.98, 1.0]}})
    with style():
        axes = panel(confirmed.draw(view(found))).axes[0]
    assert axes.get_xlim()[1] <= 1.05
    for container in axes.containers:
        for bar in container.lines[2]:
            assert max(point[0] for path in bar.get_paths() for point in path.vertices) <= 1.0


@pytest.mark.parametrize("ends", [(0.6, 0.9), (0.1, 0.4), (0.4, 0.6), (math.nan, math.nan)])
def test_an_interval_that_is_drawn_reaches_its_point(ends: tuple[float, float]) -> None:
    with style():
        axes = Figure().add_subplot()
        rows = [{"value": 0.5, "low": ends[0], "high": ends[1]}, {"value": 0.2, "low": 0.1, "high": 0.9}]
        forest(axes, rows, "value", ("low", "high"), names=["a", "b"])
    bars = [container.lines[2] for container in axes.containers]
    for row, bar in zip(rows, bars, strict=True):
        for segment in (path.vertices for one in bar for path in one.get_paths()):
            assert segment[:, 0].min() <= row["value"] <= segment[:, 0].max()


def beyond(axes: Axes) -> list[float]:
    """Where an interval is drawn as going on beyond the panel."""
    return [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() in ("<", ">")]


def test_intervals_that_are_all_wider_than_their_points_are_apart_are_seen_whole() -> None:
    ends = [(-0.028, 0.014), (-0.034, 0.017), (-0.024, 0.021)]
    rows = [{"value": (low + high) / 2, "low": low, "high": high} for low, high in ends]
    with style():
        axes = Figure().add_subplot()
        forest(axes, rows, "value", ("low", "high"), names=["a", "b", "c"], also=[0.0])
        assert beyond(axes) == []
        one_wide = [*rows, {"value": -0.005, "low": -5.0, "high": 5.0}]
        axes = Figure().add_subplot()
        forest(axes, one_wide, "value", ("low", "high"), names=["a", "b", "c", "d"], also=[0.0])
    assert len(beyond(axes)) == 2, "one that is much wider does not squeeze the others"


@pytest.mark.slow
def test_no_interval_of_a_ratio_is_drawn_as_going_on_where_the_panel_does() -> None:
    campaign = made({"u": {"sgd": around(0.5), "sofim": around(0.6)}}, speed={"sofim": 1.02})
    runs = campaign.curves["number"] % 3
    campaign.curves["seconds"] *= 1 + 0.2 * runs  # much further apart than the optimizers are
    with style():
        for name in ("evaluation", "step"):
            axes = panel(cost.draw(view(campaign)), name).axes[0]
            assert axes.get_xlim()[0] == 0.0
            assert beyond(axes) == []


# ---- scales and outliers


def spread() -> Made:
    runs = {
        "u": {
            "sgd": [1e-4, 2e-4, 3e-4],
            "sofim": [1e-8, 2e-8, 0.0],
            "adam": [1e-2, 2e-2, 5e-2],
            "lbfgs": [1e-10, 1e-10, 3e-10],
        }
    }
    trials = {"u": {name: [values[0], 1e-1, 1.0] for name, values in runs["u"].items()}}
    return on_training(made(runs, direction="minimize", trials=trials, test=False))


@pytest.mark.slow
def test_a_gap_is_on_a_logarithmic_axis_everywhere() -> None:
    with style():
        seen = view(spread())
        assert panel(confirmed.draw(seen)).axes[0].get_xscale() == "log"
        assert panel(convergence.draw(seen), "metric-epochs").axes[0].get_yscale() == "log"
        assert panel(of_each("workload")["budget"](seen)).axes[0].get_yscale() == "log"


@pytest.mark.slow
def test_an_accuracy_is_on_a_linear_one() -> None:
    with style():
        seen = view(made({"u": {"sgd": around(0.9), "sofim": around(0.6)}}))
        assert panel(confirmed.draw(seen)).axes[0].get_xscale() == "linear"
        assert panel(convergence.draw(seen), "metric-epochs").axes[0].get_yscale() == "linear"


def test_nothing_is_at_the_edge_of_a_logarithmic_axis_with_a_mark() -> None:
    with style():
        axes = Figure().add_subplot()
        rows = [{"v": 0.0, "l": math.nan, "h": math.nan}, *({"v": 10.0**-k, "l": 0.0, "h": 1.0} for k in range(3, 7))]
        forest(axes, rows, "v", ("l", "h"), names=[str(k) for k in range(5)], scale="log", bounds=(0.0, math.inf))
    assert axes.get_xlim()[0] > 0
    assert [text.get_text() for text in axes.texts] == ["0"]


@pytest.mark.parametrize("outlier", [0.1, 0.5, 7.0])
def test_an_outlier_is_clipped_with_its_value_and_the_others_have_the_axis(outlier: float) -> None:
    others = [0.960, 0.964, 0.967, 0.969, 0.972, 0.974]
    with style():
        axes = Figure().add_subplot()
        rows = [{"v": value, "l": value - 0.003, "h": value + 0.003} for value in [*others[:3], outlier, *others[3:]]]
        forest(axes, rows, "v", ("l", "h"), names=[str(k) for k in range(7)])
    low, high = axes.get_xlim()
    assert (max(others) - min(others)) / (high - low) > 0.4
    assert [float(text.get_text()) for text in axes.texts] == [outlier]


@pytest.mark.slow
def test_a_line_that_stays_beyond_a_panel_is_named() -> None:
    runs = {name: around(0.97, 3, k) for k, name in enumerate(("sofim", "sgd", "adam", "adamw", "lbfgs"))}
    with style():
        figure = panel(convergence.draw(view(made({"u": {**runs, "nystrom-sgd": [0.2, 0.21, 0.22]}}))), "metric-epochs")
    assert figure.axes[0].get_ylim()[0] > 0.3
    assert any(text.startswith("nystrom-sgd 0.21") for text in written(figure))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([0.1, 0.2, 0.3], (0.1, 0.3)),
        ([1.0, 1.1, 1.2, 50.0], (1.0, 1.2)),
        ([1.0, 1.1, 1.2, 1.3, 1.25, 50.0, 60.0], (1.0, 1.3)),
        ([-50.0, 1.0, 1.1, 1.2, 1.3, 1.25, 60.0], (1.0, 1.3)),
        ([0.5] * 6 + [0.1], (0.1, 0.5)),
        ([math.nan, math.inf, 1.0, 2.0], (1.0, 2.0)),
        ([], (0.0, 1.0)),
    ],
)
def test_only_a_few_values_that_squeeze_the_others_are_left_out(values: list[float], kept: tuple[float, float]) -> None:
    assert ordinary(values) == kept
    assert ordinary(values[::-1]) == kept


def test_ends_of_an_axis_hold_every_ordinary_value() -> None:
    rng = np.random.default_rng(0)
    for scale in ("linear", "log"):
        for _ in range(50):
            values = np.exp(rng.normal(size=6) * rng.uniform(0.01, 5))
            low, high = limits(values, [values / 2, values * 2], scale)
            keep = ordinary(np.log(values) if scale == "log" else values)
            keep = tuple(np.exp(keep)) if scale == "log" else keep
            assert low < keep[0] <= keep[1] < high


def test_numbers_of_a_logarithmic_axis_are_powers() -> None:
    assert [power(10.0**k) for k in (-10, -1, 0, 3)] == ["10⁻¹⁰", "10⁻¹", "10⁰", "10³"]


# ---- legends and files


@pytest.mark.nightly
@pytest.mark.slow
def test_legends_cover_no_line() -> None:
    names = ("sofim", "sgd", "adam", "adamw", "adahessian", "lbfgs", "nystrom-sgd")
    found = made({w: {name: around(0.9, 3, k) for k, name in enumerate(names)} for w in "uv"})
    for picture in all_pictures(found):
        for one in picture.panels:
            legends = [*one.figure.legends, *(a.get_legend() for a in one.figure.axes if a.get_legend())]
            with style():
                if legends:
                    svg(one.figure)  # gives every part the place that it has in all files
            for legend in legends:
                box = legend.get_window_extent()
                assert not any(box.overlaps(axes.get_window_extent()) for axes in one.figure.axes), picture.title
    with style():
        panels = convergence.draw(view(found)).panels
    assert [one.name for one in panels if one.figure.legends] == ["legend"], "once is enough"


@pytest.mark.slow
def test_a_figure_is_the_same_in_all_its_files_and_again() -> None:
    def drawn() -> Figure:
        return panel(confirmed.draw(view(made({"u": {"sgd": around(0.9), "sofim": around(0.6)}}))))

    with style():
        one, two = files(drawn()), files(drawn())
    assert one == two
    assert b"/Type3" not in one.pdf
    assert b"/FontFile2" in one.pdf
