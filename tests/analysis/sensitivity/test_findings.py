"""The analysis of a whole study: what it finds, and what it says where there is nothing to find."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from analysis.metric_scale import Scale
from analysis.parameters import ParameterInfo
from analysis.sensitivity import dependence, scales
from analysis.sensitivity.analyse import analyse
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.importance import refits
from analysis.sensitivity.outcomes import loss_unit

LR = ParameterInfo("lr", "float", 1e-3, 10.0, log=True, default=0.1)
RHO = ParameterInfo("rho", "float", 1e-3, 10.0, log=True, default=0.5)
BETA = ParameterInfo("beta", "float", 0.5, 0.999, one_minus=True, default=0.9)
BATCH = ParameterInfo("batch_size", "categorical", math.nan, math.nan, choices=(32, 64, 128), default=64)
SPACE = [LR, RHO, BETA, BATCH]
NO_CURVES = pd.DataFrame({"study": [], "number": [], "epoch": [], "value": []})
COLUMNS = {
    "importance": "study parameter first_order first_order_low first_order_high total_order total_order_low "
    "total_order_high stands_out region",
    "interactions": "study parameter_a parameter_b share share_low share_high",
}


def ridge(values: dict[str, object]) -> float:
    """Accuracy as SOFIM's algebra has it: a function of lr/rho, best at 1/2, and a little of beta."""
    ratio = math.log10(float(str(values["lr"])) / float(str(values["rho"])))
    return 0.9 - 0.05 * (ratio + 0.3) ** 2 - 0.02 * math.log10((1 - float(str(values["beta"]))) * 10) ** 2


def trials_of(
    space: list[ParameterInfo], metric: Callable[[dict[str, object]], float], num_trials: int = 150, seed: int = 0
) -> pd.DataFrame:
    points = np.random.default_rng(seed).random((num_trials, len(space)))
    params = [{p.name: scales.decode(p, float(u)) for p, u in zip(space, row, strict=True)} for row in points]
    frame = pd.DataFrame({"study": "c/w/sofim", "number": range(num_trials), "outcome": "complete"})
    frame["value"] = [metric(values) for values in params]
    frame["params"] = pd.Series(params, dtype=object)
    return frame


def look(
    space: list[ParameterInfo], trials: pd.DataFrame, curves: pd.DataFrame = NO_CURVES, direction: str = "maximize"
) -> Findings:
    return analyse(space, trials, curves, direction=direction, rng=np.random.default_rng(0), num_refits=4)


@pytest.fixture(scope="module")
def found() -> Findings:
    trials = trials_of(SPACE, ridge, 250)
    trials.loc[trials["value"] < 0.4, ["outcome", "value"]] = ["diverged", math.nan]
    ends = trials[trials["outcome"] == "complete"]
    start, end = (ends.assign(epoch=epoch)[["study", "number", "epoch", "value"]] for epoch in (1, 2))
    return look(SPACE, trials, pd.concat([start.assign(value=0.2), end], ignore_index=True))


def test_tables_have_their_columns_and_the_study(found: Findings) -> None:
    for name, columns in COLUMNS.items():
        assert list(found.tables[name]) == columns.split()
    for name, table in found.tables.items():
        assert len(table) or name == "tunability", f"{name}: only what was run has a gain"
        assert set(table["study"]) <= {"c/w/sofim"}
    assert set(found.importance["region"]) == {"all", "good"}
    assert found.conclusive


def test_the_ridge_is_found(found: Findings) -> None:
    everything = found.importance[found.importance["region"] == "all"].set_index("parameter")
    assert everything.loc["batch_size", "total_order"] < 0.05 < everything.loc["rho", "total_order"]
    top = found.interactions.iloc[0]
    assert {top["parameter_a"], top["parameter_b"]} == {"lr", "rho"}
    assert found.coordinates is not None
    assert found.coordinates.ratio[0] > 0.85
    assert found.coordinates.both[0] > found.coordinates.original[0] + 0.3
    assert any("batch_size" in text and "not stand out" in text for text in found.sentences)


def test_widths_hold_the_truth(found: Findings) -> None:
    """The loss is 0.05 times the square of what the ratio is off, in decades."""
    assert found.used is not None
    table = found.robustness[found.robustness["parameter"] == "rho"].set_index("loss_percent")
    assert table["width"].is_monotonic_increasing
    assert found.used.loss_unit[0] == pytest.approx(0.7, abs=0.02), "from 0.2 to 0.9"
    reach = 2 * math.sqrt(0.05 * 0.7 / 0.05)
    assert 0.4 * reach < table.loc[5.0, "width"] <= 1.3 * reach
    assert table.loc[5.0, "unit"] == "decades"
    assert table.loc[5.0, "low"] <= table.loc[5.0, "best"] <= table.loc[5.0, "high"]
    assert table.loc[5.0, "threshold"] == pytest.approx(0.9 - 0.05 * 0.7, abs=0.04)
    assert any("value at least 0.8" in text for text in found.sentences)
    batch = found.robustness[found.robustness["parameter"] == "batch_size"]
    assert set(batch["unit"]) == {"share of choices"}
    assert batch["width"].iloc[-1] == 1.0


@pytest.mark.parametrize("name", ["robustness", "local", "partial_dependence", "map", "importance", "interactions"])
def test_estimates_lie_in_their_own_intervals(found: Findings, name: str) -> None:
    table = found.tables[name]
    for column in (column for column in table if f"{column}_low" in table):
        rows = table[table[column].notna()]
        values = rows[[f"{column}_low", column, f"{column}_high"]].to_numpy(float)
        assert (np.diff(values, axis=1) >= -1e-9).all(), column
    if "predicted" in table:
        assert (table["low"] <= table["predicted"]).all()
        assert (table["predicted"] <= table["high"]).all()
    if name == "local":
        assert (table["loss"] >= 0).all()


def test_the_path_from_the_default_ends_at_the_best_and_is_not_predicted(found: Findings) -> None:
    path = found.ablation
    assert path["parameter"].iloc[0] == "(default)"
    assert path["measured"].isna().all()
    assert "What tuning gains over the default was not run." in found.sentences
    best = {row["parameter"]: row["best"] for row in found.robustness.to_dict("records")}
    assert all(row["after"] == best[row["parameter"]] for row in path.iloc[1:].to_dict("records"))


def runs_of(winner: int, stages: list[tuple[str, dict[str, object], list[float]]]) -> pd.DataFrame:
    """What ``sofim confirm --ablation`` ran: a row a run, stages in the order of the path."""
    rows = [
        {
            "role": role,
            "step": step if role == "step" else pd.NA,
            "path_to": winner if role == "step" else pd.NA,
            "confirms": winner if role == "winner" else pd.NA,
            "params": params,
            "outcome": "diverged" if math.isnan(value) else "complete",
            "value": value,
        }
        for step, (role, params, values) in enumerate(stages)
        for value in values
    ]
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "better"), [("linear", 0.3), ("log", 100.0)])
def test_what_tuning_gained_is_measured(scale: Scale, better: float) -> None:
    space = [dataclasses.replace(LR, default=10.0), dataclasses.replace(RHO, default=2e-3)]
    trials = trials_of(space, lambda v: 1 - ridge({**v, "beta": 0.9}), 60)
    winner = int(trials.loc[trials["value"].idxmin(), "number"])
    best = dict(trials["params"].iloc[winner])
    stages = [
        ("default", {"lr": 10.0, "rho": 2e-3}, [0.400, 0.402, 0.398]),
        ("step", {"lr": best["lr"], "rho": 2e-3}, [0.201, 0.200, 0.199]),
        ("winner", best, [0.101, 0.100, 0.099] if scale == "linear" else [0.00401, 0.004, 0.00399]),
    ]
    settings = {"direction": "minimize", "num_refits": 4, "scale": scale, "metric": "gap"}
    found = analyse(
        space, trials, NO_CURVES, rng=np.random.default_rng(0), measured=runs_of(winner, stages), **settings
    )
    path = found.ablation
    assert path["parameter"].tolist() == ["(default)", "lr", "rho"]
    assert path["measured"].iloc[0] == pytest.approx(0.4, rel=0.01)
    gain = found.tunability.iloc[0]
    assert gain["gain"] == pytest.approx(better, rel=0.02)
    assert gain["gain_low"] < gain["gain"] < gain["gain_high"]
    together = path["gain"].iloc[1:].prod() if scale == "log" else path["gain"].iloc[1:].sum()
    assert together == pytest.approx(gain["gain"], rel=0.02)
    said = next(text for text in found.sentences if text.startswith("Tuning gains"))
    assert "gap over the default, measured" in said
    assert ("a factor of 100" in said) == (scale == "log")


@pytest.mark.slow
def test_no_gain_and_a_best_trial_that_is_the_default_are_told_as_that() -> None:
    space = SPACE[:2]
    trials = trials_of(space, lambda v: ridge({**v, "beta": 0.9}), 60)
    best = dict(trials["params"].iloc[int(trials["value"].idxmax())])
    same = [dataclasses.replace(p, default=best[p.name]) for p in space]
    assert any("The best trial is the default itself" in text for text in look(same, trials).sentences)
    winner = int(trials.loc[trials["value"].idxmax(), "number"])
    runs = runs_of(winner, [("default", {"lr": 0.1, "rho": 0.5}, [0.90, 0.91]), ("winner", best, [0.90, 0.905])])
    found = analyse(space, trials, NO_CURVES, direction="maximize", rng=np.random.default_rng(0), measured=runs)
    assert any(text.startswith("No gain of tuning over the default could be shown") for text in found.sentences)
    other = analyse(
        space, trials, NO_CURVES, direction="maximize", rng=np.random.default_rng(0), measured=runs.assign(confirms=-1)
    )
    assert any("was not run" in text for text in other.sentences), "the winner has been overtaken since"


def test_figure_and_text_agree_on_what_stands_out(found: Findings) -> None:
    rows = found.importance[found.importance["region"] == "all"]
    noise = found.tables["quality"]["noise_total_order"].iloc[0]
    assert (rows["stands_out"].astype(bool) == (rows["total_order_low"] > noise)).all()
    silent = next(text for text in found.sentences if "not stand out" in text and "whole space" in text)
    assert all(
        (name in silent.split(" do")[0]) != out for name, out in zip(rows["parameter"], rows["stands_out"], strict=True)
    )


@pytest.mark.slow
def test_a_search_that_looked_in_one_place_says_so_and_concludes_less() -> None:
    """Nine tenths of the trials on a twentieth of the space, as a sampler that learns draws them."""
    space = [ParameterInfo(name, "float", 0.0, 1.0, default=0.5) for name in ("x", "y", "inert")]
    trials = trials_of(space, lambda v: 0.0, 100)
    for number, values in enumerate(trials["params"]):
        if number >= 10:
            values |= {name: 0.45 + 0.1 * float(str(value)) for name, value in values.items()}
    trials["value"] = [float(str(v["x"])) + 0.3 * float(str(v["y"])) for v in trials["params"]]
    found = look(space, trials)
    assert not found.even
    assert any('purpose = "sensitivity"' in text for text in found.sentences)
    assert look(space, trials_of(space, lambda v: float(str(v["x"])), 100)).even
    twice = trials_of(space, lambda v: float(str(v["x"])), 100)
    twice = pd.concat([twice, twice.assign(number=twice["number"] + 100)], ignore_index=True)
    assert look(space, twice).even, "the same trials again are in no other place"


def test_nothing_is_predicted_beyond_what_was_observed() -> None:
    space = [ParameterInfo(name, "float", 0.0, 1.0, default=0.5) for name in ("x", "y")]
    trials = trials_of(space, lambda v: 0.9 + 0.08 * float(str(v["x"])) if float(str(v["x"])) < 0.8 else 0.15, 60)
    found = look(space, trials)
    for name in ("partial_dependence", "map"):
        table = found.tables[name]
        assert table[["predicted", "low", "high"]].to_numpy(float).min() >= trials["value"].min() - 1e-12
        assert table[["predicted", "low", "high"]].to_numpy(float).max() <= trials["value"].max() + 1e-12


@pytest.mark.slow
def test_a_metric_over_decades_is_analysed_on_its_logarithm() -> None:
    space = [ParameterInfo(name, "float", 0.0, 1.0, default=0.5) for name in ("x", "y", "inert")]

    def gap(v: dict[str, object]) -> float:
        x, y = float(str(v["x"])), float(str(v["y"]))
        return float(10 ** (-1 - 4 * math.exp(-(((x - 0.6) / 0.3) ** 2)) - 3 * math.exp(-(((y - 0.5) / 0.3) ** 2))))

    trials = trials_of(space, gap, 120)
    settings = {"direction": "minimize", "num_refits": 5, "metric": "gap"}
    looked = analyse(space, trials, NO_CURVES, rng=np.random.default_rng(0), **settings)
    told = analyse(space, trials, NO_CURVES, rng=np.random.default_rng(0), scale="log", **settings)
    linear = analyse(space, trials, NO_CURVES, rng=np.random.default_rng(0), scale="linear", **settings)
    pd.testing.assert_frame_equal(looked.importance, told.importance)
    out = told.importance[told.importance["region"] == "all"].set_index("parameter")["stands_out"]
    assert out[["x", "y"]].all()
    assert not out["inert"]
    assert linear.used is not None
    assert linear.used.scale == "linear"
    assert (told.partial_dependence[["predicted", "low", "high"]].to_numpy(float) > 0).all()
    resolved = told.robustness[told.robustness["resolved"].astype(bool)]
    assert (resolved["threshold"] >= trials["value"].min()).all()
    hundredfold = analyse(
        space, trials.assign(value=100 * trials["value"]), NO_CURVES, rng=np.random.default_rng(0), **settings
    )
    np.testing.assert_allclose(hundredfold.importance["total_order"], told.importance["total_order"], atol=0.02)


def test_diverged_trials_are_mapped(found: Findings) -> None:
    assert found.diverged is not None
    assert 0 < found.diverged[0] < 0.3
    table = found.tables["divergence"]
    assert {table["parameter_a"].iloc[0], table["parameter_b"].iloc[0]} == {"lr", "rho"}
    assert table["share"].between(0, 1).all()
    worst = table.sort_values("share").iloc[-1]
    assert abs(math.log10(worst["value_a"] / worst["value_b"])) > 2


@pytest.mark.slow
def test_the_order_of_rows_does_not_matter_and_the_generator_does() -> None:
    trials = trials_of(SPACE[:2], lambda v: ridge({**v, "beta": 0.9}), 60)
    one = look(SPACE[:2], trials)
    two = look(SPACE[:2], trials.sample(frac=1, random_state=1))
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, two.tables[name])
    assert one.sentences == two.sentences
    other = analyse(SPACE[:2], trials, NO_CURVES, direction="maximize", rng=np.random.default_rng(1), num_refits=4)
    assert not one.importance.equals(other.importance)


@pytest.mark.slow
def test_minimizing_is_maximizing_the_negative() -> None:
    trials = trials_of(SPACE[:2], lambda v: ridge({**v, "beta": 0.9}) - 1, 60)
    turned = trials.assign(value=-trials["value"])
    up, down = look(SPACE[:2], trials), look(SPACE[:2], turned, direction="minimize")
    pd.testing.assert_frame_equal(up.importance, down.importance)
    pd.testing.assert_frame_equal(up.robustness.drop(columns="threshold"), down.robustness.drop(columns="threshold"))
    np.testing.assert_allclose(up.robustness["threshold"], -down.robustness["threshold"])
    np.testing.assert_allclose(up.partial_dependence["predicted"], -down.partial_dependence["predicted"])


def nonsense(values: dict[str, object]) -> float:
    return math.sin(1e6 * float(str(values["lr"])))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.iloc[:0], "no trial has a value"),
        (lambda t: t.iloc[:12], "12 trials are too few, at least 20 are needed"),
        (lambda t: t.assign(outcome="diverged", value=math.nan), "all 60 trials diverged"),
        (lambda t: t.assign(outcome="failed", value=math.nan), "no trial has a value"),
        (lambda t: t.assign(value=0.25), "the metric is the same for all trials"),
        (lambda t: t.assign(value=math.inf), "no trial has a finite value"),
        (lambda t: t.assign(outcome=["complete"] * 3 + ["pruned"] * 57), "only 3 trials are complete"),
        (lambda t: t.assign(params=[{"lr": 0.1}] * 60), "no parameter varies"),
        (lambda t: t.assign(params=[{}] * 60), "no parameter varies"),
    ],
)
def test_what_cannot_be_told_is_a_sentence_and_empty_tables(
    change: Callable[[pd.DataFrame], pd.DataFrame], says: str
) -> None:
    found = look(SPACE[:2], change(trials_of(SPACE[:2], nonsense, 60)))
    assert found.sentences[0].startswith("No conclusion can be drawn")
    assert says in found.sentences[0]
    assert all(table.empty and next(iter(table)) == "study" for table in found.tables.values())
    assert not found.conclusive


def test_noise_gives_no_conclusion() -> None:
    found = look(SPACE[:2], trials_of(SPACE[:2], nonsense, 60))
    assert "No conclusion" in found.sentences[0]
    assert not found.tables["quality"]["conclusive"].any()
    assert not found.robustness["resolved"].astype(bool).any()
    assert found.robustness["low"].isna().all()
    assert found.tunability.empty
    assert not any("explains" in text and "%" in text for text in found.sentences)


def test_one_parameter_has_no_shares_but_a_range() -> None:
    found = look([LR], trials_of([LR], lambda v: -abs(math.log10(float(str(v["lr"])))), 60))
    assert found.importance.empty
    assert found.interactions.empty
    assert "lr is the only parameter" in " ".join(found.sentences)
    assert len(found.robustness) == 3
    assert len(found.partial_dependence) > 10


def test_a_conditional_parameter_and_one_that_few_trials_have() -> None:
    kind = ParameterInfo("kind", "categorical", math.nan, math.nan, choices=("a", "b"), default="a")
    rare = ParameterInfo("rare", "float", 0.0, 1.0)
    trials = trials_of([kind, LR], lambda v: math.log10(float(str(v["lr"]))) if v["kind"] == "a" else 2.0, 120)
    for number, values in enumerate(trials["params"]):
        if values["kind"] == "b":
            del values["lr"]
        if number < 4:
            values["rare"] = 0.1 * number
    found = look([kind, LR, rare], trials)
    text = " ".join(found.sentences)
    assert "rare is left out: only 4 trials have it" in text
    assert f"lr is active in {sum('lr' in p for p in trials['params'])} of 120 trials" in text
    assert "lr is inactive in the best configuration" in text
    assert set(found.importance["parameter"]) == {"kind", "lr"}
    assert set(found.robustness["parameter"]) == {"kind"}


def test_without_defaults_tunability_says_so() -> None:
    space = [ParameterInfo("x", "int", 1, 9), ParameterInfo("y", "float", -1.0, 1.0)]
    found = look(space, trials_of(space, lambda v: float(str(v["x"])) + float(str(v["y"])), 60))
    assert found.tunability.empty
    assert "Without a default (x, y)" in " ".join(found.sentences)
    assert found.partial_dependence.query("parameter == 'x'")["value"].tolist() == list(range(1, 10))


def test_hostile_names_and_choices_pass_through() -> None:
    space = [
        ParameterInfo("<b>%s{x}</b>", "categorical", math.nan, math.nan, choices=(None, True, 1, "1", 2.5)),
        ParameterInfo("y", "float", -1.0, 1.0),
    ]
    found = look(space, trials_of(space, lambda v: float(str(v["y"])), 60))
    assert "<b>%s{x}</b>" in set(found.importance["parameter"])


@pytest.mark.slow
def test_the_other_way_of_valuing_is_compared() -> None:
    trials = trials_of(SPACE[:2], lambda v: ridge({**v, "beta": 0.9}), 80)
    rows = [(i, e, v * (1 - 0.5**e)) for i, v in enumerate(trials["value"]) for e in range(1, 6) if v > 0.6 or e < 3]
    curves = pd.DataFrame(rows, columns=["number", "epoch", "value"])
    trials.loc[trials["value"] <= 0.6, "outcome"] = "pruned"
    found = look(SPACE[:2], trials, curves)
    assert any(text.startswith("Valued by highest-common-epoch instead of median-gain") for text in found.sentences)
    assert set(found.tables["quality"]["method"]) == {"median-gain", "highest-common-epoch"}


def test_partial_dependence_follows_the_metric() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((300, 2))
    table = dependence.partial_dependence(
        refits(points, 3 * points[:, 0], rng, num_refits=6), [LR, RHO], lambda goodness: goodness
    )
    own = table[table["parameter"] == "lr"]
    np.testing.assert_allclose(own["predicted"], 3 * own["position"], atol=0.15)
    assert (own["low"] <= own["high"]).all()
    flat = table[table["parameter"] == "rho"]["predicted"]
    assert np.ptp(flat) < 0.1


@pytest.mark.parametrize(
    ("goodness", "unit", "of"),
    [
        ([0.9, 0.8, 0.1], 0.1, "median"),
        ([-0.01, -0.5, -2.0], 0.49, "median"),
        ([1.0, 0.0, -1.0], 1.0, "median"),
        ([2.0, 2.0, -3.0], 5.0, "worst"),
        ([-3.0, -4.0, -9.0], 1.0, "median"),
    ],
)
def test_a_percentage_is_of_something_that_can_be_resolved(goodness: list[float], unit: float, of: str) -> None:
    found, name = loss_unit(np.array(goodness))
    assert found == pytest.approx(unit)
    assert of in name


def test_a_surrogate_too_coarse_for_widths_says_so() -> None:
    """A loss that falls to nearly nothing in one of three parameters; the others do not matter."""
    space = [ParameterInfo(name, "float", 0.0, 1.0, default=0.5) for name in ("x", "y", "z")]
    rng = np.random.default_rng(0)
    trials = trials_of(space, lambda v: float(str(v["x"])) + 0.1 * float(rng.standard_normal()), 60)
    found = look(space, trials, direction="minimize")
    assert any(text.startswith("What lies within 5 % of the best cannot be told") for text in found.sentences)
    assert not any("within 5 % (" in text or "predicted within" in text for text in found.sentences)
    assert found.near_best is None
    assert not found.robustness["resolved"].astype(bool).all()


def test_along_the_ridge_rho_may_move_as_far_as_the_ranges_allow(found: Findings) -> None:
    """Only lr/rho matters in this metric: together with lr, rho is free until one of the two leaves its range."""
    rows = found.robustness.set_index(["parameter", "loss_percent"])
    alone, together = rows.loc[("rho", 5.0)], rows.loc[("rho (lr/rho fixed)", 5.0)]
    best = {name: rows.loc[(name, 5.0), "best"] for name in ("lr", "rho")}
    reach = 4 - abs(math.log10(best["lr"] / best["rho"]))
    assert alone["width"] < together["width"] <= reach + 1e-6
    assert together["width"] > 0.3 * reach
    for name in ("low", "high"):
        assert together[f"{name}_low"] <= together[f"{name}_high"]
    assert any("so that lr/rho stays" in text for text in found.sentences)
