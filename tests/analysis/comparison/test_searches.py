"""Optimizers are compared over repeated searches: by hand, in any order, under any name, and how often wrongly."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.comparison.inclusion import inclusion
from analysis.comparison.pairwise import comparisons
from analysis.comparison.searches import components, level, means, redrawn, variance
from analysis.intervals import found_apart, probability_interval
from analysis.study import Study
from analysis.text import number as in_words
from tests.support.made_campaign import Made, made

Searches = list[list[float | str]]


def drawn(centre: float, seed: int, *, searches: int = 3, seeds: int = 3, between: float = 0.003) -> Searches:
    """Runs of the winners of several searches, on which the winner found is part of the noise."""
    rng = np.random.default_rng(seed)
    winners = centre + between * rng.standard_normal(searches)
    return [list(middle + 0.006 * rng.standard_normal(seeds)) for middle in winners]


def only(campaign: Made) -> pd.Series:
    return comparisons(campaign.contests()).iloc[0]


def test_the_verdict_is_welchs_on_the_means_of_searches() -> None:
    runs = {"w": {"sofim": [[0.9, 0.8], [0.7, 0.8], [0.9, 0.9]], "sgd": [[0.5], [0.6, 0.6], [0.52, 0.54]]}}
    row = only(made(runs))
    a, b = [0.85, 0.75, 0.9], [0.5, 0.6, 0.53]
    known = stats.ttest_ind(a, b, equal_var=False)
    assert row["difference"] == pytest.approx(np.mean(a) - np.mean(b))
    assert row["p"] == pytest.approx(known.pvalue)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert (row["verdict"], row["configurations"], row["unit"]) == ("better", "", "searches")
    assert (row["searches_a"], row["searches_b"], row["runs_a"], row["runs_b"]) == (3, 3, 6, 5)


def test_fewer_than_three_searches_on_a_side_say_nothing_of_the_optimizers() -> None:
    one = drawn(0.9, 1)
    for other in (drawn(0.5, 2)[:1], drawn(0.5, 2)[:2]):
        row = only(made({"w": {"sofim": one, "sgd": other}}))
        assert (row["verdict"], row["configurations"]) == ("no difference shown", "better")
        assert row["runs_a"] == 9
        assert row["difference"] == pytest.approx(np.mean(one[0]) - np.mean(other[0]), abs=1e-12)


def test_searches_that_scatter_hide_what_ten_seeds_of_each_would_show() -> None:
    """Two optimizers with the same winners: seeds alone would tell the first searches apart."""
    found = [[0.97 + 0.0001 * n for n in range(10)], [0.96 + 0.0001 * n for n in range(10)],
             [0.98 + 0.0001 * n for n in range(10)]]  # fmt: skip
    row = only(made({"w": {"sofim": found, "sgd": found[::-1]}}))
    assert row["verdict"] == "no difference shown"
    assert row["p"] == pytest.approx(1)
    once = only(made({"w": {"sofim": found[:1], "sgd": found[::-1][:1]}}))
    assert (once["verdict"], once["configurations"]) == ("no difference shown", "worse")


@pytest.mark.slow
def test_on_a_logarithmic_scale_the_gain_is_a_ratio_and_both_views_agree() -> None:
    small: Searches = [[1e-6, 1e-5], [1e-5, 1e-5], [1e-6, 1e-6]]
    large: Searches = [[1e-2, 1e-2], [1e-3, 1e-2], [1e-2, 1e-1]]
    found = made({"w": {"sofim": large, "sgd": small}}, direction="minimize")
    found.studies = [dataclasses.replace(s, attributes={**s.attributes, "metric_scale": "log"}) for s in found.studies]
    row = only(found)
    means_of_logs = [np.log(runs).mean() for runs in large], [np.log(runs).mean() for runs in small]
    assert row["difference"] == pytest.approx(np.mean(means_of_logs[0]) - np.mean(means_of_logs[1]))
    assert row["gain"] == pytest.approx(math.exp(-row["difference"]))
    assert row["gain_low"] < row["gain"] < row["gain_high"] < 1
    text = "\n".join(found.compare().sentences)
    assert "(sgd: 3200 times better [" in text, "sofim contains sgd"
    assert " times better [" in text
    assert " -" not in text, "no signed difference of a metric that is to be small"


def changed(found: Made, **attributes: object) -> Made:
    studies = [dataclasses.replace(s, attributes={**s.attributes, **attributes}) for s in found.studies]
    return Made(studies, found.trials, found.confirmations, found.curves)


def campaign(names: Sequence[str] = ("sgd", "adam", "lion"), *, sign: float = 1.0, offset: float = 0.0) -> Made:
    """Three optimizers on two workloads; values turned round or shifted."""
    centres = {"u": (0.97, 0.95, 0.93), "v": (0.9, 0.9, 0.8)}
    runs = {
        w: {
            name: [[sign * float(v) + offset for v in one] for one in drawn(centre, 7 * place + "uv".index(w))]
            for place, (name, centre) in enumerate(zip(names, own, strict=True))
        }
        for w, own in centres.items()
    }
    return made(runs, direction="maximize" if sign > 0 else "minimize")


def judged(found: Made) -> dict[tuple[str, str, str], tuple[str, float]]:
    """By workload and pair, seen from whoever comes first in the alphabet: verdict and p."""
    turned = {"better": "worse", "worse": "better"}
    result = {}
    for row in comparisons(found.contests()).to_dict("records"):
        straight = row["a"] < row["b"]
        said = row["verdict"] if straight else turned.get(row["verdict"], row["verdict"])
        result[(row["workload"], *sorted((row["a"], row["b"])))] = (said, round(row["p_holm"], 9))
    return result


@pytest.mark.slow
def test_order_sign_offset_and_names_change_no_verdict() -> None:
    first = judged(campaign())
    assert {said for said, _ in first.values()} == {"better", "worse", "no difference shown"}
    assert judged(campaign().shuffled(3)) == first
    turned = campaign()
    turned.studies = turned.studies[::-1]
    assert judged(turned) == first
    assert judged(campaign(sign=-1.0, offset=2.0)) == first
    assert judged(campaign(offset=-0.3)) == first
    renamed = judged(campaign(("zz", "m", "a")))
    back = {"zz": "sgd", "m": "adam", "a": "lion"}
    flip = {"better": "worse", "worse": "better"}
    for (workload, a, b), (said, p) in renamed.items():
        one, two = back[a], back[b]
        expected, p_first = first[(workload, *sorted((one, two)))]
        assert p == pytest.approx(p_first)
        assert said == (expected if one < two else flip.get(expected, expected))


@pytest.mark.slow
def test_one_optimizer_under_three_names_differs_from_nobody() -> None:
    same = drawn(0.97, 5)
    found = made({w: {"sgd": same, "adam": same, "lion": same} for w in ("u", "v")})
    assert set(comparisons(found.contests())["p"]) == {1.0}
    assert not any("better" in text for text in found.compare().sentences)


def test_how_often_one_is_better_has_an_interval_over_what_was_repeated() -> None:
    searches = [[0.9, 0.91, 0.92], [0.905, 0.91, 0.92], [0.9, 0.915, 0.92]]
    apart = {"w": {"sgd": searches, "adam": [[value - 0.1 for value in one] for one in searches]}}
    row = only(made(apart))
    assert row["unit"] == "searches"
    assert (row["probability_low"], row["probability_high"]) == probability_interval(1.0, 3, 3, row["level"])
    once = only(made({"w": {name: own[:1] for name, own in apart["w"].items()}}))
    assert (once["runs_a"], once["probability_low"]) == (3, probability_interval(1.0, 3, 3, once["level"])[0])


@pytest.mark.slow
def test_the_same_runs_twice_are_no_more_evidence() -> None:
    runs = {"w": {"sgd": drawn(0.97, 1), "adam": drawn(0.96, 2)}}
    once, again = made(runs), made(runs)
    copies = again.confirmations.assign(number=again.confirmations["number"] + 100)
    again.confirmations = pd.concat([again.confirmations, copies], ignore_index=True)
    assert judged(again) == judged(once)
    for end in ("probability_low", "probability_high"):
        assert only(again)[end] == pytest.approx(only(once)[end]), "nor of who is better how often"
    single = {"w": {name: own[:1] for name, own in runs["w"].items()}}
    once, again = made(single), made(single)
    copies = again.confirmations.assign(number=again.confirmations["number"] + 100)
    again.confirmations = pd.concat([again.confirmations, copies], ignore_index=True)
    assert judged(again) == judged(once), "neither are they of two configurations"


def test_a_search_that_is_a_copy_of_another_is_no_second_search() -> None:
    one, two = drawn(0.97, 1), drawn(0.95, 2)
    tuned = {"w": {"sgd": [0.5, 0.6, 0.7], "adam": [0.5, 0.6, 0.7]}}  # of each search the same
    row = only(made({"w": {"sgd": one, "adam": two}}, trials=tuned))
    assert (row["searches_a"], row["searches_b"], row["unit"]) == (1, 1, "runs of two configurations")


def test_a_search_without_a_complete_trial_counts_as_the_worst() -> None:
    found = made({"w": {"sgd": [[0.9, 0.91], [0.9, 0.92], []], "adam": [[0.8], [0.81], [0.82]]}})
    broken = found.trials["study"] == "made/w/sgd/replicate-3"
    found.trials.loc[broken, ["outcome", "value"]] = ["diverged", math.nan]
    [contest] = found.contests()
    assert means(contest, contest.studies[0]).tolist() == pytest.approx([0.905, 0.91, 0.8])
    assert only(found)["verdict"] == "no difference shown"


@pytest.mark.slow
def test_a_superset_that_loses_over_searches_cancels_the_claim() -> None:
    found = made(
        {"w": {"sofim": drawn(0.90, 1), "sgd": drawn(0.97, 2), "adam": drawn(0.90, 3), "adamw": drawn(0.8, 4)}}
    )
    table = comparisons(found.contests())
    rows = table.set_index(["a", "b"])
    assert rows.loc[("sofim", "sgd"), "verdict"] == rows.loc[("adam", "adamw"), "verdict"] == "no difference shown"
    assert rows.loc[("sgd", "adam"), "verdict"] == "better", "neither contains the other"
    assert "SGD with momentum" in rows.loc[("sofim", "sgd"), "cancelled"]
    judged = inclusion(found.contests(), table)
    too_small = judged.loc[judged["verdict"] == "search too small", ["larger", "smaller"]].to_numpy().tolist()
    assert too_small == [["sofim", "sgd"], ["adamw", "adam"]]
    text = found.compare().sentences
    assert [sentence.split(" (")[0] for sentence in text[:2]] == ["sofim contains sgd", "adamw contains adam"]
    assert not any("sgd is better than sofim" in sentence or "worse on" in sentence for sentence in text)


@pytest.mark.slow
def test_variance_divides_as_the_analysis_of_variance_says() -> None:
    rng = np.random.default_rng(0)
    winners = 3.0 * rng.standard_normal(4000)
    groups = [np.array([w, w]) + rng.standard_normal(2) for w in winners]
    between, within = components([groups])
    assert (between, within) == (pytest.approx(9, rel=0.1), pytest.approx(1, rel=0.1))
    unequal = [np.full(n, w) + rng.standard_normal(n) for w, n in zip(winners, [1, 2, 5] * 1333, strict=False)]
    assert components([unequal]) == (pytest.approx(9, rel=0.1), pytest.approx(1, rel=0.1))
    shifted = [[values + shift for values in groups] for shift in (0.0, 100.0)]
    assert components(shifted) == (pytest.approx(between), pytest.approx(within)), (
        "how far optimizers are apart is not in it"
    )
    assert components([[np.array([1.0, 2.0]), np.array([1.0, 2.0])]])[0] == 0
    assert math.isnan(components([[np.array([1.0, 2.0])]])[0])
    table = variance(made({"w": {"sgd": drawn(0.9, 1), "adam": drawn(0.8, 2)}}).contests())
    assert table["optimizer"].tolist() == ["sgd", "adam", "all optimizers"]
    assert table["runs"].tolist() == [9, 9, 18]


@pytest.mark.slow
def test_the_sentence_on_variance_has_the_numbers_of_the_table() -> None:
    found = made({"w": {"sgd": drawn(0.9, 1, between=0.03), "adam": drawn(0.8, 2, between=0.03)}}).compare()
    row = found.tables["variance"].iloc[-1]
    [sentence] = [text for text in found.sentences if "another search moves" in text]
    assert f"a standard deviation of {row['sd_searches']:.2g}, another seed by {row['sd_seeds']:.2g}" in sentence
    assert "(6 searches, 18 runs)" in sentence


def told_of_power(found: Made) -> str:
    return next((text for text in found.compare().sentences if text.startswith("If all optimizers scatter so")), "")


def test_who_is_not_told_apart_hears_how_far_apart_is_far_enough() -> None:
    """A campaign is simulated with the scatter and the difference of the sentence: four in five find it."""
    runs = {name: drawn(0.8, seed, between=0.03) for seed, name in enumerate(("sgd", "adam", "sofim"))}
    sentence = told_of_power(made({"w": runs}))
    three, six = (float(text) for text in re.findall(r"a difference of ([\d.]+)", sentence))
    assert f"with 3 searches of each, a difference of {six} with 6 (3 pairs compared)." in sentence
    row = made({"w": runs}).compare().tables["variance"].iloc[-1]
    scatter = math.sqrt(row["variance_searches"] + row["variance_seeds"] / 3)
    rng = np.random.default_rng(0)
    for searches, apart in ((3, three), (6, six)):
        a, b = scatter * rng.standard_normal((2, 20_000, searches)) + np.array([apart, 0.0])[:, None, None]
        found = stats.ttest_ind(a, b, axis=1, equal_var=False)
        assert ((found.pvalue < 0.05 / 3) & (found.statistic > 0)).mean() == pytest.approx(0.83, abs=0.05), "not less"


def test_what_could_be_found_follows_the_units_and_the_reach_of_the_metric() -> None:
    runs = {name: drawn(0.8, seed, between=0.03) for seed, name in enumerate(("sgd", "adam"))}
    [apart] = re.findall(r"a difference of ([\d.]+) in test accuracy is", told_of_power(made({"w": runs})))
    percent = {name: [[100 * value for value in search] for search in every] for name, every in runs.items()}
    [in_percent] = re.findall(r"a difference of ([\d.]+) in", told_of_power(made({"w": percent})))
    assert float(in_percent) == pytest.approx(100 * float(apart), rel=0.06), "two digits"
    scattered = {name: [[0.05, 0.06], [0.5, 0.52], [0.95, 0.94]] for name in ("sgd", "adam")}
    assert "no possible difference in test accuracy is found in at least 80 %" in told_of_power(made({"w": scattered}))
    far = {"sgd": drawn(0.9, 1), "adam": drawn(0.2, 2)}
    assert told_of_power(made({"w": far})) == "", "all are told apart"
    alike = {name: [[0.5, 0.5]] * 3 for name in ("sgd", "adam")}
    assert told_of_power(made({"w": alike})) == "", "nothing varies"
    apart = {"sgd": [[0.5, 0.5]] * 3, "adam": [[0.9, 0.9]] * 3}
    assert told_of_power(made({"w": apart})) == "", "nor here, and no difference would do"
    broke = {name: [[*every[0], "diverged"], *every[1:]] for name, every in runs.items()}
    assert told_of_power(made({"w": broke})) == "", "a difference takes more where runs broke"
    once = {name: every[:1] for name, every in runs.items()}
    assert told_of_power(made({"w": once})) == "", "nothing is said of optimizers"


def test_a_factor_that_could_be_found_is_not_rounded_to_one_that_could_not() -> None:
    """Of a factor of 1.014 that is told as 1.01 the test finds 53 %."""
    rng = np.random.default_rng(3)
    runs = {name: (3e-4 * np.exp(0.005 * rng.standard_normal((10, 2)))).tolist() for name in ("sgd", "adam")}
    found = made({"w": runs}, direction="minimize")
    found.studies = [dataclasses.replace(s, attributes={**s.attributes, "metric_scale": "log"}) for s in found.studies]
    row = found.compare().tables["variance"].iloc[-1]
    enough = math.exp(math.sqrt(row["variance_searches"] + row["variance_seeds"] / 2) * found_apart(10))
    [told] = re.findall(r"a factor of ([\d.]+) in .* with 10 searches", told_of_power(found))
    assert 1.001 < enough <= float(told) < enough + 0.1 * (enough - 1)


def test_a_difference_beyond_all_that_was_seen_is_told_as_such() -> None:
    """Of a metric whose bounds are not stored nobody knows what is possible."""
    returns = [[15.0, 20.0], [480.0, 495.0], [200.0, 260.0]]
    sentence = told_of_power(made({"w": dict.fromkeys(("sgd", "adam", "lion"), returns)}))
    assert "No two of these runs are further apart than 480" in sentence
    assert "further apart" not in told_of_power(made({"w": {name: drawn(0.8, 1) for name in ("sgd", "adam")}}))


def test_who_contains_another_is_found_on_one_side_alone() -> None:
    runs = {name: drawn(0.8, seed, between=0.03) for seed, name in enumerate(("sofim", "sgd"))}
    one_sided = "Of two of which one contains the other, it is found where the larger is the better."
    assert one_sided in told_of_power(made({"w": runs}))
    assert one_sided not in told_of_power(made({"w": {"adam": runs["sgd"], "sgd": runs["sofim"]}}))


def topped(centres: Sequence[float], seed: int, **campaign: object) -> Made:
    """Two random searches of 30 trials, the best five of each confirmed on two seeds."""
    rng = np.random.default_rng(seed)
    trials, confirmed = {}, []
    names = ("sgd", "adam")
    for name, centre in zip(names, centres, strict=True):
        trials[name] = list(centre - 0.02 * rng.exponential(size=30))
    found = made({"w": {name: [0.5, 0.5] for name in names}}, trials={"w": trials}, trials_asked=30, **campaign)
    template = found.confirmations.drop_duplicates("study").set_index("study")
    for name in names:
        order = np.argsort(-np.array(trials[name]))[:5]
        for place, number in enumerate(order, start=1):
            for at in range(2):
                value = trials[name][number] + 0.003 * rng.standard_normal()
                row = template.loc[f"made/w/{name}"].to_dict() | {
                    "study": f"made/w/{name}", "number": 2 * place + at - 2, "confirms": int(number), "rank": place,
                    "value": value, "test_metric": value, "seed": 1000 + at,
                }  # fmt: skip
                confirmed.append(row)
    found.confirmations = pd.DataFrame(confirmed)[found.confirmations.columns].astype(found.confirmations.dtypes)
    return found


def test_what_another_random_search_would_have_found_is_told_from_its_own_trials() -> None:
    found = topped((0.95, 0.85), 0)
    [contest] = found.contests()
    assert contest.below["place"].tolist() == [2, 2, 3, 3, 4, 4, 5, 5] * 2
    row = only(found)
    assert (row["unit"], row["verdict"], row["configurations"]) == ("trials and seeds", "better", "")
    assert only(topped((0.95, 0.95), 0))["verdict"] == "no difference shown"
    told = redrawn(contest, contest.studies[0])
    assert told is not None
    assert told.configurations == 5
    sample = np.random.default_rng(1)
    values = {0: contest.by_search(contest.studies[0])[1].mean()}
    for place, own in contest.below[contest.below["study"] == "made/w/sgd"].groupby("place"):
        values[int(str(place)) - 1] = own["test"].mean()
    best = np.minimum(sample.integers(30, size=(20000, 30)).min(axis=1), 4)
    assert told.estimate == pytest.approx(np.mean([values[one] for one in best]), abs=2e-4), "a bootstrap of trials"


def test_runs_up_that_all_tie_are_no_certainty() -> None:
    found = topped((0.95, 0.85), 0)
    for column in ("value", "test_metric"):
        found.confirmations[column] = np.where(found.confirmations["study"] == "made/w/sgd", 0.95, 0.94)
        found.confirmations.loc[found.confirmations["rank"] == 5, column] -= 0.01
    row = only(found)
    assert row["unit"] == "trials and seeds"
    assert 0 < row["p"] < 1


@pytest.mark.parametrize("how", [{"sampler": "tpe"}, {"pruner": "hyperband"}])
def test_a_search_that_learns_or_stops_cannot_be_drawn_again(how: dict[str, str]) -> None:
    row = only(topped((0.95, 0.85), 0, **how))
    assert (row["unit"], row["verdict"], row["configurations"]) == (
        "runs of two configurations",
        "no difference shown",
        "better",
    )


def reached(found: Made, place: int = 0) -> tuple[float, float, float, str, str]:
    [contest] = found.contests()
    told = level(contest, contest.studies[place])
    return told.value, told.low, told.high, told.statistic, told.over


def test_what_an_interval_of_a_value_is_over_is_said() -> None:
    found = made({"w": {"sgd": [[0.9, 0.8], [0.7, 0.8], [0.8, 0.9]]}})
    value, low, high, statistic, over = reached(found)
    assert (value, statistic) == (pytest.approx(0.8166667), "mean")
    half = 4.30265 * np.std([0.85, 0.75, 0.85], ddof=1) / math.sqrt(3)
    assert (low, high) == (pytest.approx(value - half, rel=1e-4), pytest.approx(value + half, rel=1e-4))
    assert over == "3 searches of 2 seeds, one split of the data"
    assert reached(changed(found, resplit=True))[4] == "3 searches of 2 seeds, a split of the data each"
    assert reached(made({"w": {"sgd": [0.9, 0.8]}}))[4] == "2 seeds of one configuration, one split of the data"


def test_collapsed_runs_get_no_interval_and_their_median_is_told() -> None:
    for runs in ([0.98, 0.981, 0.1], [0.98, 0.981, 0.982, 0.979, 0.983, 0.978, 0.977, 0.1]):
        value, low, high, statistic, over = reached(made({"w": {"sgd": runs}}))
        assert (value, statistic) == (pytest.approx(np.mean(runs)), "mean")
        assert math.isnan(low)
        assert math.isnan(high)
        assert over.endswith(f"too far apart for an interval, their median is {in_words(float(np.median(runs)))}")


COLLAPSING: Searches = [[0.98] * 7 + [0.1, 0.1, 0.1, 0.1]]
UNITS: dict[str, dict[str, Searches]] = {
    # the median of sgd is the best, its mean is told worse than adam's
    "runs that collapse": {"sgd": COLLAPSING, "adam": [[0.95 + 0.001 * n for n in range(11)]], "lion": [[0.6] * 11]},
    # over its three searches sgd is first, of configurations of a first search it is last
    "one is searched less": {
        "sgd": [[0.7, 0.71], [0.95, 0.96], [0.97, 0.96]], "adam": [[0.9, 0.91]], "lion": [[0.8, 0.81]],
    },
    "searches": {"sgd": drawn(0.9, 1), "adam": drawn(0.96, 2), "lion": drawn(0.96, 3)},
}  # fmt: skip


def ranking(found: Made) -> tuple[list[tuple[object, ...]], list[str]]:
    """By optimizer rank, value and tie; and the sentences that name who is better than whom."""
    compared = found.compare()
    table = compared.tables["answer"].sort_values("optimizer")
    names = ("optimizer", "rank", "tied")
    rows = [tuple(row[name] for name in names) for row in table.to_dict("records")]
    return rows, [text for text in compared.sentences if " better " in text]


@pytest.mark.slow
@pytest.mark.parametrize("case", UNITS)
def test_nobody_is_told_better_than_who_is_first(case: str) -> None:
    found = made({"w": UNITS[case]})
    pairs = comparisons(found.contests())
    table = found.compare().tables["answer"]
    first = table["optimizer"].iloc[0]
    assert len(set(pairs["unit"])) == 1
    for pair in pairs.to_dict("records"):
        a, b = (table.set_index("optimizer").loc[pair[side], "value"] for side in "ab")
        said = pair["verdict"] if pair["unit"] == "searches" else pair["configurations"]
        assert pair["gain"] == pytest.approx(a - b), "the values that rank are those that are compared"
        assert said != ("worse" if pair["a"] == first else "better" if pair["b"] == first else "")
        if first in (pair["a"], pair["b"]):
            other = pair["b"] if pair["a"] == first else pair["a"]
            assert table.set_index("optimizer").loc[other, "tied"] == (said == "no difference shown")


@pytest.mark.nightly(by_day=["searches"])
@pytest.mark.slow
@pytest.mark.parametrize("case", UNITS)
def test_order_sign_offset_and_copies_of_rows_change_neither_ranks_nor_ties(case: str) -> None:
    runs = UNITS[case]
    first, sentences = ranking(made({"w": runs}))
    assert ranking(made({"w": dict(reversed(runs.items()))}).shuffled(1))[0] == first
    turned = {name: [[2 - float(v) for v in one] for one in own] for name, own in runs.items()}
    assert ranking(made({"w": turned}, direction="minimize"))[0] == first
    shifted = {name: [[float(v) - 0.05 for v in one] for one in own] for name, own in runs.items()}
    assert ranking(made({"w": shifted}))[0] == first
    again = made({"w": runs})
    copies = again.confirmations.assign(number=again.confirmations["number"] + 100)
    again.confirmations = pd.concat([again.confirmations, copies], ignore_index=True)
    assert ranking(again) == (first, sentences)


def test_values_over_decades_have_a_geometric_mean_and_no_negative_end() -> None:
    found = made({"w": {"sgd": [1e-6, 1e-4, 1e-5]}}, direction="minimize")
    found = changed(found, metric_scale="log")
    value, low, high, statistic, _ = reached(found)
    assert (value, statistic) == (pytest.approx(1e-5), "geometric mean")
    assert 0 < low < value < high


def test_no_study_of_a_search_is_compared_twice() -> None:
    found = made({"w": {"sgd": drawn(0.9, 1), "adam": drawn(0.9, 2)}})
    [contest] = found.contests()
    assert [study.name for study in contest.studies] == ["made/w/sgd", "made/w/adam"]
    assert contest.runs.groupby("study")["number"].nunique().tolist() == [9, 9]
    assert contest.runs["search"].value_counts().to_dict() == {1: 6, 2: 6, 3: 6}
    assert len(contest.curves) == 18 * 4
    names: list[Study] = [study for every in contest.searches.values() for study in every]
    assert len(names) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("direction", "chosen"), [("maximize", 2), ("minimize", 1)])
def test_the_hyperparameters_to_type_are_of_the_winner_that_is_best_on_fresh_seeds(direction: str, chosen: int) -> None:
    """Not of the first search, nor of the one that was luckiest in tuning; and test data have no say."""
    found = made({"w": {"sofim": [[0.5, 0.6], [0.8, 0.9], [0.6, 0.6]]}}, direction=direction)
    third = found.confirmations["study"] == "made/w/sofim/replicate-3"
    found.confirmations.loc[third, "test_metric"] = 0.99 if direction == "maximize" else 0.01
    [row] = found.compare().tables["leaderboard"].to_dict("records")
    assert row["search"] == chosen
    tuned = 0.7 + 0.001 * (chosen - 1) if direction == "maximize" else 0.5
    assert row["tuned"] == pytest.approx(tuned)


@pytest.mark.slow
def test_an_interval_ends_where_the_metric_does() -> None:
    """A mean return of 500 is the most there is."""
    found = made({"w": {"sofim": [[500.0], [100.0], [300.0]]}})
    [free] = found.compare().tables["leaderboard"].to_dict("records")
    assert free["test_low"] < 0 < 500 < free["test_high"]
    bounded = [dataclasses.replace(s, attributes={**s.attributes, "metric_bounds": [0, 500]}) for s in found.studies]
    [cut] = dataclasses.replace(found, studies=bounded).compare().tables["leaderboard"].to_dict("records")
    assert (cut["test"], cut["test_low"], cut["test_high"]) == (free["test"], 0, 500)
