"""Confirmation runs in the ledger, without Ray: whose configuration, on which seeds, exactly how many."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from analysis.load import confirmations, curves, studies, trials
from analysis.schema import seeds_begun
from search_spaces.errors import UserError
from studies.campaign.plan import CampaignPlan, replicate_seed
from studies.campaign.resolve import ResolvedCampaign
from studies.ledger import Ledger, fresh_seeds, open_confirmation
from studies.storage.database import close_storage, open_storage
from studies.trials import Assignment
from studies.workloads import WORKLOADS
from tests.support.fake_campaign import end, make, open_ledger, play

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sofim"]}
SOFIM = "fake/digits-mlp/sofim"
ALL = {
    f"{workload}/{optimizer}": values
    for workload in ("digits-mlp", "breast-cancer-logreg")
    for optimizer, values in {"sofim": [0.5, 0.7, 0.6], "sgd": [0.9, 0.8, 0.9]}.items()
}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture(scope="module")
def four_studies(tmp_path_factory) -> tuple[CampaignPlan, Path]:
    """A tuned campaign of four studies, made once."""
    directory = tmp_path_factory.mktemp("tuned")
    return make(f"sqlite:///{directory}/trials.db", ALL, trials=3, seed=7), directory / "trials.db"


@pytest.fixture
def tuned(url, four_studies) -> CampaignPlan:
    """That campaign, in a storage of the test's own."""
    made, file = four_studies
    shutil.copy(file, url.removeprefix("sqlite:///"))
    return made


def confirming(url: str, made: CampaignPlan, seeds: int = 3, **options: Any) -> Ledger:
    resolved = ResolvedCampaign(made, {name: WORKLOADS[name] for name in made.campaign.workloads})
    return open_confirmation(url, made.stored(), resolved.study_plans(), {"torch": "x"}, seeds=seeds, **options)


def epoch(number: int, metric: float, **test: float) -> dict[str, float]:
    return {
        "epoch": number,
        "seconds": 0.5 * number,
        "gradient_evaluations": 10 * number,
        "train_loss": 1.0,
        "validation_loss": 1.0,
        "metric": metric,
        **test,
    }


def finish(ledger: Ledger, assignment: Assignment, value: float = 0.5, test: float = 0.4) -> None:
    assert not ledger.report(assignment, epoch(1, value, test_loss=1.0, test_metric=test))
    ledger.end(assignment, "complete", {"device": "CPU x", "exclusive": True})


def work_off(ledger: Ledger, most: int = 10_000) -> list[Assignment]:
    done: list[Assignment] = []
    while len(done) < most and (assignment := ledger.ask()) is not None:
        finish(ledger, assignment)
        done.append(assignment)
    return done


def runs(url: str, study: str = SOFIM) -> list[FrozenTrial]:
    storage = open_storage(url, create=False)
    try:
        return optuna.load_study(study_name=f"{study}/confirm", storage=storage).get_trials()
    finally:
        close_storage(storage)


def searched(url: str, study: str = SOFIM) -> list[FrozenTrial]:
    storage = open_storage(url, create=False)
    try:
        return optuna.load_study(study_name=study, storage=storage).get_trials()
    finally:
        close_storage(storage)


def complete(found: Sequence[FrozenTrial]) -> list[tuple[int, int]]:
    """What has been run to its end: whose configuration, on which seed."""
    ended = [trial for trial in found if trial.state == TrialState.COMPLETE]
    return [(trial.user_attrs["confirms"], trial.user_attrs["seed"]) for trial in ended]


# ------------------------------------------------------------------------------------------------------- seeds


def test_fresh_seeds_are_fresh_and_fewer_are_the_first_of_more():
    ten = fresh_seeds(0, 10)
    assert len({0, *ten}) == 11
    assert fresh_seeds(0, 4) == ten[:4]
    assert not set(ten) & set(fresh_seeds(1, 10))
    # whoever searched with one of them is not confirmed on it
    assert fresh_seeds(ten[3], 10)[0] != ten[3]
    assert ten[3] not in fresh_seeds(ten[3], 200)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_no_two_replicates_share_a_seed_nor_is_one_searched_on(seed):
    every = [found for replicate in (1, 2, 3, 64, 65, 100) for found in fresh_seeds(seed, 500, replicate)]
    every += [replicate_seed(seed, replicate) for replicate in range(1, 101)]
    assert len(every) == len(set(every)) == 3100
    assert all(0 <= found < 2**32 for found in every)


@pytest.mark.slow
def test_all_optimizers_of_a_workload_are_run_on_the_same_seeds(url, tuned):
    with confirming(url, tuned) as ledger:
        asked = work_off(ledger)
    assert len(asked) == 4 * 3
    assert all(assignment.confirmation and assignment.seed != 7 for assignment in asked)
    for workload in tuned.campaign.workloads:
        expected = fresh_seeds(7, 3)
        for optimizer in tuned.campaign.optimizers:
            found = runs(url, f"fake/{workload}/{optimizer}")
            assert [trial.user_attrs["seed"] for trial in found] == expected


def test_test_data_are_looked_at_where_a_workload_has_some(url, tuned):
    resolved = ResolvedCampaign(
        tuned, {name: WORKLOADS[name] for name in tuned.campaign.workloads}, untested=frozenset({"digits-mlp"})
    )
    with open_confirmation(url, tuned.stored(), resolved.study_plans(), {"torch": "x"}, seeds=1) as ledger:
        asked = {assignment.workload: assignment.test for assignment in work_off(ledger)}
    assert asked == {"digits-mlp": False, "breast-cancer-logreg": True}


# ----------------------------------------------------------------------------------------------------- winners


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "optimizer", "winner"),  # accuracy is maximized, the gap minimized; of equal ones the first
    [
        ("digits-mlp", "sofim", 1),
        ("digits-mlp", "sgd", 0),
        ("breast-cancer-logreg", "sofim", 0),
        ("breast-cancer-logreg", "sgd", 1),
    ],
)
def test_the_winner_is_the_best_complete_trial_and_of_equal_ones_the_first(url, tuned, workload, optimizer, winner):
    with confirming(url, tuned, seeds=2) as ledger:
        asked = work_off(ledger)
    study = f"fake/{workload}/{optimizer}"
    best = searched(url, study)[winner]
    found = runs(url, study)
    assert complete(found) == [(winner, seed) for seed in fresh_seeds(7, 2)]
    for trial in found:
        assert (trial.params, trial.distributions) == (best.params, best.distributions), "as the winner has them"
        assert trial.user_attrs["rank"] == 1
    arguments = tuned.spaces[optimizer].arguments(best.params)
    assert [a.arguments for a in asked if a.study == f"{study}/confirm"] == [arguments] * 2


@pytest.mark.slow
def test_a_pruned_or_diverged_trial_wins_nothing(url):
    outcomes = {"digits-mlp/sofim": [("pruned", 0.99), 0.3, "diverged", "failed: no"]}
    with confirming(url, make(url, outcomes, trials=4, **ONE), seeds=1) as ledger:
        work_off(ledger)
    assert complete(runs(url)) == [(1, fresh_seeds(0, 1)[0])]


@pytest.mark.slow
def test_several_winners_are_run_seed_by_seed_with_their_ranks(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.7, 0.6]}, trials=3, **ONE)
    with confirming(url, made, seeds=2, top=2) as ledger:
        work_off(ledger)
    first, second = fresh_seeds(0, 2)
    assert complete(runs(url)) == [(1, first), (2, first), (1, second), (2, second)]
    assert [trial.user_attrs["rank"] for trial in runs(url)] == [1, 2, 1, 2]
    with confirming(url, made, seeds=2, top=9) as ledger:
        assert ledger.notes == [f"{SOFIM}: only 3 of 9 winners, no more trials are complete"]
        assert {assignment.number for assignment in work_off(ledger)} == {4, 5}


@pytest.mark.slow
def test_what_is_stored_with_the_study_and_read_by_the_analysis(url, tuned):
    with confirming(url, tuned) as ledger:
        work_off(ledger)
    opened = open_storage(url, create=False)
    frozen = {study.study_name: study for study in opened.get_all_studies()}
    for study in studies(opened):
        own, confirm = frozen[study.name].user_attrs, frozen[f"{study.name}/confirm"]
        for name in ("campaign", "protocol", "workload", "optimizer", "metric", "metric_split", "epochs"):
            assert confirm.user_attrs[name] == own[name], name
        assert "versions" in confirm.user_attrs
        assert confirm.direction == frozen[study.name].direction
    found = confirmations(opened, studies(opened))
    assert len(found) == 12
    assert found["exclusive"].all()
    assert set(found["test_metric"]) == {0.4}
    assert len(curves(opened, studies(opened), confirmed=True)) == 12
    assert len(trials(opened, studies(opened))) == 12, "the search's, as before"
    close_storage(opened)


# ------------------------------------------------------------------------------------------------- test metric


@pytest.mark.slow
def test_the_test_metric_is_of_the_first_of_the_best_epochs(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    with confirming(url, made, seeds=1) as ledger:
        assignment = ledger.ask()
        for record in (
            epoch(1, 0.5, test_loss=1.0, test_metric=0.1),
            epoch(2, 0.7, test_loss=2.0, test_metric=0.2),
            epoch(3, 0.7),
            epoch(4, 0.6),
        ):
            ledger.report(assignment, record)
        ledger.end(assignment, "complete", {"device": "CPU x"})
    (run,) = runs(url)
    assert run.value == 0.7
    assert (run.user_attrs["test_loss"], run.user_attrs["test_metric"]) == (2.0, 0.2)
    assert run.user_attrs["history"]["accuracy"] == [0.5, 0.7, 0.7, 0.6]
    assert not [name for name in run.user_attrs["history"] if name.startswith("test")], "columns of one length"
    assert run.intermediate_values == {1: 0.5, 2: 0.7, 3: 0.7, 4: 0.6}


@pytest.mark.slow
def test_a_minimized_metric_is_chosen_by_its_least_value_and_a_test_loss_without_end_is_missing(url):
    only = {"workloads": ["breast-cancer-logreg"], "optimizers": ["sgd"]}
    made = make(url, {"breast-cancer-logreg/sgd": [0.5, 0.6]}, **only)
    with confirming(url, made, seeds=1) as ledger:
        assignment = ledger.ask()
        ledger.report(assignment, epoch(1, 0.5, test_loss=1.0, test_metric=1.0))
        ledger.report(assignment, epoch(2, 0.3, test_loss=math.inf, test_metric=2.0))
        ledger.report(assignment, epoch(3, 0.4))
        ledger.end(assignment, "complete", {"device": "CPU x"})
    (run,) = runs(url, "fake/breast-cancer-logreg/sgd")
    assert (run.value, run.user_attrs["test_metric"], run.user_attrs["test_loss"]) == (0.3, 2.0, None)


@pytest.mark.slow
def test_a_run_whose_second_worker_had_other_numbers_is_run_again(url):
    """Epoch 2 is the best of what was heard, but its test metric died with the first worker's rival."""
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    with confirming(url, made, seeds=1) as ledger:
        assignment = ledger.ask()
        ledger.report(assignment, epoch(1, 0.5, test_loss=1.0, test_metric=0.1))
        # begun again elsewhere, where epoch 1 was better than here and is not heard
        ledger.report(assignment, epoch(1, 0.8, test_loss=1.0, test_metric=0.9))
        ledger.report(assignment, epoch(2, 0.7))
        ledger.end(assignment, "complete", {"device": "GPU"})
        assert not ledger.finished
        again = ledger.ask()
        assert (again.seed, again.arguments) == (assignment.seed, assignment.arguments)
        finish(ledger, again)
        assert ledger.finished
    first, second = runs(url)
    assert (first.state, first.user_attrs["failure"]) == (TrialState.FAIL, "interrupted")
    assert "test_metric" not in first.user_attrs
    assert (second.state, second.user_attrs["retry_of"]) == (TrialState.COMPLETE, 0)


# ------------------------------------------------------------------------------------------------- exactness


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [0, 1, 5, 11])
def test_an_interrupted_confirmation_is_continued_to_the_exact_number(url, tuned, stop_after):
    with confirming(url, tuned) as ledger:
        work_off(ledger, most=stop_after)
        ledger.ask()  # runs when Ctrl-C comes
    with confirming(url, tuned) as ledger:
        assert len(work_off(ledger)) == 12 - stop_after
        assert [tally.done for tally in ledger.tallies()] == [3] * 4
    for study in ALL:
        found = runs(url, f"fake/{study}")
        assert len(complete(found)) == len(set(complete(found))) == 3
        assert not any(trial.state == TrialState.RUNNING for trial in found)
    with confirming(url, tuned) as ledger:
        assert ledger.finished
        assert ledger.ask() is None


@pytest.mark.slow
def test_a_killed_driver_is_continued_to_the_exact_number(url, tuned):
    script = textwrap.dedent(
        f"""
        import os
        from tests.support.fake_campaign import campaign
        from tests.studies.ledger.test_confirm_ledger import confirming, work_off
        ledger = confirming({url!r}, campaign(trials=3, seed=7))
        work_off(ledger, most=5)
        left = [ledger.ask() for _ in range(3)]
        ledger.flush()
        os.kill(os.getpid(), 9)
        """
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, timeout=240, check=False)
    assert done.returncode == -9
    before = [trial for study in ALL for trial in runs(url, f"fake/{study}")]
    assert sum(trial.state == TrialState.RUNNING for trial in before) == 3
    with confirming(url, tuned) as ledger:
        again = work_off(ledger)
    assert len(again) == 7
    for study in ALL:
        found = runs(url, f"fake/{study}")
        assert len(complete(found)) == len(set(complete(found))) == 3
        lost = [trial for trial in found if trial.state == TrialState.FAIL]
        assert all(trial.user_attrs["failure"] == "driver lost" for trial in lost)
        retried = [trial for trial in found if "retry_of" in trial.user_attrs]
        assert [trial.user_attrs["retry_of"] for trial in retried] == [trial.number for trial in lost]


@pytest.mark.slow
def test_more_seeds_later_add_only_what_is_missing(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    for seeds, new in ((2, 2), (5, 3), (3, 0)):
        with confirming(url, made, seeds=seeds) as ledger:
            assert len(work_off(ledger)) == new
            assert [(tally.done, tally.asked_for) for tally in ledger.tallies()] == [(seeds, seeds)]
    assert [seed for _, seed in complete(runs(url))] == fresh_seeds(0, 5)


def asked_for(url: str, study: str = SOFIM) -> list[int]:
    opened = open_storage(url, create=False)
    [found] = [one for one in studies(opened) if one.name == study]
    close_storage(opened)
    asked = found.confirmation["seeds_asked"]
    ended = complete(runs(url, study))
    assert asked["of"] == ended[-1][0]
    return seeds_begun(asked, len(ended))


@pytest.mark.slow
def test_seeds_that_are_added_to_runs_that_could_be_read_are_remembered_and_told(url):
    """An interval that is looked at again and again while seeds are added holds less often than it says."""
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6], "digits-mlp/sgd": [0.5, 0.6]}, workloads=["digits-mlp"], trials=2)
    for seeds, numbers in ((4, [4]), (4, [4]), (2, [4]), (6, [4, 6]), (6, [4, 6]), (9, [4, 6, 9])):
        with confirming(url, made, seeds=seeds) as ledger:
            told = [note for note in ledger.notes if "seeds are added" in note]
            assert len(told) == (work_off(ledger) != [] and len(numbers) > 1)
        assert asked_for(url) == asked_for(url, "fake/digits-mlp/sgd") == numbers


@pytest.mark.slow
def test_seeds_that_were_never_run_are_not_added_and_those_of_an_interrupted_confirmation_are(url):
    both = {"digits-mlp/sofim": [0.5, 0.6], "digits-mlp/sgd": [0.5, 0.6]}
    made = make(url, both, workloads=["digits-mlp"], trials=2)
    with confirming(url, made, seeds=3) as ledger:
        work_off(ledger)
    with confirming(url, made, seeds=10):
        pass
    assert asked_for(url) == asked_for(url, "fake/digits-mlp/sgd") == [3]
    with confirming(url, made, seeds=10) as ledger:  # Ctrl-C in the first run
        ledger.ask()
    with confirming(url, made, seeds=5) as ledger:
        assert [note for note in ledger.notes if "seeds are added" in note]
        for _ in range(2):  # and after one of each
            finish(ledger, ledger.ask())
    assert asked_for(url) == [3, 5]
    with confirming(url, made, seeds=20) as ledger:
        work_off(ledger)
    assert asked_for(url) == [3, 4, 20], "four could be read"


@pytest.mark.slow
def test_seeds_that_are_added_before_another_optimizer_was_confirmed_are_no_second_look(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6], "digits-mlp/sgd": []}, workloads=["digits-mlp"], trials=2)
    for seeds in (3, 6):
        with confirming(url, made, seeds=seeds, anyway=True) as ledger:
            assert not [note for note in ledger.notes if "seeds are added" in note]
            work_off(ledger)
        assert asked_for(url) == [seeds]


@pytest.mark.slow
def test_seeds_that_are_changed_before_the_runs_have_ended_are_not_added(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, trials=3, **ONE)
    with confirming(url, made, seeds=5, anyway=True) as ledger:
        finish(ledger, ledger.ask())
        ledger.ask()  # runs when Ctrl-C comes
    for seeds in (7, 3, 7):  # one run is no comparison
        with confirming(url, made, seeds=seeds, anyway=True) as ledger:
            work_off(ledger)
        assert asked_for(url) == [7]
    with open_ledger(url, made) as tuning:  # another winner has runs of its own, and the former's are told by rule 2
        play(tuning, {"digits-mlp/sofim": [0.9]})
    with confirming(url, made, seeds=9) as ledger:
        work_off(ledger)
    assert asked_for(url) == [9]


@pytest.mark.slow
def test_diverged_and_failed_runs_count_and_are_not_tried_until_they_succeed(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    with confirming(url, made) as ledger:
        end(ledger, ledger.ask(), "diverged")
        end(ledger, ledger.ask(), "failed: no")
        finish(ledger, ledger.ask(), value=0.25)
        (tally,) = ledger.tallies()
        assert (tally.diverged, tally.failed, tally.complete, tally.best) == (1, 1, 1, 0.25)
    with confirming(url, made) as ledger:
        assert ledger.finished
    diverged, failed, _ = runs(url)
    assert diverged.state == TrialState.PRUNED
    assert diverged.user_attrs["diverged"]
    assert failed.user_attrs["failure"].endswith("no")


@pytest.mark.slow
def test_the_mean_of_the_runs_is_shown(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    with confirming(url, made) as ledger:
        assert ledger.tallies()[0].best is None
        for value in (0.25, 0.5, 0.75):
            finish(ledger, ledger.ask(), value=value)
        assert ledger.tallies()[0].best == 0.5
        assert ledger.tallies()[0].runs == "confirmation runs"


# ------------------------------------------------------------------------------- searches that are not finished


@pytest.mark.slow
def test_an_unfinished_campaign_is_refused_with_what_is_missing_and_left_as_it_is(url, tmp_path):
    made = make(url, {"digits-mlp/sofim": [0.5], "digits-mlp/sgd": [0.5, 0.6]}, workloads=["digits-mlp"], trials=3)
    with pytest.raises(UserError) as refused:
        confirming(url, made)
    assert str(refused.value) == (
        "campaign 'fake' is not finished: 3 of 6 trials are missing (digits-mlp/sofim 2, digits-mlp/sgd 1); "
        f"go on with: sofim launch fake --storage {url}, or confirm what is there with --anyway"
    )
    opened = open_storage(url, create=False)
    assert not any(study.study_name.endswith("confirm") for study in opened.get_all_studies())
    close_storage(opened)
    with confirming(url, made, anyway=True) as ledger:
        assert ledger.notes == [
            "3 of 6 trials are missing (digits-mlp/sofim 2, digits-mlp/sgd 1); what is there is confirmed, "
            "and winners may change"
        ]
        assert len(work_off(ledger)) == 6


@pytest.mark.slow
def test_a_winner_that_was_overtaken_is_named_and_its_runs_can_be_told_from_the_new_ones(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, trials=3, **ONE)
    with confirming(url, made, seeds=2, anyway=True) as ledger:
        work_off(ledger)
    with open_ledger(url, made) as tuning:  # what Ctrl-C had left of the search
        play(tuning, {"digits-mlp/sofim": [0.9]})
    with confirming(url, made, seeds=2) as ledger:
        assert ledger.notes == [
            f"{SOFIM}: the search went on, and the winner now is trial 2; kept in the storage: 2 runs of trial 1"
        ]
        assert len(work_off(ledger)) == 2
        assert ledger.tallies()[0].done == 2
    opened = open_storage(url, create=False)
    found = confirmations(opened, studies(opened))
    close_storage(opened)
    assert found["confirms"].tolist() == [1, 1, 2, 2]
    assert found["seed"].tolist() == fresh_seeds(0, 2) * 2
    # with two winners asked for, the runs of the former first are those of the present second
    with confirming(url, made, seeds=2, top=2) as ledger:
        assert ledger.finished
        assert ledger.notes == []
    # and a second winner that nobody asks for any more was overtaken by nobody
    with confirming(url, made, seeds=2) as ledger:
        assert ledger.notes != []


@pytest.mark.slow
def test_what_was_running_for_an_overtaken_winner_is_not_run_again(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, trials=3, **ONE)
    with confirming(url, made, seeds=2, anyway=True) as ledger:
        ledger.ask()  # runs when Ctrl-C comes
    with open_ledger(url, made) as tuning:
        play(tuning, {"digits-mlp/sofim": [0.9]})
    with confirming(url, made, seeds=2) as ledger:
        assert ledger.notes == [], "nothing of it had been confirmed"
        work_off(ledger)
    assert complete(runs(url)) == [(2, seed) for seed in fresh_seeds(0, 2)]


@pytest.mark.slow
def test_a_change_below_the_winners_that_are_asked_for_is_no_news(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, trials=3, **ONE)
    with confirming(url, made, seeds=1, top=2, anyway=True) as ledger:
        work_off(ledger)
    with open_ledger(url, made) as tuning:
        play(tuning, {"digits-mlp/sofim": [0.55]})
    with confirming(url, made, seeds=1) as ledger:
        assert (ledger.notes, ledger.finished) == ([], True)
    with confirming(url, made, seeds=1, top=2) as ledger:
        assert ledger.notes == [
            f"{SOFIM}: the search went on, and the winners now are trials 1 and 2; "
            "kept in the storage: 1 run of trial 0"
        ]


@pytest.mark.slow
def test_a_winner_that_is_not_asked_for_any_more_is_not_said_to_be_overtaken(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    with confirming(url, made, seeds=1, top=2) as ledger:
        work_off(ledger)
    with confirming(url, made, seeds=1, top=1) as ledger:
        assert (ledger.notes, ledger.finished) == ([], True)


@pytest.mark.slow
def test_a_study_without_a_complete_trial_is_named_and_left_out(url):
    made = make(
        url,
        {"digits-mlp/sofim": ["diverged", ("pruned", 0.9)], "digits-mlp/sgd": [0.5, 0.6]},
        workloads=["digits-mlp"],
    )
    with confirming(url, made) as ledger:
        assert ledger.notes == [f"{SOFIM} is left out: 1 pruned, 1 diverged, none ran its whole budget"]
        assert {assignment.study for assignment in work_off(ledger)} == {"fake/digits-mlp/sgd/confirm"}


def test_nothing_to_confirm_is_a_mistake(url):
    made = make(url, {"digits-mlp/sofim": ["diverged", "diverged"]}, **ONE)
    with pytest.raises(UserError, match="campaign 'fake' has nothing to confirm: no trial ran its whole budget"):
        confirming(url, made)


@pytest.mark.slow
def test_a_study_that_was_stopped_is_over_and_its_best_trial_is_confirmed(url):
    outcomes = {"digits-mlp/sofim": [0.5, *["failed: ValueError: x"] * 10]}
    made = make(url, outcomes, trials=20, **ONE)
    with confirming(url, made) as ledger:
        assert ledger.notes == [
            f"{SOFIM} was stopped after 11 of 20 trials: 10 failures in a row, the last: ValueError: x"
        ]
        assert len(work_off(ledger)) == 3


@pytest.mark.slow
def test_what_a_dead_driver_of_the_search_left_running_is_closed(url):
    made = make(url, {"digits-mlp/sofim": [0.5]}, **ONE)
    script = (
        "import os\nfrom tests.support.fake_campaign import campaign, open_ledger\n"
        f"ledger = open_ledger({url!r}, campaign(workloads=['digits-mlp'], optimizers=['sofim']))\n"
        "ledger.ask()\nledger.flush()\nos._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], timeout=240, check=False)
    assert searched(url)[-1].state == TrialState.RUNNING
    with pytest.raises(UserError, match=r"1 of 2 trials is missing \(digits-mlp/sofim 1\)"):
        confirming(url, made)
    assert searched(url)[-1].user_attrs["failure"] == "driver lost"
    with open_ledger(url, made) as tuning:
        play(tuning, {"digits-mlp/sofim": [0.4]})
    with confirming(url, made) as ledger:
        assert len(work_off(ledger)) == 3


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.slow
def test_nobody_tunes_while_winners_are_confirmed_nor_the_other_way_round(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    busy = rf"is being run by process {os.getpid()} on .*; wait for it \(--wait\)"
    with confirming(url, made):
        for second in (open_ledger, confirming):
            with pytest.raises(UserError, match=busy):
                second(url, made)
    with open_ledger(url, made), pytest.raises(UserError, match=busy + r", or stop it$"):
        confirming(url, made)
    with confirming(url, made) as ledger:  # the lease was given back each time
        assert len(work_off(ledger)) == 3


def test_a_storage_that_is_not_there_is_not_made(tmp_path):
    made = make(f"sqlite:///{tmp_path}/other.db", {}, **ONE)
    with pytest.raises(UserError, match="there is no file"):
        confirming(f"sqlite:///{tmp_path}/trials.db", made)
    assert not (tmp_path / "trials.db").exists()


@pytest.mark.slow
def test_a_campaign_that_was_never_launched_is_refused(url):
    make(url, {}, name="other")
    with pytest.raises(UserError, match=r"has no study 'fake/.*' to confirm; launch campaign 'fake' first"):
        confirming(url, make("sqlite:///" + url.removeprefix("sqlite:///") + ".2", {}))


def test_trials_of_another_protocol_are_not_confirmed(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    opened = open_storage(url, create=False)
    opened.set_study_user_attr(opened.get_study_id_from_name(SOFIM), "protocol", 0)
    close_storage(opened)
    with pytest.raises(UserError, match="was run under protocol 0, this is protocol 2"):
        confirming(url, made)


def test_a_study_of_somebody_elses_that_has_the_name_is_left_alone(url):
    made = make(url, {"digits-mlp/sofim": [0.5, 0.6]}, **ONE)
    opened = open_storage(url, create=False)
    optuna.create_study(study_name=f"{SOFIM}/confirm", storage=opened).add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(UserError, match="that no campaign made; delete it"):
        confirming(url, made)
    with suppress(KeyError):
        assert "protocol" not in opened.get_study_user_attrs(opened.get_study_id_from_name(f"{SOFIM}/confirm"))
    close_storage(opened)
