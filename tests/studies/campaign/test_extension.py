"""``launch --extend``: more trials, optimizers or workloads, or wider ranges, for a campaign that is there; no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from analysis.comparison.fairness import fairness
from analysis.comparison.stopping import workloads_added
from analysis.comparison.workload_runs import contests
from analysis.load import read, studies
from search_spaces.errors import UserError
from studies.campaign.extension import extended, join, why_another
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.commands.find import as_begun, grown
from studies.ledger import look_at_search, open_confirmation, open_search, opening
from studies.storage.database import close_storage, open_storage
from studies.workloads import resolve
from tests.studies.ledger.test_confirm_ledger import work_off as run_winners
from tests.studies.ledger.test_ledger_edges import work_off


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/trials.db"


def campaign(**fields: object) -> CampaignPlan:
    given = {"name": "c", "workloads": ["digits-mlp"], "optimizers": ["sofim"], "trials": 4, "sampler": "qmc"}
    return CampaignPlan.of(given | {"pruner": "none"} | fields)


def tune(url: str, asked: CampaignPlan, *, extend: bool = False, trials: int | None = None) -> list[str]:
    """What ``sofim launch`` does, without the training; what it says before."""
    found = grown(asked, url, trials=trials) if extend else asked
    workloads = {name: resolve(name) for name in found.campaign.workloads}
    plans = ResolvedCampaign(found, workloads).study_plans()
    with open_search(url, found.stored(), plans, {}, extend=extend) as ledger:
        work_off(ledger)
        return ledger.notes


def trials_of(url: str) -> dict[str, int]:
    storage = open_storage(url)
    try:
        studies = storage.get_all_studies()
        assert len({str(study.user_attrs["campaign"]) for study in studies}) == 1
        return {s.study_name: storage.get_n_trials(s._study_id) for s in studies}
    finally:
        close_storage(storage)


def study_in(url: str) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """The trials and attributes of the one study, without the lease."""
    storage = open_storage(url)
    try:
        [study] = storage.get_all_studies()
        return storage.get_all_trials(study._study_id), study.user_attrs
    finally:
        close_storage(storage)


@pytest.mark.nightly(by_day=["sqlite"])
@pytest.mark.slow
def test_more_trials_optimizers_and_workloads_are_added_to_what_is_there(every_storage):
    tune(every_storage, campaign())
    tune(every_storage, campaign(trials=6), extend=True)
    assert trials_of(every_storage) == {"c/digits-mlp/sofim": 6}
    tune(every_storage, campaign(trials=6, optimizers=["sgd"]), extend=True)  # those that are there need no naming
    tune(every_storage, campaign(trials=6, workloads=["breast-cancer-logreg"]), extend=True)
    assert trials_of(every_storage) == {
        f"c/{workload}/{optimizer}": 6
        for workload in ("digits-mlp", "breast-cancer-logreg")
        for optimizer in ("sofim", "sgd")
    }


@pytest.mark.nightly(by_day=["sqlite"])
@pytest.mark.slow
def test_an_extension_that_is_refused_before_its_first_trial_leaves_the_campaign_as_it_was(every_storage):
    asked = {"trials": 6, "optimizers": ["sofim", "sgd"], "search_space": {"sofim": {"lr": [1e-4, 2.0]}}}
    before = campaign(search_space={"sofim": {"lr": [0.05, 0.2]}})
    tune(every_storage, before)
    trials, study = study_in(every_storage)
    plans = ResolvedCampaign(
        found := grown(campaign(**asked), every_storage, trials=None), {"digits-mlp": resolve("digits-mlp")}
    ).study_plans()
    with (
        pytest.raises(UserError, match="too many CPUs"),
        open_search(every_storage, found.stored(), plans, {}, extend=True),
    ):
        raise UserError("too many CPUs")
    again, as_it_was = study_in(every_storage)
    assert (len(again), as_it_was["campaign"]) == (len(trials), study["campaign"])
    assert as_it_was["search_space"] == study["search_space"]
    assert not as_it_was.get("widened")
    tune(every_storage, before)  # and goes on as it did
    tune(every_storage, campaign(**asked), extend=True)
    assert trials_of(every_storage) == {"c/digits-mlp/sofim": 6, "c/digits-mlp/sgd": 6}


@pytest.mark.slow
def test_a_workload_that_is_added_once_winners_could_be_compared_says_so(url):
    two, added = ["sofim", "sgd"], {"workloads": ["breast-cancer-logreg"]}
    for name in ("c", "other", "alone", "once", "lost"):
        tune(url, campaign(name=name, optimizers=two))
    confirm(url, "c", two)
    confirm(url, "alone", two[:1])
    confirm(url, "once", two, seeds=1)
    confirm(url, "lost", two, seeds=3, runs=2)  # of which the second is left running
    notes = {name: tune(url, campaign(name=name, **added), extend=True) for name in ("other", "alone", "once", "lost")}
    assert not any(notes.values())
    assert not any(said_of_workloads(url, name) for name in notes), "no report had winners of it to compare"
    assert tune(url, campaign(optimizers=["adam"]), extend=True) == []
    assert said_of_workloads(url, "c") == [], "an optimizer that is added is compared on the workloads that were chosen"
    beyond = "breast-cancer-logreg: added once winners on 1 other workload could be compared"
    asked = grown(campaign(**added), url, trials=None)
    plans = ResolvedCampaign(asked, {name: resolve(name) for name in asked.campaign.workloads}).study_plans()
    [note] = look_at_search(url, asked.stored(), plans, extend=True)[1]  # as a dry run does
    assert note.startswith(beyond)
    [note] = tune(url, campaign(**added), extend=True)
    assert note.startswith(beyond)
    [sentence] = said_of_workloads(url, "c")
    assert sentence.startswith("Added once winners on other workloads could be compared: breast-cancer-logreg (on 1).")
    assert tune(url, campaign(trials=5), extend=True) == [], "it is told once"


def confirm(url: str, name: str, optimizers: list[str], seeds: int = 2, runs: int = 100) -> None:
    stored = campaign(name=name, optimizers=["sofim", "sgd"])
    plans = ResolvedCampaign(stored, {"digits-mlp": resolve("digits-mlp")}).study_plans()
    own = [plan for plan in plans if plan.optimizer in optimizers]
    with open_confirmation(url, stored.stored(), own, {}, seeds=seeds) as ledger:
        run_winners(ledger, runs)
        ledger.ask()


def said_of_workloads(url: str, name: str) -> list[str]:
    storage = open_storage(url)
    try:
        own = studies(storage, name, replicates=True)
        frames = read(storage, own)
        return workloads_added(contests(own, frames.trials, frames.confirmations, frames.curves))
    finally:
        close_storage(storage)


@pytest.mark.slow
def test_what_was_extended_is_resumed_without_the_option(url):
    tune(url, campaign())
    tune(url, campaign(trials=6), extend=True)
    tune(url, campaign(trials=6))
    with pytest.raises(UserError, match=r"trials was 6, is 4.*--name.*--extend"):
        tune(url, campaign())


@pytest.mark.slow
def test_a_campaign_that_asks_for_less_keeps_what_it_has_unless_it_was_said_in_so_many_words(url):
    """The preset says 4 trials, and its campaign was extended to 6 before: another extension takes none away."""
    tune(url, campaign(trials=6))
    tune(url, campaign(optimizers=["adam"]), extend=True)
    assert set(trials_of(url).values()) == {6}
    with pytest.raises(UserError, match=r"--extend --trials 4: campaign 'c' has 6 trials .* takes nothing away"):
        tune(url, campaign(), extend=True, trials=4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": "random"}, "sampler was qmc, is random"),
        ({"seed": 1, "trials": 9}, "seed was 0, is 1"),
        ({"schedule": "cosine"}, "schedule was constant, is cosine"),
        ({"epochs": 3}, "epochs was None, is 3"),
        ({"search_space": {"sofim": {"rho": [0.1, 1.0]}}}, "spaces of sofim changed"),
    ],
)
def test_whatever_else_changes_is_named_and_refused_and_nothing_is_changed(url, changes, said):
    tune(url, campaign())
    with pytest.raises(UserError) as raised:
        tune(url, campaign(**changes), extend=True)
    assert said in str(raised.value)
    assert "--name" in str(raised.value)
    assert trials_of(url) == {"c/digits-mlp/sofim": 4}


@pytest.mark.slow
def test_a_range_is_widened_and_the_sampler_draws_beyond_what_it_was(every_storage):
    """The earlier trials stay as they are; study, campaign and the ledger of fairness have the change."""
    narrow, wide = ({"search_space": {"sofim": {"lr": limits}}} for limits in ([0.05, 0.2], [1e-4, 2.0]))
    tune(every_storage, campaign(**narrow))
    before, _ = study_in(every_storage)
    tune(every_storage, campaign(**wide, trials=12), extend=True)
    tune(every_storage, as_begun(campaign(**wide, trials=12), every_storage))  # goes on without the option
    trials, study = study_in(every_storage)
    assert [trial.params for trial in trials[:4]] == [trial.params for trial in before]
    drawn = [trial.params["lr"] for trial in trials]
    assert all(0.05 <= lr <= 0.2 for lr in drawn[:4])
    assert any(not 0.05 <= lr <= 0.2 for lr in drawn[4:])
    assert study["search_space"]["parameters"]["lr"]["low"] == 1e-4
    assert study["campaign"]["search_space"] == {"sofim": {"lr": [1e-4, 2.0]}}
    assert study["widened"] == [{"parameter": "lr", "from": [0.05, 0.2], "to": [1e-4, 2.0], "after": 4}]
    storage = open_storage(every_storage, create=False)
    try:
        searched = studies(storage, "c")
        frames = read(storage, searched)
    finally:
        close_storage(storage)
    rule = fairness(contests(searched, frames.trials, frames.confirmations, frames.curves)).iloc[0]
    assert "lr of sofim widened from [0.05, 0.2] to [0.0001, 2] after 4 trials" in rule["evidence"]


NARROWER = {
    "below": {"lr": [0.06, 2.0]},
    "above": {"lr": [0.01, 0.1]},
    "another": {"lr": [0.01, 2.0], "rho": [0.1, 1.0]},
    "another, fixed": {"lr": [0.01, 2.0], "beta": 0.5},
    "fixed now": {"lr": 0.1, "rho": [0.01, 100.0]},
}


@pytest.mark.slow
def test_no_range_is_narrowed_by_extending_though_others_are_widened(url):
    tune(url, campaign(search_space={"sofim": {"lr": [0.05, 0.2]}}, trials=50))
    stored = study_in(url)[1]
    for narrower in NARROWER.values():
        with pytest.raises(UserError, match=r"widens ranges, and changes nothing else \(.*spaces of sofim changed"):
            tune(url, campaign(search_space={"sofim": narrower}, trials=50), extend=True)
        assert study_in(url)[1] == stored


@pytest.mark.slow
def test_a_driver_killed_between_campaign_and_study_leaves_what_the_next_one_ends(url, monkeypatch):
    tune(url, campaign(search_space={"sofim": {"lr": [0.05, 0.2]}}))
    wide = campaign(search_space={"sofim": {"lr": [0.01, 0.2]}}, trials=6)

    def killed(begun: opening.Opening, *_: object) -> None:
        begun.changes.former.clear()  # a process that is killed takes nothing back
        raise KeyboardInterrupt

    monkeypatch.setattr(opening.Opening, "widen", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(url, wide, extend=True)
    monkeypatch.undo()
    tune(url, wide)
    trials, study = study_in(url)
    assert (len(trials), study["search_space"]["parameters"]["lr"]["low"]) == (6, 0.01)
    assert [one["after"] for one in study["widened"]] == [4]


@pytest.mark.slow
def test_spaces_and_epochs_of_what_is_new_come_with_it(url):
    tune(url, campaign(epochs={"digits-mlp": 3}))
    more = {
        "epochs": {"breast-cancer-logreg": 2},
        "workloads": ["breast-cancer-logreg"],
        "optimizers": ["sgd"],
        "search_space": {"sgd": {"momentum": 0.9}},
    }
    tune(url, campaign(**more), extend=True)
    storage = open_storage(url)
    try:
        attributes = {s.study_name: s.user_attrs for s in storage.get_all_studies()}
    finally:
        close_storage(storage)
    assert attributes["c/digits-mlp/sgd"]["epochs"] == 3
    assert attributes["c/breast-cancer-logreg/sofim"]["epochs"] == 2
    assert attributes["c/digits-mlp/sofim"]["campaign"]["epochs"] == {"digits-mlp": 3, "breast-cancer-logreg": 2}


@pytest.mark.slow
def test_more_trials_and_optimizers_leave_the_spaces_as_they_were_begun(url):
    """Though a campaign that begins with so many trials searches more."""
    first = campaign(trials=5, optimizers=["sgd"])
    more = campaign(trials=12, optimizers=["sgd", "adamw"])
    assert set(more.spaces["sgd"].parameters) > set(first.spaces["sgd"].parameters) == {"lr"}
    tune(url, first)
    tune(url, more, extend=True)
    storage = open_storage(url)
    try:
        for study in storage.get_all_studies():
            trials = storage.get_all_trials(study._study_id)
            assert [set(trial.params) for trial in trials] == [{"lr"}] * 12
            assert study.user_attrs["search_space"]["fixed_below"]["batch_size"] == 25
    finally:
        close_storage(storage)
    # whoever changed the file, and asks for the same again, goes on
    assert as_begun(more, url).stored() == grown(more, url, trials=None).stored()
    tune(url, as_begun(more, url))
    assert as_begun(campaign(name="another"), url).fitted == 1


@pytest.mark.parametrize(
    ("changes", "said", "extends"),
    [
        ({"trials": 6}, "trials was 4, is 6", True),
        ({"optimizers": ["sofim", "sgd"], "workloads": ["digits-mlp", "digits-vit"]}, "spaces of sgd changed", True),
        ({"seed": 4}, "seed was 0, is 4", False),
        ({"seed": 4, "trials": 6}, "seed was 0, is 4; trials was 4, is 6", False),
        ({"targets": {"digits-mlp": 0.5}}, "targets of digits-mlp changed", False),
        ({"starts": {"sofim": {"digits-mlp": {"lr": 0.1}}}}, "starts (--from) of sofim changed", False),
    ],
)
def test_an_extension_is_offered_where_it_would_not_refuse(changes, said, extends):
    before = campaign().stored()
    fields = {key: value for key, value in changes.items() if key != "starts"}
    asked = replace(campaign(**fields), initial=changes.get("starts", {})).stored()
    reason = why_another(before, asked)
    assert reason is not None
    assert said in reason
    assert ("--extend" in reason) == extends == (why_another(before, asked, extend=True) is None)


def test_without_a_campaign_of_that_name_it_is_launched(url):
    tune(url, campaign(), extend=True)
    assert trials_of(url) == {"c/digits-mlp/sofim": 4}


def test_an_extension_waits_for_the_driver_that_runs(any_storage):
    stored = campaign().stored()
    workloads = {"digits-mlp": resolve("digits-mlp")}
    plans = ResolvedCampaign(campaign(), workloads).study_plans()
    with open_search(any_storage, stored, plans, {}), pytest.raises(UserError, match="is being run by process"):
        tune(any_storage, campaign(trials=9), extend=True)
    assert trials_of(any_storage) == {"c/digits-mlp/sofim": 0}


@pytest.mark.slow
def test_a_driver_killed_while_it_extends_leaves_the_old_campaign_or_the_new_one(any_storage, monkeypatch):
    """Never a mixture, which neither command would go on with."""
    tune(any_storage, campaign(optimizers=["sofim", "sgd", "adam"]))
    wanted = campaign(optimizers=["sofim", "sgd", "adam"], trials=6)
    whole = opening.Opening.grow

    def killed(begun: opening.Opening) -> None:
        whole(begun)
        begun.changes.former.clear()
        raise KeyboardInterrupt

    monkeypatch.setattr(opening.Opening, "grow", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(any_storage, wanted, extend=True)
    monkeypatch.undo()
    assert set(trials_of(any_storage).values()) == {4}
    tune(any_storage, wanted)
    assert set(trials_of(any_storage).values()) == {6}


def test_extending_either_by_the_other_comes_to_the_same():
    one = campaign(trials=9, optimizers=["sofim", "adam"]).stored()
    other = campaign(workloads=["digits-mlp", "digits-lenet5"], optimizers=["adam", "sgd"]).stored()
    joined, different = join(one, other)
    assert different == []
    assert (joined["workloads"], joined["optimizers"]) == (["digits-mlp", "digits-lenet5"], ["sofim", "adam", "sgd"])
    assert joined["trials"] == 9
    assert extended(joined, other) == extended(joined, one) == joined  # once more changes nothing
    CampaignPlan.from_stored(joined)


def test_of_a_range_that_is_narrower_than_what_was_searched_a_line_says_that_it_stays(url: str) -> None:
    tune(url, campaign(search_space={"sofim": {"lr": [1e-4, 10.0]}}))
    for lr, lines in (([1e-3, 1e-2], 1), ([1e-4, 10.0], 0), ([1e-5, 10.0], 0)):
        said: list[str] = []
        asked = campaign(trials=5, search_space={"sofim": {"lr": lr}})
        found = grown(asked, url, trials=None, note=said.append)
        assert found.spaces["sofim"].declared["lr"].high == 10.0
        assert len(said) == lines
        assert all(line.startswith("search_space.sofim is not taken: --extend widens ranges") for line in said)
