"""The fairness ledger: kept where it was, and the thing that broke it named where it was not."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from analysis.comparison.fairness import fairness
from analysis.comparison.spaces import search_spaces, volume
from analysis.comparison.workload_runs import contests
from analysis.load import confirmations, curves, studies, trials
from analysis.parameters import ParameterInfo, from_space
from search_spaces import configured
from search_spaces.pruners import hyperband_sequence
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import make
from tests.support.made_campaign import Made, made

RUNS = {"w": {"sofim": [0.5 + n / 100 for n in range(10)], "sgd": [0.5] * 10}}


def ledger(campaign: Made) -> pd.DataFrame:
    return fairness(campaign.contests()).set_index("rule")


def test_a_campaign_that_kept_all_rules() -> None:
    found = ledger(made(RUNS))
    assert found.index.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert found["kept"].to_dict() == {1: "yes", 2: "yes", 3: "yes", 4: "no", 5: "yes", 6: "yes", 7: "yes"}
    assert found.loc[4, "problems"].startswith("searches that are confirmed: sofim 1, sgd 1, of 3 each")
    assert "3 trials each of 4 epochs" in found.loc[1, "evidence"]
    assert "sofim 1 parameter (4.0 decades)" in found.loc[1, "evidence"]
    assert "each alone on a device among this campaign's runs" in found.loc[3, "evidence"]
    assert "sgd: 3 complete (confirmation: 10 complete)" in found.loc[7, "evidence"]


@pytest.mark.slow
def test_data_that_are_not_those_published_are_told_and_so_is_a_confirmation_on_others() -> None:
    campaign = made(RUNS)
    data = {"dataset": "cifar10", "md5": {"a": "1", "b": "2"}, "not_published": ["a", "b"], "said": "JPEG copies"}
    told = "w: Not cifar10 as published: all 2 files have other content, of which its owner says: “JPEG copies”."
    campaign.studies[:] = [
        dataclasses.replace(study, attributes={**study.attributes, "data": data}) for study in campaign.studies
    ]
    assert told in campaign.compare().sentences
    assert ledger(campaign).loc[3, "kept"] == "yes"
    sgd = campaign.studies[1]
    campaign.studies[1] = dataclasses.replace(sgd, confirmation={**sgd.confirmation, "data": {"md5": {"b": "3"}}})
    assert "sgd was confirmed on other data (b)" in ledger(campaign).loc[3, "problems"]


def test_unequal_numbers_of_trials_are_named() -> None:
    found = ledger(made(RUNS, trials={"w": {"sgd": [0.5, 0.6]}}))
    assert found.loc[1, "kept"] == "no"
    assert found.loc[1, "evidence"].startswith("trials that ended, of 3 asked for: sofim 3, sgd 2")


def test_trials_that_still_run_are_no_trials_that_ended() -> None:
    running = {"w": {"sofim": [0.5, 0.6, "running"], "sgd": [0.5, 0.6, "running"]}}
    assert ledger(made(RUNS, trials=running)).loc[1, "kept"] == "no"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attributes": {"epochs": 9}}, "epochs differ: sofim 4, sgd 9"),
        ({"attributes": {"versions": {"torch": "y"}}}, "versions differ"),
        ({"campaign": {"schedule": "cosine"}}, "schedule differ: sofim constant, sgd cosine"),
        ({"campaign": {"seed": 7}}, "seed differ"),
        (
            {"attributes": {"schedule": "linear"}},
            "the schedule is constant, but linear after the same warm-up for sgd, whose method takes the place of a",
        ),
    ],
)
def test_anything_else_that_differs_is_named(changes: dict[str, dict[str, object]], named: str) -> None:
    campaign = made(RUNS)
    sgd = campaign.studies[1]
    merged = {field: {**getattr(sgd, field), **own} for field, own in changes.items()}
    campaign.studies[1] = dataclasses.replace(sgd, **merged)
    found = ledger(campaign)
    assert found.loc[1, "kept"] == "no"
    assert found.loc[1, "evidence"].startswith(named)


def test_an_optimizer_without_a_study_is_missing() -> None:
    found = ledger(made(RUNS, optimizers=["sofim", "sgd", "adam"]))
    assert found.loc[1, "evidence"].startswith("no study of adam")


def test_a_tuning_trial_with_a_test_value_breaks_the_second_rule() -> None:
    campaign = made(RUNS)
    assert ledger(campaign).loc[2, "kept"] == "yes"
    campaign.trials.loc[0, "tested"] = True
    found = ledger(campaign)
    assert found.loc[2, "kept"] == "no"
    assert found.loc[2, "evidence"].split(";")[0] == "1 tuning trial measured on test data"


def test_trials_of_another_seed_break_the_first_rule() -> None:
    campaign = made(RUNS)
    campaign.trials.loc[0, "seed"] = 7
    found = ledger(campaign)
    assert (found.loc[1, "kept"], found.loc[1, "evidence"].split(";")[0]) == (
        "no",
        "trials have different seeds: 0 and 7",
    )


@pytest.mark.slow
def test_the_rules_are_read_from_a_real_database(tmp_path: Path) -> None:
    """A tuning trial with a test value, and one of another seed, in the storage itself."""
    url = f"sqlite:///{tmp_path}/x.db"
    make(url, {"digits-mlp/sofim": [0.5, 0.6], "digits-mlp/sgd": [0.5, 0.6]}, workloads=["digits-mlp"])
    storage = open_storage(url, create=False)
    found = studies(storage, "fake")
    kept = fairness(contests(found, trials(storage, found), confirmations(storage, found), curves(storage, found)))
    assert kept.set_index("rule").loc[[1, 2], "kept"].tolist() == ["yes", "yes"]
    spoilt = optuna.load_study(study_name=found[0].name, storage=storage)
    attributes = {**spoilt.trials[0].user_attrs, "seed": 7, "test_metric": 0.5}
    spoilt.add_trial(optuna.create_trial(value=0.5, user_attrs=attributes))
    kept = fairness(contests(found, trials(storage, found), confirmations(storage, found), curves(storage, found)))
    kept = kept.set_index("rule")
    assert kept.loc[[1, 2], "kept"].tolist() == ["no", "no"]
    assert "different seeds: 0 and 7" in kept.loc[1, "evidence"]
    assert "1 tuning trial measured on test data" in kept.loc[2, "evidence"]
    close_storage(storage)


def changed(column: str, row: int, value: object) -> Made:
    campaign = made(RUNS)
    campaign.confirmations.loc[row, column] = value
    return campaign


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("seed", 5, "the seeds differ between optimizers"),
        ("seed", 1001, "a seed was run twice"),
        ("seed", 0, "the campaign's seed 0 is among them"),
        ("exclusive", False, "1 run shared a device"),
        ("device", "gpu", "the devices differ: cpu and gpu"),
    ],
)
def test_what_broke_the_third_rule_is_named(column: str, value: object, named: str) -> None:
    found = ledger(changed(column, 0, value))
    assert found.loc[3, "kept"] == "no"
    assert named in found.loc[3, "evidence"]


def test_a_confirmation_that_still_runs_is_not_said_to_have_other_seeds() -> None:
    campaign = made(RUNS)
    [name] = campaign.confirmations.loc[[0], "study"]
    seeds = int((campaign.confirmations["study"] == name).sum())
    campaign.confirmations = campaign.confirmations.drop(index=0)
    found = ledger(campaign)
    assert found.loc[3, "kept"] == "no"
    assert re.search(rf"\w+ was run on {seeds - 1} of the {seeds} seeds of the others", found.loc[3, "evidence"])
    assert "differ" not in found.loc[3, "evidence"]


def test_what_is_not_known_is_not_claimed() -> None:
    campaign = made(RUNS)
    campaign.confirmations = campaign.confirmations.drop(columns=["other_cores"])
    assert ledger(campaign).loc[3, "doubts"] == "what other programs ran meanwhile is not stored"
    campaign = made(RUNS)
    campaign.confirmations = campaign.confirmations.drop(columns=["exclusive"])
    found = ledger(campaign)
    assert found.loc[3, "kept"] == "unknown"
    assert found.loc[3, "evidence"].startswith("whether all ran alone on a device is not known")


def test_few_seeds_are_said_and_one_is_no_interval() -> None:
    assert "fewer than the usual 10 seeds" in ledger(made({"w": {"sofim": [0.5, 0.6]}})).loc[3, "evidence"]
    found = ledger(made({"w": {"sofim": [0.5], "sgd": [0.5]}}))
    assert found.loc[6, "kept"] == "no"


def test_a_start_given_to_some_optimizers_alone_breaks_the_first_rule() -> None:
    """Thirty trials, and thirty more that begin with the best of these, are sixty."""
    start = {"lr": 0.1}
    found = ledger(made(RUNS, starts={"sofim": {"w": start}}))
    assert found.loc[1, "problems"] == "only sofim began with a configuration that was given"
    found = ledger(made(RUNS, starts={"sofim": {"w": start}, "sgd": {"w": start}}))
    assert found.loc[1, "kept"] == "yes"
    assert "every optimizer began with a configuration that was given" in found.loc[1, "evidence"]
    assert ledger(made(RUNS, starts={"sofim": {"another": start}})).loc[1, "kept"] == "yes"


def test_a_former_winner_that_was_confirmed_is_test_data_seen_before_the_end() -> None:
    campaign = made(RUNS)
    earlier = campaign.confirmations[campaign.confirmations["study"] == "made/w/sofim"].assign(confirms=0)
    campaign.confirmations = pd.concat([campaign.confirmations, earlier.assign(number=earlier["number"] + 100)])
    found = ledger(campaign)
    assert found.loc[2, "kept"] == "no"
    assert found.loc[2, "problems"].startswith("trial 0 of sofim was confirmed (10 runs) and then overtaken")
    assert (
        "sofim: 3 complete (confirmation: 10 complete; 10 of former winners, not counted)" in found.loc[7, "evidence"]
    )
    second = earlier.assign(number=earlier["number"] + 100, rank=2)  # of --top 2: confirmed on purpose
    campaign = made(RUNS)
    campaign.confirmations = pd.concat([campaign.confirmations, second])
    assert ledger(campaign).loc[2, "kept"] == "yes"


def test_seeds_that_were_added_when_fewer_could_be_read_break_the_rule_of_fresh_seeds() -> None:
    campaign = made(RUNS)
    asked = {"seeds_asked": {"of": 2, "numbers": [3, 10]}}
    campaign.studies = [dataclasses.replace(study, confirmation=asked) for study in campaign.studies]
    found = ledger(campaign).loc[3]
    assert (found["kept"], found["problems"]) == (
        "no",
        "seeds were added when runs on fewer could be read (3, then 10)",
    )
    assert any("Rule 3 was not kept on w: seeds were added" in text for text in campaign.compare().sentences)
    alone = made({"w": {"sofim": RUNS["w"]["sofim"]}})
    alone.studies = [dataclasses.replace(study, confirmation=asked) for study in alone.studies]
    assert ledger(alone).loc[3, "kept"] == "yes", "it is compared with none"
    for numbers in ([10], [10, 30]):  # of which no run has begun
        at_once = {"seeds_asked": {"of": 2, "numbers": numbers}}
        campaign.studies = [dataclasses.replace(study, confirmation=at_once) for study in campaign.studies]
        assert ledger(campaign).loc[3, "kept"] == "yes"


def test_workloads_that_were_added_when_others_could_be_compared_are_named() -> None:
    campaign = made({"w": RUNS["w"], "x": RUNS["w"], "y": RUNS["w"]})
    assert not any("Added" in text for text in campaign.compare().sentences)
    later = {"confirmed_elsewhere": ["w", "x"]}
    campaign.studies = [
        dataclasses.replace(study, attributes={**study.attributes, **(later if study.workload == "y" else {})})
        for study in campaign.studies
    ]
    compared = campaign.compare()
    assert any(
        text.startswith("Added once winners on other workloads could be compared: y (on 2).")
        for text in compared.sentences
    )
    assert "could be compared: y (on 2)" in compared.methods
    one = campaign.studies[-1]  # an optimizer that was not added with the workload
    campaign.studies[-1] = dataclasses.replace(one, attributes={**one.attributes, "confirmed_elsewhere": []})
    assert not any("Added" in text for text in campaign.compare().sentences)


def test_a_confirmation_that_ended_before_the_seeds_it_was_to_have_is_doubted() -> None:
    """Who stops when a report pleases has not decided the number before."""
    campaign = made(RUNS)
    twenty = {"seeds_asked": {"of": 2, "numbers": [20]}}
    campaign.studies = [dataclasses.replace(study, confirmation=twenty) for study in campaign.studies]
    found = ledger(campaign).loc[3]
    assert found["kept"] == "unknown"
    assert "sofim was run on 10 of the 20 seeds that were asked for" in found["doubts"]


def test_runs_that_were_lost_are_counted_too() -> None:
    campaign = made({"w": {"sofim": [0.5] * 9 + ["lost"], "sgd": [0.5] * 9}})
    assert "sofim: 3 complete (confirmation: 9 complete; 1 lost and asked again)" in ledger(campaign).loc[7, "evidence"]


def test_runs_of_another_version_or_length_are_no_confirmation() -> None:
    campaign = made(RUNS)
    campaign.studies[0] = dataclasses.replace(campaign.studies[0], confirmation={"versions": {"torch": "y"}})
    assert ledger(campaign).loc[3, "problems"] == "sofim was tuned with torch x and confirmed with torch y"
    campaign = made(RUNS)
    campaign.curves = campaign.curves[(campaign.curves["epoch"] < 3) | (campaign.curves["study"] != "made/w/sgd")]
    assert ledger(campaign).loc[3, "problems"] == "complete runs of sgd have 2 epochs, its trials 4"


@pytest.mark.slow
def test_a_busy_machine_breaks_the_third_rule_and_its_seconds_do_not_compare() -> None:
    campaign = made(RUNS, targets={"w": 0.5})
    campaign.confirmations = campaign.confirmations.assign(other_cores=0.3, cores=2)
    found = ledger(campaign)
    assert found.loc[3, "kept"] == "yes"
    assert "other programs kept at most 0.3 cores busy" in found.loc[3, "evidence"]
    assert set(campaign.compare().tables["time_to_target"]["comparable"]) == {True}
    campaign.confirmations.loc[0, "other_cores"] = 1.9
    found = ledger(campaign)
    assert found.loc[3, "problems"] == "1 run beside other programs, which kept up to 1.9 of 2 cores busy"
    times = campaign.compare().tables["time_to_target"].set_index(["optimizer", "axis"])["comparable"]
    assert not times["sofim", "seconds"]
    assert times["sofim", "epochs"]


def test_what_is_not_stored_is_a_doubt() -> None:
    campaign = made(RUNS)
    campaign.studies = [dataclasses.replace(study, attributes={"protocol": 1}) for study in campaign.studies]
    campaign.confirmations = campaign.confirmations.drop(columns=["confirms"])
    found = ledger(campaign)
    assert found.loc[[1, 3], "kept"].tolist() == ["unknown", "unknown"]
    assert found.loc[1, "doubts"] == "epochs not stored; versions not stored"
    assert found.loc[3, "doubts"] == "whose configurations were run is not stored"


def test_different_metrics_are_no_comparison() -> None:
    campaign = made(RUNS)
    campaign.studies[1] = dataclasses.replace(campaign.studies[1], metric="f1")
    assert ledger(campaign).loc[1, "problems"] == "metric differ: sofim accuracy, sgd f1"


@pytest.mark.slow
def test_the_sixth_rule_tells_of_budgets_what_was_done() -> None:
    by_formula = made(RUNS).compare().tables["fairness"].set_index("rule").loc[6, "evidence"]
    assert "performance after k trials (expected best of k of N): bootstrap of trials" in by_formula
    once = made(RUNS, sampler="tpe").compare().tables["fairness"].set_index("rule").loc[6, "evidence"]
    assert "performance after k trials (one study): none, the search was made once" in once
    assert "bootstrap of trials" not in once


@pytest.mark.slow
def test_what_is_fixed_is_told() -> None:
    campaign = made(RUNS)
    space = {"search_space": {"fixed": {"momentum": 0.0}}}
    sgd = campaign.studies[1]
    campaign.studies[1] = dataclasses.replace(sgd, attributes={**sgd.attributes, **space})
    assert "sgd 1 parameter (4.0 decades) with momentum = 0.0" in ledger(campaign).loc[1, "evidence"]
    row = search_spaces(campaign.studies).set_index(["optimizer", "parameter"]).loc[("sgd", "momentum")]
    assert (row["kind"], row["default"]) == ("fixed", 0.0)
    assert "with momentum = 0.0" in campaign.compare().methods


def test_no_confirmation_breaks_the_rules_that_need_one() -> None:
    found = ledger(made({"w": {"sofim": [], "sgd": []}}))
    assert found["kept"].to_dict() == {
        1: "yes", 2: "yes", 3: "no", 4: "no", 5: "yes", 6: "no", 7: "yes"
    }  # fmt: skip


def test_trials_that_are_missing_from_the_database_are_counted() -> None:
    campaign = made(RUNS)
    campaign.trials = campaign.trials.drop(index=0)
    found = ledger(campaign)
    assert found.loc[7, "evidence"].startswith("1 trial of sofim missing from the database")


def test_costs_that_were_not_measured_break_the_fifth_rule() -> None:
    assert ledger(changed("gradient_evaluations", 0, math.nan)).loc[5, "kept"] == "no"


def test_search_spaces_are_listed_with_what_they_span() -> None:
    campaign = made(RUNS)
    parameters = {
        "lr": ParameterInfo("lr", "float", 1e-3, 10.0, log=True, default=0.1),
        "beta": ParameterInfo("beta", "float", 0.9, 0.999, one_minus=True, default=0.9),
        "batch_size": ParameterInfo("batch_size", "categorical", math.nan, math.nan, choices=(32, 64), default=64),
        "x": ParameterInfo("x", "float", -1.0, 1.0, default=0.0),
    }
    campaign.studies[0] = dataclasses.replace(campaign.studies[0], parameters=parameters)
    table = search_spaces(campaign.studies).set_index(["optimizer", "parameter"])
    assert table.loc[("sofim", "beta"), ["scale", "decades"]].tolist() == ["log(1 - value)", pytest.approx(2)]
    assert table.loc[("sofim", "batch_size"), ["choices", "default"]].tolist() == ["32, 64", 64]
    assert table.loc[("sofim", "x"), "scale"] == "linear"
    assert volume(parameters) == "4 parameters (6.0 decades × 2 batch_size choices × x -1 to 1)"


def spaced(optimizers: dict[str, dict[str, Any]], **campaign: Any) -> Made:
    """A campaign whose studies store the search spaces that theirs were, each changed as ``configured`` is told."""
    found = made({"w": {name: [0.8, 0.7] for name in optimizers}}, **campaign)
    for place, (name, options) in enumerate(optimizers.items()):
        trials = options.pop("trials", 60)
        space = configured(name, options.pop("table", {}), **options).fitted(trials)
        attributes = {**found.studies[place].attributes, "search_space": space.to_dict()}
        found.studies[place] = dataclasses.replace(
            found.studies[place], attributes=attributes, parameters=from_space(space.to_dict())
        )
    return found


def test_what_few_trials_fix_is_told_with_why() -> None:
    tables = {"adamw": {"beta1": 0.8}}
    found = spaced({"sgd": {"trials": 16}, "adamw": {"trials": 16, "table": tables["adamw"]}}, search_space=tables)
    evidence = ledger(found).loc[1, "evidence"]
    assert "batch_size = 64 (begun below 25 trials)" in evidence
    assert "adamw 1 parameter (3.0 decades) with beta1 = 0.8, beta2 = 0.999 (begun below 50 trials)" in evidence
    why = search_spaces(found.studies).set_index(["optimizer", "parameter"])["not_searched"]
    assert why[("adamw", "eps")] == "begun with fewer than 50 trials"
    assert why[("adamw", "beta1")] == "the campaign fixes it"
    assert why[("sgd", "nesterov")] == "the space fixes it"
    assert pd.isna(why[("sgd", "lr")])
    of_all = spaced({"sgd": {"table": {"batch_size": 32}}}, batch_size=32)
    why = search_spaces(of_all.studies).set_index("parameter")["not_searched"]
    assert why["batch_size"] == "the campaign fixes it"


@pytest.mark.parametrize(
    ("decays", "kept", "told"),
    [
        ({"sofim": None, "sgd": None}, "yes", "weight decay coupled in sofim and sgd"),
        (
            {"sofim": None, "sgd": None, "adamw": None},
            "yes",
            "weight decay differs: coupled in sofim and sgd, decoupled in adamw (one kind alone can be had of sgd and "
            "adamw)",
        ),
        ({"sofim": None, "adahessian": None}, "no", '(sofim coupled, adahessian decoupled): decay = "coupled"'),
        ({"sofim": "decoupled", "adahessian": "decoupled"}, "yes", "weight decay decoupled in sofim and adahessian"),
        ({"sofim": "coupled", "adahessian": "coupled"}, "yes", "weight decay coupled in sofim and adahessian"),
    ],
)
def test_whether_weights_decay_alike_is_told(decays: dict[str, str | None], kept: str, told: str) -> None:
    found = ledger(spaced({name: {"decay": decay} for name, decay in decays.items()}))
    assert found.loc[1, "kept"] == kept
    assert told in found.loc[1, "evidence"]


def test_weight_that_does_not_decay_differs_from_nothing() -> None:
    found = ledger(spaced({"sofim": {"table": {"weight_decay": 0.0}}, "adahessian": {}}))
    assert found.loc[1, "kept"] == "yes"


def test_what_ones_own_optimizer_is_and_what_of_it_is_fixed_is_told() -> None:
    table = {"factory": "pytorch_optimizer:Lion", "arguments": {"betas": ["beta1", 0.99], "cautious": True}}
    found = made({"w": {"sgd": [0.5, 0.6], "mine": [0.5, 0.6]}})
    found.studies = [
        dataclasses.replace(study, campaign={**study.campaign, "optimizer": {"mine": table}}) for study in found.studies
    ]
    evidence = ledger(found).loc[1, "evidence"]
    assert "mine is the campaign's own, pytorch_optimizer:Lion with betas = (beta1, 0.99)" in evidence
    assert "mine 1 parameter (4.0 decades) with cautious = True" in evidence
    rows = search_spaces(found.studies).set_index(["optimizer", "parameter"])
    assert rows.loc[("mine", "cautious"), "not_searched"] == "the campaign fixes it"


def test_the_rule_of_repeated_searches_is_told_yes_or_no_with_numbers() -> None:
    three = {"w": {name: [[0.5, 0.6], [0.6, 0.6], [0.5, 0.5]] for name in ("sofim", "sgd")}}
    found = ledger(made(three))
    assert set(found["kept"]) == {"yes"}
    assert found.loc[4, "evidence"] == "searches that are confirmed: sofim 3, sgd 3"
    assert "Welch's t over searches" in found.loc[6, "evidence"]
    assert "sofim (search 3): 3 complete (confirmation: 2 complete)" in found.loc[7, "evidence"]
    three["w"]["sgd"] = three["w"]["sgd"][:2]
    assert ledger(made(three)).loc[4, "problems"].startswith("searches that are confirmed: sofim 3, sgd 2, of 3 each")


def test_rules_look_at_every_search() -> None:
    three = {"w": {name: [[0.5, 0.6], [0.6, 0.6], [0.5, 0.5]] for name in ("sofim", "sgd")}}
    campaign = made(three)
    third = campaign.trials["study"] == "made/w/sgd/replicate-3"
    campaign.trials = campaign.trials[~(third & (campaign.trials["number"] == 2))]
    campaign.trials.loc[third, "seed"] = 9
    problems = ledger(campaign).loc[1, "problems"]
    assert "trials that ended, of 3 asked for" in problems
    assert "sgd (search 3) 2" in problems
    assert "trials of replicate 3 have different seeds: 0 and 9" in problems
    campaign.confirmations = campaign.confirmations[campaign.confirmations["study"] != "made/w/sofim/replicate-2"]
    assert "sofim (search 2) was not confirmed" in ledger(campaign).loc[3, "problems"]


def stopped(after: dict[str, dict[int, int]], pruner: str = "asha", protocol: int = 2) -> pd.Series:
    """The first rule, where of trials of twenty epochs these were stopped after these epochs, by optimizer."""
    found = made(RUNS, pruner=pruner, trials={"w": {name: ["pruned"] * 6 + [0.5] for name in after}}, trials_asked=7)
    found.studies = [
        dataclasses.replace(study, attributes={**study.attributes, "epochs": 20, "protocol": protocol})
        for study in found.studies
    ]
    points = [
        {"study": f"made/w/{name}", "number": number, "epoch": epoch, "value": 0.5}
        for name, own in after.items()
        for number, last in own.items()
        for epoch in range(1, last + 1)
    ]
    return fairness(found.contests(), histories=pd.DataFrame(points)).set_index("rule").loc[1]


ALIKE = {"sofim": {0: 1, 1: 3, 2: 1, 3: 9, 4: 1, 5: 3}, "sgd": {0: 1, 1: 1, 2: 1, 3: 1, 4: 9, 5: 3}}


def test_trials_that_were_stopped_where_the_rule_allows_it_are_evidence() -> None:
    evidence = stopped(ALIKE)["evidence"]
    assert (
        "stopped where the pruner may, as the numbers of the trials say: sofim 3 after epoch 1, 2 after epoch 3, "
        "1 after epoch 9; sgd 4 after epoch 1, 1 after epoch 3, 1 after epoch 9" in evidence
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sofim", "sgd"])
def test_a_trial_that_was_stopped_by_another_rule_breaks_the_first_rule(name: str) -> None:
    broken = {**ALIKE, name: {**ALIKE[name], 3: 5}}
    found = stopped(broken)
    assert found["kept"] == "no"
    assert f"asha stops no such trial there, {name} stopped trial 3 after epoch 5" in found["problems"]
    assert stopped(broken, "none")["kept"] == "no"
    assert "stopped trial" not in stopped(broken, "median")["problems"], "it may stop after any epoch"
    assert "where the pruner may" not in stopped(broken, "median")["evidence"], "nothing was held against it"


@pytest.mark.slow
def test_brackets_of_hyperband_go_by_the_numbers_of_trials() -> None:
    sequence = hyperband_sequence(20)
    first = {number: 3**bracket for number, bracket in enumerate(sequence[:6])}
    assert set(first.values()) > {1}
    assert "stopped trial" not in stopped({"sofim": first, "sgd": first}, "hyperband")["problems"]
    late = next(number for number, epoch in first.items() if epoch > 1)
    other = {**first, late: 1}
    assert f"sgd stopped trial {late} after epoch 1" in stopped({"sofim": first, "sgd": other}, "hyperband")["problems"]
    assert "stopped trial" not in stopped({"sofim": first, "sgd": other}, "hyperband", protocol=1)["problems"]


def test_stops_that_are_not_stored_are_a_doubt() -> None:
    short = {name: {0: 1} for name in ALIKE}
    assert "after which epoch 5 trials of sgd stopped: not stored" in stopped(short)["doubts"]


def test_brackets_that_hung_on_names_are_a_doubt_of_the_first_protocol() -> None:
    assert "(protocol 1)" in ledger(made(RUNS, pruner="hyperband")).loc[1, "doubts"]
    assert ledger(made(RUNS, pruner="asha")).loc[1, "kept"] == "yes"
