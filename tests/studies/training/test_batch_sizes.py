"""No batch is larger than the data: in the search space of a study, on the screen, and in what was begun before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from torch.utils.data import DataLoader, TensorDataset

from search_spaces import SEARCH_SPACES, ConditionalSpace, Interval, Parameter, SearchSpace, from_dict, stored_space
from studies.campaign.resolve import ResolvedCampaign, resolve_campaign
from studies.data import Data
from studies.ledger import open_confirmation, open_search
from studies.workloads import WORKLOADS
from tests.support.fake_campaign import campaign, end
from tests.support.probe_home import trials_in


@given(st.sampled_from(sorted(SEARCH_SPACES)), st.integers(1, 2000))
def test_every_batch_size_lies_within_the_data_and_all_else_stays(optimizer: str, examples: int) -> None:
    whole = SEARCH_SPACES[optimizer]
    space = whole.capped(examples)
    distribution = space.stored_distributions().get("batch_size")
    if distribution is None:
        assert examples == space.default["batch_size"] == 1
    else:
        before = whole.stored_distributions()["batch_size"]
        assert distribution.high == min(before.high, examples)
        assert distribution.low == before.low or before.low >= examples
        assert distribution.low <= space.default["batch_size"] <= distribution.high
    assert {**space.default, "batch_size": 0} == {**whole.default, "batch_size": 0}
    assert set(space.declared) == set(whole.declared)
    assert space.capped(examples).to_dict() == space.to_dict()
    assert from_dict(space.to_dict()).to_dict() == space.to_dict()
    assert (space is whole) == (examples >= before.high if distribution is not None else False)


def test_every_optimizer_is_capped_alike() -> None:
    ranges = {
        key: (space.capped(100).declared["batch_size"].low, space.capped(100).declared["batch_size"].high)
        for key, space in SEARCH_SPACES.items()
    }
    assert ranges.pop("lbfgs") == (64, 100)
    assert set(ranges.values()) == {(16, 100)}


def test_fixed_values_and_choices_are_capped_too() -> None:
    sgd = SEARCH_SPACES["sgd"]
    assert sgd.override({"batch_size": 512}).capped(100).default["batch_size"] == 100
    assert sgd.override({"batch_size": 32}).capped(100).default["batch_size"] == 32
    lr, choice = sgd.declared["lr"], Parameter.categorical([32, 64, 128], default=64, reason="Mine.")
    chosen = SearchSpace(optimizer="sgd", declared={"lr": lr, "batch_size": choice})
    assert chosen.capped(100).declared["batch_size"].choices == (32, 64)
    assert chosen.capped(20).declared["batch_size"].choices == (20,)  # none is smaller: each is the whole data
    assert chosen.capped(20).capped(20).default["batch_size"] == 20
    large = Parameter.integer(64, 512, default=64, reason="Mine.", accepts=Interval(64, 512))
    narrow = SearchSpace(optimizer="sgd", declared={"lr": lr, "batch_size": large})
    assert narrow.capped(40).declared["batch_size"].high == 40
    assert narrow.override({"batch_size": 64}).capped(40).default["batch_size"] == 40
    fitted = sgd.fitted(5).capped(40)
    assert (fitted.default["batch_size"], list(fitted.parameters)) == (40, ["lr"])
    alone = SearchSpace(optimizer="sgd", declared={"batch_size": sgd.declared["batch_size"]})
    assert alone.capped(1) is alone


def test_a_start_made_for_a_wider_space_is_moved_into_the_range() -> None:
    space = ConditionalSpace({"sgd": SEARCH_SPACES["sgd"].capped(50)})
    start = {"optimizer": "sgd", "sgd.lr": 0.1, "sgd.momentum": 0.9, "sgd.weight_decay": 1e-5, "sgd.batch_size": 64}
    assert space.nearest(start) == {**start, "sgd.batch_size": 50}
    assert stored_space(space.to_dict()).to_dict() == space.to_dict()


def resolved(examples: dict[str, int], **fields: object) -> ResolvedCampaign:
    given = {"workloads": ["digits-mlp"], "optimizers": ["sgd"], "trials": 12, "sampler": "tpe"}
    made = campaign(**(given | fields))
    return ResolvedCampaign(made, {"digits-mlp": WORKLOADS["digits-mlp"]}, None, examples)


def run(url: str, made: ResolvedCampaign, trials: int) -> None:
    with open_search(url, made.plan.stored(), made.study_plans(), {}) as ledger:
        for _ in range(trials):
            assignment = ledger.ask()
            assert assignment is not None
            end(ledger, assignment, 0.5)


@pytest.mark.slow
def test_a_study_stores_the_range_that_it_was_searched_in(tmp_path) -> None:
    start = {"sgd": {"digits-mlp": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-5, "batch_size": 200}}}
    made = resolved({"digits-mlp": 40}, initial=start)
    run(f"sqlite:///{tmp_path}/sofim.db", made, 12)
    trials = trials_in(tmp_path, "fake/digits-mlp/sgd")
    sizes = [trial.params["batch_size"] for trial in trials]
    assert all(16 <= size <= 40 for size in sizes)
    assert sizes[:2] == [40, 40]  # the start, and the default
    assert trials[0].params["lr"] == 0.1
    assert {trial.distributions["batch_size"].high for trial in trials} == {40}


@pytest.mark.slow
def test_a_study_that_was_begun_with_larger_batches_goes_on_and_is_confirmed(tmp_path) -> None:
    """As before there was a cap, or before data were taken away."""
    url = f"sqlite:///{tmp_path}/sofim.db"
    start = {"sgd": {"digits-mlp": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-5, "batch_size": 200}}}
    run(url, resolved({}, initial=start), 1)
    now = resolved({"digits-mlp": 40}, initial=start)
    run(url, now, 11)
    trials = trials_in(tmp_path, "fake/digits-mlp/sgd")
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 12
    assert [trial.params["batch_size"] for trial in trials[:2]] == [200, 64]
    assert {trial.distributions["batch_size"].high for trial in trials} == {256}
    with open_confirmation(url, now.plan.stored(), now.study_plans(), {}, seeds=2) as ledger:
        assignment = ledger.ask()
        assert assignment is not None
        assert assignment.arguments["batch_size"] == 200


MINE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from studies.workloads import Data, Metric, Workload

def load(directory):
    loader = DataLoader(TensorDataset(torch.rand(90, 2), torch.rand(90, 1)), batch_size=7, shuffle=True)
    return Data(loader, loader)

def small():
    return Workload("small", load, lambda: nn.Linear(2, 1), nn.functional.mse_loss, Metric("error", "minimize"))
"""


def test_what_is_not_as_the_person_wrote_it_is_said_at_launch(sofim, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    arguments = ("--workload", "mine:small", "--optimizers", "sgd,lbfgs", "--trials", "30", "--dry-run")
    code, out, err = sofim("launch", "quickstart", *arguments)
    assert (code, err) == (0, "")
    assert "small: batch_size of sgd, lbfgs is searched up to 90, the number of training examples.\n" in out
    assert "small: its DataLoader was read once, into memory; its batch_size=7 and its order are not used in" in out


def test_choices_that_the_data_cap_are_told_as_choices(sofim, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.toml").write_text(
        'name = "m"\nworkloads = ["mine:small"]\noptimizers = ["sgd"]\ntrials = 30\n'
        "search_space.sgd.batch_size = { choices = [16, 64, 256] }\n"
    )
    _, out, _ = sofim("launch", "mine.toml", "--dry-run")
    assert "small: batch_size of sgd is one of 16, 64, of which none is more than the 90 training examples.\n" in out


def test_data_without_a_loader_have_none_of_its_settings() -> None:
    pair = torch.rand(8, 2), torch.rand(8, 1)
    assert Data(pair, DataLoader(TensorDataset(*pair))).loaders == ""  # those to train on are meant
    assert Data(TensorDataset(*pair), pair).loaders == ""


def test_the_projects_own_data_cap_what_is_larger() -> None:
    made = resolve_campaign(campaign(workloads=["breast-cancer-logreg"], optimizers=["sgd", "lbfgs"]))
    examples = made.examples["breast-cancer-logreg"]
    assert made.space("sgd", "breast-cancer-logreg") is made.plan.spaces["sgd"]
    assert made.space("lbfgs", "breast-cancer-logreg").declared["batch_size"].high == examples < 1024
    assert made.notes == (
        f"breast-cancer-logreg: batch_size of lbfgs is searched up to {examples}, the number of training examples.",
    )
