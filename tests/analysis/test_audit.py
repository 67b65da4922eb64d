"""Planted faults of searches are flagged, sound searches are not; sign, unit, name and order do not decide that."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.audit import Flag, as_table, audit, shown
from analysis.edges import widened
from analysis.parameters import ParameterInfo
from analysis.study import Study

Frames = tuple[list[Study], pd.DataFrame, pd.DataFrame]
LR = ParameterInfo("lr", "float", 1e-4, 1.0, log=True, default=0.01)
EPOCHS = 20


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    """The benchmark, of which this is the short form."""
    path = Path(__file__).parents[2] / "benchmarks" / "audit.py"
    described = importlib.util.spec_from_file_location("benchmark_of_audits", path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def planted(simulated) -> dict[str, list[Frames]]:
    campaigns = {}
    for fault in ("", *simulated.FAULTS):
        campaigns[fault] = [simulated.campaign(fault, "tpe", "asha", seed=seed) for seed in range(4)]
    return campaigns


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_planted_faults_are_flagged_and_sound_searches_are_not(planted) -> None:
    kinds = {fault: [{flag.kind for flag in audit(*made)} for made in listed] for fault, listed in planted.items()}
    assert not any(kinds.pop(""))
    for fault, found in kinds.items():
        assert sum(fault in each for each in found) >= 3, (fault, found)


def kinds_of(studies: list[Study], trials: pd.DataFrame, curves: pd.DataFrame) -> list[tuple[str, str, str]]:
    return sorted((flag.kind, flag.workload, flag.optimizer) for flag in audit(studies, trials, curves))


def changed(made: Frames, change: Any, direction: str = "maximize") -> Frames:
    studies, trials, curves = made
    found = [dataclasses.replace(study, direction=direction) for study in studies]
    return found, trials.assign(value=change(trials["value"])), curves.assign(value=change(curves["value"]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("fault", ["edge", "late", "correlation"])
def test_sign_offset_unit_names_and_order_change_no_flag(planted, fault) -> None:
    made = planted[fault][0]
    expected = kinds_of(*made)
    assert expected
    assert kinds_of(*changed(made, lambda value: -value, "minimize")) == expected
    assert kinds_of(*changed(made, lambda value: 1 - value, "minimize")) == expected
    assert kinds_of(*changed(made, lambda value: 1e6 + 1000 * value)) == expected
    assert kinds_of(*changed(made, lambda value: 1e-6 * value)) == expected
    studies, trials, curves = made
    order = np.random.default_rng(0)
    assert kinds_of(studies, *(frame.iloc[order.permutation(len(frame))] for frame in (trials, curves))) == expected
    names = {study.name: study.name.replace("made/", "another/") for study in studies}
    renamed = [
        dataclasses.replace(study, name=names[study.name], campaign={**study.campaign, "name": "another"})
        for study in studies
    ]
    assert kinds_of(renamed, *(frame.replace({"study": names}) for frame in (trials, curves))) == expected


def searched(values, *, epochs: int = EPOCHS, params=None, outcomes=None, curve=None, **campaign) -> Frames:
    """One search whose trials had these values, with curves that rise at once."""
    fields = {"name": "made", "trials": len(values), "sampler": "tpe", "pruner": "none", "schedule": "cosine"}
    study = Study(
        study_id=0, name="made/w/sofim", campaign=fields | {"replicates": 3} | campaign, workload="w",
        optimizer="sofim", metric="accuracy", direction="maximize", attributes={}, parameters={"lr": LR},
    )  # fmt: skip
    given = params or [{"lr": 10 ** (-3.5 + 3 * i / len(values))} for i in range(len(values))]
    outcomes = outcomes or ["complete"] * len(values)
    rows = [
        (study.name, "w", "sofim", i, outcomes[i], value, given[i]) for i, value in enumerate(values)
    ]  # fmt: skip
    told = curve or (lambda value, epoch: value)
    points = [(study.name, i, e, told(value, e)) for i, value in enumerate(values) for e in range(1, epochs + 1)]
    names = ["study", "workload", "optimizer", "number", "outcome", "value", "params"]
    frame = pd.DataFrame(points, columns=["study", "number", "epoch", "value"])
    return [study], pd.DataFrame(rows, columns=names), frame


def only(made: Frames, kind: str, confirmations: pd.DataFrame | None = None) -> list[Flag]:
    return [flag for flag in audit(*made, confirmations) if flag.kind == kind]


SOUND = [0.9 - 0.01 * abs(i - 7) for i in range(15)]


def test_a_sound_search_has_no_flag_and_an_unfinished_one_is_not_judged() -> None:
    assert audit(*searched(SOUND)) == []
    bad = searched([0.5, 0.6], schedule="constant")
    assert {flag.kind for flag in audit(*bad)} >= {"few", "schedule"}
    studies, trials, curves = bad
    unfinished = [dataclasses.replace(studies[0], campaign={**studies[0].campaign, "trials": 3})]
    assert audit(unfinished, trials, curves) == []
    running = trials.assign(outcome=["complete", "running"])
    assert audit(studies, running, curves) == []
    foreign = [dataclasses.replace(studies[0], own=False)]
    assert audit(foreign, trials, curves) == []


def test_each_flag_has_what_mends_it() -> None:
    [few] = only(searched([0.5, 0.6]), "few")
    assert (few.sentence, few.remedy) == (
        "2 trials are few for 1 parameter that varies.",
        "sofim launch made --extend --trials 5",
    )
    assert shown(few).startswith("sofim on w: 2 trials")
    [flag] = only(searched(SOUND, schedule="constant"), "schedule")
    assert flag.remedy == 'schedule = "cosine"'
    assert not shown(flag).startswith(("sofim", ":"))
    table = as_table([few, flag])
    assert table["kind"].tolist() == ["few", "schedule"]
    assert as_table([]).columns.tolist() == table.columns.tolist()


def test_what_is_said_of_one_of_several_searches_says_of_which() -> None:
    studies, trials, curves = searched(SOUND)
    second = dataclasses.replace(studies[0], name="made/w/sofim/replicate-2", attributes={"replicate": 2})
    _, few, points = searched([0.5] * 15, outcomes=["failed"] * 13 + ["complete"] * 2)
    at = few.assign(study=second.name, params=[{"lr": 0.01}] * 15)
    flags = audit([*studies, second], pd.concat([trials, at]), pd.concat([curves, points.assign(study=second.name)]))
    assert [shown(flag).partition(":")[0] for flag in flags if flag.study] == [
        "sofim on w, 1 of 2 searches, here search 2"
    ]


def test_a_fault_of_all_searches_is_not_told_as_of_the_first_alone() -> None:
    studies, trials, curves = searched([0.5] * 15, outcomes=["failed"] * 13 + ["complete"] * 2)
    more = [
        dataclasses.replace(studies[0], name=f"made/w/sofim/replicate-{which}", attributes={"replicate": which})
        for which in (2, 3)
    ]
    same = trials.assign(params=[{"lr": 0.01}] * 15)
    every = [pd.concat([frame.assign(study=one.name) for one in [*studies, *more]]) for frame in (same, curves)]
    said = [shown(flag) for flag in audit([*studies, *more], *every) if flag.study]
    assert said
    assert all(text.startswith("sofim on w, 3 of 3 searches, here search 1: ") for text in said)


def test_optimizers_that_were_searched_less_than_three_times_are_named_once() -> None:
    studies, trials, curves = searched(SOUND, replicates=1)
    other = dataclasses.replace(studies[0], name="made/w/sgd", optimizer="sgd")
    both = pd.concat([trials, trials.assign(study=other.name, optimizer="sgd")])
    flags = audit([*studies, other], both, pd.concat([curves, curves.assign(study=other.name)]))
    assert [(flag.kind, flag.remedy) for flag in flags] == [("searches", "replicates = 3")]
    assert audit(studies, trials, curves) == [], "one optimizer is compared with nothing"


@pytest.mark.parametrize("end", ["lower", "upper"])
@pytest.mark.parametrize(
    "parameter",
    [
        ParameterInfo("knee", "float", 10**-1.5, 10**0.5, log=True),
        ParameterInfo("x", "float", 1234567.8, 2e7, log=True),
        ParameterInfo("beta", "float", -0.5, 0.9, one_minus=True),
        ParameterInfo("beta", "float", 0.5, 0.995, one_minus=True),
        ParameterInfo("linear", "float", 1 / 3, 2 / 3),
        ParameterInfo("batch_size", "int", 16, 256, log=True),
    ],
    ids=str,
)
def test_a_line_that_widens_a_range_moves_one_end_and_leaves_the_other(parameter: ParameterInfo, end: str) -> None:
    study = Study(0, "c/w/sofim", {}, "w", "sofim", "accuracy", "maximize", {})
    line = widened(study, parameter, end)  # type: ignore[arg-type]
    low, high = json.loads(line.partition(" = ")[2])
    assert (high if end == "lower" else low) == (parameter.high if end == "lower" else parameter.low)
    assert low < parameter.low if end == "lower" else high > parameter.high


def test_how_often_optimizers_were_searched_is_told_of_each() -> None:
    studies, trials, curves = searched(SOUND, replicates=1)
    other = dataclasses.replace(studies[0], name="made/w/sgd", optimizer="sgd")
    more = [
        dataclasses.replace(studies[0], name=f"made/w/sofim/replicate-{which}", attributes={"replicate": which})
        for which in (2, 3)
    ]
    every = [*studies, *more, other]
    frames = [pd.concat([frame.assign(study=one.name) for one in every]) for frame in (trials, curves)]
    [flag] = [flag for flag in audit(every, *frames) if flag.kind == "searches"]
    assert flag.sentence.startswith("Optimizers were searched 1 to 3 times: ")


def test_the_best_epoch_that_is_told_of_the_winner_is_its_own() -> None:
    def curve(value: float, epoch: int) -> float:
        if value == max(SOUND):  # the winner was best early, and its first epoch gave no number
            return math.nan if epoch == 1 else value if epoch == 5 else 0.7
        return value * epoch / EPOCHS

    assert only(searched(SOUND, curve=curve), "late") == []
    assert only(searched(SOUND, curve=lambda value, epoch: value * epoch / EPOCHS), "late")


def test_a_winner_that_is_the_default_and_a_default_as_good_as_it_are_named() -> None:
    at = [{"lr": 0.01 if i == 0 else 10 ** (-3 + 2.4 * i / 15)} for i in range(15)]
    best_first = [0.95, *SOUND[1:]]
    [flag] = only(searched(best_first, params=at), "default")
    assert "The winner is the default: none of 15 trials was better." in flag.sentence
    close = searched([0.89, *SOUND[1:]], params=at)
    runs = pd.DataFrame({"study": "made/w/sofim", "outcome": "complete", "value": [0.88, 0.89, 0.90], "confirms": 7})
    assert only(close, "default") == [], "nobody knows what seeds change"
    [flag] = only(close, "default", runs)
    assert "The default, not tuned, came to 0.89, the winner of 15 trials to 0.9" in flag.sentence
    assert only(close, "default", runs.assign(value=[0.8999, 0.9, 0.9001])) == []
    assert only(close, "default", runs.assign(confirms=3)) == [], "runs of another trial"


def test_trials_that_a_sampler_drew_at_random_are_told_where_that_is_known() -> None:
    studies, trials, curves = searched(SOUND)
    assert only((studies, trials, curves), "drawn") == []
    drawn = trials.assign(drawn_by=["given"] + ["random"] * 12 + ["model"] * 2)
    [flag] = only((studies, drawn, curves), "drawn")
    assert "The sampler tpe drew 2 of 15 trials from what it had learned" in flag.sentence
    assert only((studies, trials.assign(drawn_by=["random"] * 5 + ["model"] * 10), curves), "drawn") == []
    assert only((studies, trials.assign(drawn_by=None), curves), "drawn") == []
    random = [dataclasses.replace(studies[0], campaign={**studies[0].campaign, "sampler": "random"})]
    assert only((random, drawn, curves), "drawn") == []


def test_trainings_that_are_best_at_the_beginning_are_named_and_noise_is_not() -> None:
    [flag] = only(searched(SOUND, curve=lambda value, epoch: value - 0.01 * (epoch - 1)), "early")
    assert flag.remedy == "epochs = 10"
    rng = np.random.default_rng(0)
    flat = searched(SOUND, curve=lambda value, epoch: value + 0.001 * rng.standard_normal())
    assert only(flat, "early") == only(flat, "late") == []
    [flag] = only(searched(SOUND, curve=lambda value, epoch: value * epoch / EPOCHS), "late")
    assert (flag.sentence[:40], flag.remedy) == ("The winner's best epoch is 20 of 20, and", "epochs = 40")


@pytest.mark.parametrize(("apart", "flagged"), [(0.0, False), (0.02, True)])
def test_survivors_that_are_as_good_as_equal_are_no_curves_that_cross(apart: float, flagged: bool) -> None:
    """Eight of twenty trials go on from epoch 1, and end in the other order: by noise, or by much more."""
    rng = np.random.default_rng(0)
    noise = np.sort(0.01 * rng.standard_normal(20))

    def curve(value: float, epoch: int) -> float:
        place = round(1000 * (value - 0.8))
        if epoch == 1:
            return 0.3 + apart * place + float(noise[place])
        last = -noise[place] if epoch == EPOCHS else 0.01 * rng.standard_normal()
        return 0.9 - apart * place + float(last)

    outcomes = ["pruned"] * 12 + ["complete"] * 8
    studies, trials, curves = searched([0.8 + n / 1000 for n in range(20)], outcomes=outcomes, curve=curve)
    curves = curves[(curves["number"] >= 12) | (curves["epoch"] == 1)]
    found = only((studies, trials, curves), "correlation")
    assert bool(found) == flagged
    if flagged:
        assert "rank correlation -1.00, told by 8 trials" in found[0].sentence


def test_values_that_are_no_numbers_break_nothing() -> None:
    outcomes = ["complete"] * 10 + ["diverged", "failed", "pruned", "complete", "complete"]
    values = [*SOUND[:10], np.nan, np.nan, 0.2, -np.inf, np.nan]
    studies, trials, curves = searched(values, outcomes=outcomes)
    assert isinstance(audit(studies, trials, curves), list)
    assert isinstance(audit(studies, trials, curves.head(0)), list)
    assert audit([], trials, curves) == []
