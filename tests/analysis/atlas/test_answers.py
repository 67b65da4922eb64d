"""What is said of kinds of tasks, seconds, settings and defaults: read off the report's own tests, and no more."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.atlas import Atlas, defaults, kinds, reference_of, seconds, sensitivities
from analysis.comparison import Comparison
from analysis.comparison.pairwise import comparisons
from analysis.comparison.time_to_target import time_to_target
from analysis.defaults import Evaluated, SurrogateStudy, common_start, recommend
from analysis.figures import atlas as figures
from analysis.figures.comparison._base import looks_in
from analysis.parameters import from_space
from analysis.schema import AS_TYPED
from search_spaces import muon as muon_space
from search_spaces.errors import UserError
from tests.analysis.atlas.test_coordinates import SOFIM, planted, ridge
from tests.support.made_campaign import Made, made

KINDS = {"mnist": "image", "adult": "table", "poisson": "physics"}
HIGH, LOW = [[0.9, 0.91], [0.92, 0.9], [0.91, 0.9]], [[0.5, 0.52], [0.51, 0.5], [0.53, 0.52]]
RUNS = {
    "mnist": {"sofim": HIGH, "sgd": LOW, "adamw": HIGH},
    "adult": {"sofim": LOW, "sgd": LOW, "adamw": HIGH},
    "poisson": {"sofim": HIGH, "sgd": LOW, "adamw": HIGH},
}


def with_kinds(found: Made) -> Made:
    studies = [dataclasses.replace(s, attributes={**s.attributes, "kind": KINDS[s.workload]}) for s in found.studies]
    return dataclasses.replace(found, studies=studies)


def by_kind(found: Made, optimizer: str = "sofim") -> pd.DataFrame:
    return kinds.by_kind(found.contests(), comparisons(found.contests()), optimizer)


@pytest.mark.slow
def test_wins_and_losses_are_those_of_the_report_counted_by_kind() -> None:
    found = with_kinds(made(RUNS))
    table = by_kind(found).set_index(["kind", "baseline"])
    pairs = comparisons(found.contests())
    for rival, counts in (("sgd", [2, 0, 1]), ("adamw", [0, 1, 2])):
        own = pairs[(pairs["a"] == "sofim") & (pairs["b"] == rival)]["verdict"]
        assert [(own == word).sum() for word in ("better", "worse", "no difference shown")] == counts
        assert table.loc[("all", rival), ["better", "worse", "undecided"]].tolist() == counts
    assert table.loc[("beyond images", "adamw"), ["workloads", "better", "worse"]].tolist() == [2, 0, 1]
    said = kinds.sentences(by_kind(found))
    beyond = next(text for text in said if text.startswith("Beyond images (table and physics), sofim is "))
    assert "On workloads by themselves it is better than sgd on 1 of 2 (poisson: gain 0." in beyond
    assert "; worse than adamw on 1 of 2 (adult: gain -0." in beyond
    image = next(text for text in said if text.startswith("On image tasks, sofim is better than sgd on 1 of 1 (mnist:"))
    assert image.endswith("not told apart from adamw.")


@pytest.mark.slow
def test_all_workloads_together_tell_what_none_tells_by_itself() -> None:
    """Three searches that are always a little worse, on five workloads; on each of them the intervals overlap."""
    rng = np.random.default_rng(0)
    runs: dict[str, dict[str, list[list[float]]]] = {}
    for name in ("mnist", "adult", "poisson", "four", "five"):
        middle = rng.uniform(0.3, 0.6, 3)
        runs[name] = {"sofim": [[m, m] for m in middle], "adam": [[m, m] for m in middle + 0.31]}
    table = kinds.by_kind(made(runs).contests(), comparisons(made(runs).contests()), "sofim")
    row = table[table["kind"] == "all"].iloc[0]
    assert (row["worse"] < 2, row["chance"], row["searched_on"]) == (True, 0.0, 5)
    assert row["chance_high"] < 0.5
    said = kinds.sentences(table)
    assert any("sofim is behind adam (0 % [0, " in text for text in said)
    swapped = {w: {"sofim": own["adam"], "adam": own["sofim"]} for w, own in runs.items()}
    other = kinds.by_kind(made(swapped).contests(), comparisons(made(swapped).contests()), "sofim").iloc[0]
    assert (1 - other["chance_low"], 1 - other["chance_high"]) == pytest.approx((row["chance_high"], row["chance_low"]))


@pytest.mark.nightly
@pytest.mark.slow
def test_equal_optimizers_are_seldom_told_apart_by_all_workloads_together() -> None:
    """Five of them, three searches each on six workloads: in at most 5 % of campaigns the first from any other."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(20):
        runs = {w: {o: [[float(v)] for v in rng.normal(0.5, 0.1, 3)] for o in "abcde"} for w in "uvwxyz"}
        found = made(runs).contests()
        ends = [kinds._chance(found, "a", rival, 4)[1:3] for rival in "bcde"]
        wrong += any(low > 0.5 or high < 0.5 for low, high in ends)
    assert wrong <= stats.binom.ppf(1 - 1e-3, 20, 0.05)


@pytest.mark.slow
def test_a_rival_that_is_missing_somewhere_is_told_of_the_workloads_that_it_has() -> None:
    fewer = {**RUNS, "mnist": {name: RUNS["mnist"][name] for name in ("sofim", "sgd")}}
    found = with_kinds(made(fewer))
    assert "on the mean of 2 to 3 workloads" in kinds.sentences(by_kind(found))[0]


@pytest.mark.slow
def test_a_loss_on_all_workloads_together_to_what_is_a_case_of_it_is_not_counted() -> None:
    runs = {w: {"sofim": [[0.3], [0.5], [0.4]], "sgd": [[0.6], [0.7], [0.8]]} for w in ("mnist", "adult", "poisson")}
    found = with_kinds(made(runs))
    studies = [s if s.optimizer == "sgd" else dataclasses.replace(s, parameters=dict(SOFIM)) for s in found.studies]
    said = kinds.sentences(by_kind(dataclasses.replace(found, studies=studies)))
    assert not any("behind sgd" in text for text in said)
    assert "was too small: sgd on the mean (0 % [0, " in said[0]


def test_a_loss_to_what_is_a_case_of_it_is_told_and_not_counted() -> None:
    found = with_kinds(made({"mnist": {"sofim": LOW, "sgd": HIGH}}))
    studies = [s if s.optimizer == "sgd" else dataclasses.replace(s, parameters=dict(SOFIM)) for s in found.studies]
    said = kinds.sentences(by_kind(dataclasses.replace(found, studies=studies)))
    assert "sofim is not told apart from sgd. Not counted, " in said[-1]
    assert "was too small: sgd on mnist (gain -0.3" in said[-1]


@pytest.mark.slow
def test_seen_from_the_other_side_it_is_the_opposite() -> None:
    found = with_kinds(made(RUNS))
    ours, theirs = by_kind(found), by_kind(found, "sgd")
    one = ours[ours["baseline"] == "sgd"].set_index("kind")
    two = theirs[theirs["baseline"] == "sofim"].set_index("kind")
    assert one["better"].tolist() == two["worse"].tolist()
    assert one["worse"].tolist() == two["better"].tolist()


@pytest.mark.slow
def test_what_cannot_be_told_is_said() -> None:
    once = {w: {o: searches[0] for o, searches in own.items()} for w, own in RUNS.items()}
    said = kinds.sentences(by_kind(with_kinds(made(once))))
    few = "fewer than 3 searches of each were confirmed on"
    assert said[1] == f"Beyond images (table and physics): cannot be told, for {few} adult and poisson."
    said = kinds.sentences(by_kind(with_kinds(made({**RUNS, "adult": once["adult"]}))))
    assert said[1].endswith(f" Of these, {few} adult, which tells nothing of optimizers.")
    said = kinds.sentences(by_kind(made(RUNS)))
    assert said[0] == "What holds beyond images cannot be told: their kind is not stored."
    assert kinds.sentences(by_kind(with_kinds(made({"mnist": {"sofim": [], "sgd": []}}))))[0].startswith(
        "Cannot be told"
    )


@pytest.mark.slow
def test_workloads_none_of_which_are_images_are_beyond_images() -> None:
    found = with_kinds(made({name: RUNS[name] for name in ("adult", "poisson")}))
    said = kinds.sentences(by_kind(found))
    assert said[0].startswith("Beyond images (table and physics), sofim is ")
    assert not any(text.startswith("On all workloads") for text in said), "they are the same"


def test_a_regret_that_is_not_known_moves_no_other_one() -> None:
    rows = [
        ("sofim", 1, math.nan, math.nan, math.nan, 0),
        ("sofim", 2, 0.25, 0.2, 0.3, 2),
        ("sofim", 3, 0.1, 0.05, 0.15, 2),
    ]
    regrets = pd.DataFrame([(*row, 3, "runs") for row in rows], columns=list(defaults.REGRETS))
    text = defaults.sentences(regrets, pd.DataFrame(columns=list(defaults.TYPED)), "sofim", 3)[0]
    assert "the mean regret of the default of sofim is not known on 0 of 3 workloads" in text
    assert "of two and three tried in turn 0.25 [0.20, 0.30] on 2 and 0.10 [0.05, 0.15] on 2" in text


@pytest.mark.slow
def test_seconds_are_told_where_each_run_was_alone_and_not_elsewhere() -> None:
    slow, fast = [[0.9, 0.8]] * 5, [[0.9, 0.81]] * 5
    found = with_kinds(made({"mnist": {"sofim": fast, "sgd": slow}}, speed={"sgd": 5.0}, targets={"mnist": 0.7}))
    contests, rng = found.contests(), np.random.default_rng(0)
    times, ratios = time_to_target(contests, rng)
    table = seconds.seconds_to_target(contests, times, ratios, "sofim")
    rows = table.set_index("optimizer")
    assert rows.loc["sgd", "verdict"] == "slower"
    pair = ratios.query("axis == 'seconds' and a == 'sofim' and b == 'sgd'").iloc[0]
    assert rows.loc["sgd", "ratio"] == pytest.approx(pair["restricted_ratio"])
    said = seconds.sentences(table, contests, "sofim")
    assert said[0].startswith("In seconds to the target, sofim is faster than sgd on 1 of 1 workload (mnist ")
    assert said[-1] == "Other programs kept at most 0.1 of 2 cores busy during those on mnist."
    once = made({"mnist": {"sofim": fast[:1], "sgd": slow[:1]}}, speed={"sgd": 5.0}, targets={"mnist": 0.7})
    few = with_kinds(once).contests()
    said = seconds.sentences(table, few, "sofim")
    assert said[0].startswith(
        "In seconds to the target, the configuration found for sofim is faster than that of sgd on 1"
    )
    assert "of the optimizers that tells nothing, for which it takes 3 searches of each." in said[0]
    unknown = table.assign(other_cores=math.nan, verdict="")
    said = seconds.sentences(pd.concat([table, unknown.assign(workload="adult")]), contests, "sofim")
    assert said[0].startswith("In seconds to the target, sofim is faster than sgd on 1 of 1 workload (mnist ")
    assert said[1] == "Whether sofim is faster than sgd (adult) cannot be told: no interval of the ratio is known."
    assert said[-2:] == [
        "Other programs kept at most 0.1 of 2 cores busy during those on mnist.",
        "How busy other programs were during those on adult is not stored.",
    ]
    alone = seconds.seconds_to_target(contests, times, ratios.iloc[:0], "sofim")
    assert set(alone["verdict"]) == {""}
    assert not any("not told apart" in text for text in seconds.sentences(alone, contests, "sofim"))
    runs = contests[0].runs.assign(other_cores=[math.nan, *contests[0].runs["other_cores"][1:]])
    [hidden] = [dataclasses.replace(contests[0], runs=runs)]
    assert seconds.seconds_to_target([hidden], times, ratios, "sofim")["other_cores"].isna().all()
    found.confirmations["exclusive"] = False
    contests = found.contests()
    table = seconds.seconds_to_target(contests, *time_to_target(contests, rng), "sofim")
    said = seconds.sentences(table, contests, "sofim")
    assert said == ["Seconds cannot be told on mnist (runs shared a device)."]


@pytest.mark.slow
def test_widths_differ_only_where_their_intervals_do_not_meet() -> None:
    def of_rate(steep: float):
        return lambda ratio, rho: 0.9 - steep * (ratio + rho + 1) ** 2

    made_of = {"sofim": 0.3, "sgd": 0.03}
    every = [planted(w, of_rate(steep), optimizer=name) for name, steep in made_of.items() for w in ("u", "v")]
    table = sensitivities.sensitivities(every)
    rates = table[table["role"] == "η"].set_index(["optimizer", "workload"])
    assert rates.loc[("sgd", "u"), "width_low"] > rates.loc[("sofim", "u"), "width_high"]
    against = sensitivities.versus(table, "sofim").set_index("role")
    assert against.loc["η", ["workloads", "wider", "narrower"]].tolist() == [2, 0, 2]
    text = " ".join(sensitivities.sentences(table, sensitivities.versus(table, "sofim"), "sofim"))
    assert (
        "Moved alone, η of sofim has a near-optimal stretch narrower than sgd's on 2 of 2 workloads (u and v)" in text
    )


def with_parameters(surrogate: SurrogateStudy, *names: str, searched: dict | None = None) -> SurrogateStudy:
    """The same trials under other names of lr and rho."""
    made_of = [dataclasses.replace(one, name=name) for one, name in zip(surrogate.parameters, names, strict=True)]
    study = dataclasses.replace(surrogate.study, parameters={one.name: one for one in made_of} | (searched or {}))
    return dataclasses.replace(surrogate, study=study, parameters=made_of)


@pytest.mark.slow
def test_of_two_parameters_of_one_role_the_first_counts() -> None:
    sofim = planted("u", ridge(0.0))
    beta = dataclasses.replace(SOFIM["rho"], name="beta")
    space = from_space(muon_space.SPACE.to_dict())
    muon = with_parameters(planted("u", ridge(0.0), optimizer="muon"), "beta1", "momentum", searched=space)
    assert {"beta1", "momentum"} <= {*space}
    table = sensitivities.sensitivities([with_parameters(sofim, "lr", "beta", searched={"beta": beta}), muon])
    assert table[table["optimizer"] == "muon"]["parameter"].tolist() == ["lr", "momentum", "batch_size"]
    against = sensitivities.versus(table, "sofim").set_index("role")
    assert against.loc["β", ["baseline", "workloads"]].tolist() == ["muon", 1]


def test_widths_of_unequal_losses_or_units_are_not_compared() -> None:
    names = ["role", "optimizer", "workload", "loss_percent", "unit", "width", "width_low", "width_high"]

    def compared(theirs: tuple[float, str]) -> list[int]:
        rows = [("η", "sofim", "u", 5.0, "decades", 2.0, 1.8, 2.2), ("η", "sgd", "u", *theirs, 1.0, 0.9, 1.1)]
        return sensitivities.versus(pd.DataFrame(rows, columns=names), "sofim").loc[0, ["compared", "wider"]].tolist()

    assert compared((5.0, "decades")) == [1, 1]
    assert compared((10.0, "decades")) == compared((5.0, "share of 0.1 to 1")) == [0, 0]


@pytest.mark.slow
def test_only_widths_of_one_unit_and_loss_are_drawn_on_one_axis() -> None:
    names = ["role", "optimizer", "workload", "loss_percent", "unit", "width", "width_low", "width_high"]
    rows = [
        ("η", "sofim", "u", 5.0, "decades", 2.0, 1.8, 2.2),
        ("η", "sgd", "u", 10.0, "decades", 1.0, 0.9, 1.1),
        ("η", "adamw", "u", 5.0, "share of 0.1 to 1", 0.5, 0.4, 0.6),
    ]
    drawn_of = Atlas("sofim", "", (), {"sensitivity": pd.DataFrame(rows, columns=names)})
    drawn = figures.widths(drawn_of, looks_in(Comparison({}, [], "", made(RUNS).contests())))
    assert [panel.name for panel in drawn.panels] == ["lr", "lr-2", "lr-3"]
    assert [panel.figure.axes[0].get_xlabel() for panel in drawn.panels] == [
        "near-optimal width of η at 5 % loss, decades",
        "near-optimal width of η at 10 % loss, decades",
        "near-optimal width of η at 5 % loss, share of 0.1 to 1",
    ]


@pytest.mark.slow
def test_what_was_searched_with_too_few_trials_cannot_be_told_and_it_says_why() -> None:
    few = planted("u", ridge(0.0), count=12)
    table = sensitivities.sensitivities([few, planted("v", ridge(0.0))])
    text = sensitivities.sentences(table, sensitivities.versus(table, "sofim"), "sofim")
    assert "of 1 workload" in text[0]
    lost = "How much η and ρ matter to sofim cannot be told on u, where 12 trials are too few, at least 20 are needed."
    assert lost in text, "once, for both"
    table = sensitivities.sensitivities([few])
    [rate] = sensitivities.sentences(table, sensitivities.versus(table, "sofim"), "sofim")
    assert rate.startswith("How much η and ρ matter to sofim cannot be told on u, where 12 trials are too few")
    none = sensitivities.sensitivities([with_parameters(few, "a", "b")])
    [said] = sensitivities.sentences(none, sensitivities.versus(none, "sofim"), "sofim")
    assert said.startswith("Cannot be told: sofim searched none of")


def evaluated(rows: list[tuple[str, dict, list[float | str]]]) -> Evaluated:
    listed = [
        (study, "complete" if isinstance(value, float) else value, value if isinstance(value, float) else math.nan,
         given, seed)
        for study, given, values in rows
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return Evaluated(pd.DataFrame(listed, columns=["study", "outcome", "value", "evaluates", "seed"]))


@pytest.mark.slow
def test_a_default_left_out_is_set_beside_what_people_type_by_runs_on_fresh_seeds() -> None:
    ours = [planted(w, ridge(best)) for w, best in (("u", 0.0), ("v", 0.2), ("w", 0.1))]
    theirs = [planted(one.study.workload, ridge(0.0), optimizer="sgd") for one in ours]
    surrogates = [*ours, *theirs]
    trials = pd.concat([one.used.trials.assign(study=one.study.name) for one in surrogates], ignore_index=True)
    none = pd.DataFrame({"study": [], "outcome": [], "value": [], "confirms": []})
    [before, _] = recommend(surrogates, trials, none)
    typed = {AS_TYPED: "SGD(lr=0.1, momentum=0.9)", "batch_size": 64}
    good, bad = [0.90, 0.901, 0.899], [0.5, 0.51, 0.49]
    rows = [(one.study.name, chosen.params, good) for one in ours for chosen in before.workloads.values()]
    beside = {"u": bad, "v": [0.9, 0.902, 0.898], "w": [0.9, "diverged", 0.9]}
    rows += [(one.study.name, typed, beside[one.study.workload]) for one in theirs]
    known = evaluated(rows)
    [after, _] = recommend(surrogates, trials, none, measured=known)
    table = defaults.against_typed(after, surrogates, known).set_index("workload")
    assert table["verdict"].tolist() == ["better", "no difference shown", "no difference shown"]
    assert table.loc["u", "gain"] == pytest.approx(0.4)
    assert table.loc["w", "gain"] == pytest.approx(0.9 - (1.8 + common_start([*ours, *theirs])) / 3, abs=1e-6)
    assert all(source != workload for workload, source in table["default_from"].items())
    regrets = defaults.left_out_regrets([after])
    assert regrets["tried"].tolist() == [1, 2], "of three workloads two others recommend"
    assert regrets["regret"].is_monotonic_decreasing
    text = defaults.sentences(regrets, table.reset_index(), "sofim", 3)[-1]
    assert "better on 1 (u: gain 0.4" in text
    assert (
        "no difference shown on 2, of 3 workloads: 1 short of two thirds of them; in the mean it is better on" in text
    )
    assert "sofim evaluate runs it" in defaults.sentences(regrets, table.iloc[:0], "sofim", 3)[-1]


def test_the_optimizer_in_question_is_the_campaigns_first_or_the_one_asked_for() -> None:
    compared = Comparison({}, [], "", made(RUNS).contests())
    assert reference_of(compared) == "sofim"
    assert reference_of(compared, "adamw") == "adamw"
    with pytest.raises(UserError, match=r"--about sgdd: the campaign has sofim, sgd, adamw; did you mean sgd\?"):
        reference_of(compared, "sgdd")


@pytest.mark.parametrize("adam", [[[0.6] * 5], [[0.6] * 5] * 3])
def test_a_chance_is_of_workloads_on_which_all_were_searched_often_enough(adam: list[list[float]]) -> None:
    found = with_kinds(
        made(
            {
                "mnist": {"sofim": HIGH, "sgd": LOW, "adam": HIGH},
                "adult": {"sofim": [[0.9] * 5, [0.1] * 5, [0.1] * 5], "sgd": [[0.5] * 5] * 3, "adam": adam},
            }
        )
    )
    row = by_kind(found).set_index(["kind", "baseline"]).loc[("all", "sgd")]
    assert row["searched_on"] == (2 if len(adam) == 3 else 1)
    assert row["chance"] == pytest.approx((1 + 1 / 3) / 2 if len(adam) == 3 else 1.0)


def test_who_misses_a_target_and_how_busy_a_machine_was_is_told_in_its_own_units() -> None:
    runs = {"mnist": {"sofim": [[0.9, 0.9, 0.9], [0.9, 0.5, 0.5], [0.9, 0.5, 0.5]], "sgd": [[0.9] * 3] * 3}}
    contests = with_kinds(made(runs, targets={"mnist": 0.8})).contests()
    times, ratios = time_to_target(contests, np.random.default_rng(0))
    said = seconds.sentences(seconds.seconds_to_target(contests, times, ratios, "sofim"), contests, "sofim")
    assert "Fewer than half of the searches reach the target: sofim on mnist." in said, "five of its nine runs do"
    both = made({w: {"sofim": [0.9, 0.91], "sgd": [0.8, 0.81]} for w in ("mnist", "adult")},
                targets={"mnist": 0.5, "adult": 0.5})  # fmt: skip
    large = both.confirmations["workload"] == "mnist"
    both.confirmations.loc[large, ["other_cores", "cores"]] = [10.0, 64]
    both.confirmations.loc[~large, ["other_cores", "cores"]] = [0.5, 4]
    contests = with_kinds(both).contests()
    times, ratios = time_to_target(contests, np.random.default_rng(0))
    said = seconds.sentences(seconds.seconds_to_target(contests, times, ratios, "sofim"), contests, "sofim")
    assert "Other programs kept at most 10 of 64 cores busy during those on mnist." in said
    assert "Other programs kept at most 0.5 of 4 cores busy during those on adult." in said
