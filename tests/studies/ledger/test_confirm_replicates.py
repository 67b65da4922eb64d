"""Confirmation of repeated searches, and of what lies between a default and a winner, without Ray."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from analysis.load import ablation_runs, confirmations, curves, studies
from studies.campaign.plan import CampaignPlan
from studies.ledger import fresh_seeds
from studies.ledger.path import default_of, differing
from studies.storage.database import close_storage, open_storage
from tests.studies.ledger.test_confirm_ledger import confirming, end, finish, runs, searched, work_off
from tests.support.fake_campaign import campaign, open_ledger
from tests.support.fake_campaign import end as end_trial

SGD, SOFIM = "fake/digits-mlp/sgd", "fake/digits-mlp/sofim"
VALUES = {
    SOFIM: [0.5, 0.7, 0.6],
    f"{SOFIM}/replicate-2": [0.5, 0.6, 0.9],
    f"{SOFIM}/replicate-3": [0.8, 0.6, 0.7],
    SGD: [0.5, 0.6, 0.7],
    f"{SGD}/replicate-2": [0.9, 0.6, 0.7],
    f"{SGD}/replicate-3": [0.5, 0.9, 0.7],
}
WINNERS = {SOFIM: 1, f"{SOFIM}/replicate-2": 2, f"{SOFIM}/replicate-3": 0, SGD: 2}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sofim.db"


@pytest.fixture
def tuned(url: str) -> CampaignPlan:
    """Three searches of two optimizers."""
    made = campaign(workloads=["digits-mlp"], trials=3, replicates=3)
    left = {name: list(values) for name, values in VALUES.items()}
    with open_ledger(url, made) as ledger:
        while (assignment := ledger.ask()) is not None:
            end_trial(ledger, assignment, left[assignment.study].pop(0))
    return made


def frames(url: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Confirmation runs, their epochs, and those on the way from the default."""
    storage = open_storage(url, create=False)
    try:
        found = studies(storage, "fake")
        return confirmations(storage, found), curves(storage, found, confirmed=True), ablation_runs(storage, found)
    finally:
        close_storage(storage)


@pytest.mark.slow
def test_every_search_has_its_winner_confirmed_on_seeds_of_its_own_the_same_for_every_optimizer(url, tuned):
    with confirming(url, tuned, seeds=3) as ledger:
        asked = work_off(ledger)
    assert len(asked) == 2 * 9, "three searches of three seeds take nine runs an optimizer"
    every = [seed for number in (1, 2, 3) for seed in fresh_seeds(0, 3, number)]
    assert len(set(every)) == 9
    for optimizer in ("sofim", "sgd"):
        for number, suffix in enumerate(("", "/replicate-2", "/replicate-3"), start=1):
            found = runs(url, f"fake/digits-mlp/{optimizer}{suffix}")
            assert [run.user_attrs["seed"] for run in found] == fresh_seeds(0, 3, number)
    confirmed, _, _ = frames(url)
    told = confirmed.groupby("study")["confirms"].unique()
    assert {name: told[name].tolist() for name in WINNERS} == {name: [number] for name, number in WINNERS.items()}
    assert Counter(confirmed["study"]) == dict.fromkeys(VALUES, 3), "of the first study alone one asks for all"


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 7, 17])
def test_a_stopped_confirmation_of_searches_goes_on_to_the_exact_number(url, tuned, stop_after):
    with confirming(url, tuned, seeds=3) as ledger:
        work_off(ledger, stop_after)
        assert ledger.ask() is not None  # left running
    with confirming(url, tuned, seeds=3) as ledger:
        work_off(ledger)
    ended = [run for name in VALUES for run in runs(url, name) if run.user_attrs.get("failure") is None]
    assert len({(run.user_attrs["seed"], str(run.params)) for run in ended}) == len(ended) == 18


@pytest.mark.slow
def test_a_search_that_is_not_finished_is_named_and_what_is_there_is_confirmed_anyway(url):
    made = campaign(workloads=["digits-mlp"], optimizers=["sgd"], trials=2, replicates=2)
    with open_ledger(url, made) as ledger:
        for _ in range(3):
            end_trial(ledger, ledger.ask(), 0.5)
    with pytest.raises(Exception, match=r"1 of 4 trials is missing \(digits-mlp/sgd(/replicate-2)? 1\)"):
        confirming(url, made)
    with confirming(url, made, anyway=True, seeds=1) as ledger:
        assert len(work_off(ledger)) == 2


# ------------------------------------------------------------------------------------------- from the default


def plan_of(made: CampaignPlan, optimizer: str = "sofim"):
    from studies.campaign.resolve import ResolvedCampaign
    from studies.workloads import WORKLOADS

    resolved = ResolvedCampaign(made, {name: WORKLOADS[name] for name in made.campaign.workloads})
    return next(plan for plan in resolved.study_plans() if plan.optimizer == optimizer)


@pytest.mark.slow
def test_the_path_changes_one_parameter_at_a_time_from_the_default_to_the_winner(url, tuned):
    default, best = default_of(plan_of(tuned)), searched(url, SOFIM)[1].params
    changed = differing(default, best)
    order = changed[::-1]
    with confirming(url, tuned, seeds=2, beside={SOFIM: [*order, "no such parameter"]}) as ledger:
        asked = work_off(ledger)
        ours = [assignment for assignment in asked if assignment.study == f"{SOFIM}/confirm"]
        assert ledger.tallies()[0].asked_for == len(ours) == 2 * (1 + len(changed)), "the winner is the last step"
    _, _, found = frames(url)
    assert set(found["study"]) == {SOFIM}
    for seed in fresh_seeds(0, 2):
        own = found[found["seed"] == seed]
        assert own["role"].value_counts().to_dict() == {"default": 1, "step": len(changed) - 1, "winner": 1}
        steps = own[own["role"] == "step"].sort_values("step")
        assert steps["changed"].tolist() == order[:-1]
        assert steps["path_to"].unique().tolist() == [1]
        [start], [goal] = own[own["role"] == "default"]["params"], own[own["role"] == "winner"]["params"]
        points = [start, *steps["params"], goal]
        assert start == default
        assert goal == best
        moved = [[n for n in goal if before[n] != after[n]] for before, after in itertools.pairwise(points)]
        assert moved == [[name] for name in order]


@pytest.mark.slow
def test_what_stands_beside_winners_is_none_of_their_confirmation(url, tuned):
    with confirming(url, tuned, seeds=2, beside={SOFIM: (), SGD: None}) as ledger:
        while (assignment := ledger.ask()) is not None:
            finish(ledger, assignment, 0.5)
        means = {tally.study: tally.best for tally in ledger.tallies()}
    confirmed, epochs, beside = frames(url)
    assert Counter(confirmed["study"]) == dict.fromkeys(VALUES, 2)
    assert confirmed["confirms"].notna().all()
    assert len(epochs) == len(confirmed)
    assert set(means.values()) == {0.5}
    assert beside[beside["study"] == SGD]["role"].value_counts().to_dict() == {"default": 2, "winner": 2}
    with confirming(url, tuned, seeds=2) as ledger:
        assert ledger.finished, "who asks for winners alone has them"
    with confirming(url, tuned, seeds=3, beside={SGD: None}) as ledger:
        assert [a.study for a in work_off(ledger)].count(f"{SGD}/confirm") == 2, "another seed, of both"


@pytest.mark.slow
def test_the_mean_that_is_shown_is_the_first_winners_alone(url, tuned):
    sgd = plan_of(tuned, "sgd")
    default = sgd.space.arguments(default_of(sgd))
    with confirming(url, tuned, seeds=1, beside={SGD: None}) as ledger:
        while (assignment := ledger.ask()) is not None:
            is_default = (assignment.study, assignment.arguments) == (f"{SGD}/confirm", default)
            finish(ledger, assignment, 0.125 if is_default else 0.5)
        assert {tally.study: tally.best for tally in ledger.tallies()}[f"{SGD}/confirm"] == 0.5
    _, _, beside = frames(url)
    assert beside.set_index("role")["value"].to_dict() == {"default": 0.125, "winner": 0.5}


@pytest.mark.slow
def test_an_interrupted_path_goes_on_in_the_order_in_which_it_was_begun(url, tuned):
    changed = differing(default_of(plan_of(tuned)), searched(url, SOFIM)[1].params)
    with confirming(url, tuned, seeds=1, beside={SOFIM: changed}) as ledger:
        while (assignment := ledger.ask()) is not None:
            if assignment.study == f"{SOFIM}/confirm" and assignment.number == 3:
                break  # left running
            finish(ledger, assignment)
    with confirming(url, tuned, seeds=1, beside={SOFIM: changed[::-1]}) as ledger:
        work_off(ledger)
    _, _, found = frames(url)
    ended = found[(found["outcome"] == "complete") & (found["role"] == "step")].sort_values("step")
    assert ended["changed"].tolist() == changed[:-1]


@pytest.mark.slow
def test_a_winner_that_is_the_default_needs_no_other_runs(url):
    made = campaign(workloads=["digits-mlp"], optimizers=["sgd"], trials=2, sampler="tpe")
    with open_ledger(url, made) as ledger:
        for value in (0.9, 0.5):
            end_trial(ledger, ledger.ask(), value)
    with confirming(url, made, seeds=2, beside={SGD: ()}) as ledger:
        assert ledger.notes == [f"{SGD}: its winner is the default, which has no other runs"]
        assert len(work_off(ledger)) == 2


@pytest.mark.slow
def test_the_table_is_over_searches_in_the_order_of_the_number_that_decides(sofim, url, tuned):
    with confirming("sqlite:///sofim.db", tuned, seeds=2, beside={SOFIM: None}) as ledger:
        while (assignment := ledger.ask()) is not None:
            good = {SOFIM: 0.25, f"{SOFIM}/replicate-2": 0.5, f"{SOFIM}/replicate-3": 0.75}
            study = assignment.study.removesuffix("/confirm")
            if study == f"{SGD}/replicate-2" and assignment.number == 0:
                end(ledger, assignment, "diverged")
            else:
                finish(ledger, assignment, 0.9 if "sgd" in study else 0.1, good.get(study, 0.25))
    code, out, err = sofim("confirm", "fake", "--seeds", "2")
    assert (code, err) == (0, "")
    assert "Nothing left to run: the 12 confirmation runs" in out
    assert "the order is by test accuracy (higher is better)" in out
    rows = [line for line in out.splitlines() if "lr=" in line]
    assert [row.split()[0].rstrip(",") for row in rows] == ["sofim", "sofim", "sgd"]
    assert "0.5 ± 0.25" in rows[0], "the mean of three means, and how those differ"
    assert rows[0].split()[7:9] == ["3", "6"], "searches and runs"
    assert rows[1].split()[1] == "default"
    assert "5 of 6, 1 diverged" in rows[2]
