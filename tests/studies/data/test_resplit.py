"""Examples that are drawn again for each replicate: the same for all optimizers, and behind the same door."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import studies.data._resplit as module
from search_spaces.errors import UserError
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.data import Data, Split, resplit
from studies.ledger import open_confirmation, open_search
from studies.workloads import WORKLOADS, load
from tests.support.fake_campaign import end

SIZES = [60, 25, 15]


def numbered(dtype: torch.dtype = torch.float32, *, with_test: bool = True) -> list[Split]:
    """Examples that can be told apart, whose targets say which they are."""
    numbers = torch.arange(sum(SIZES))
    inputs = torch.stack([numbers, numbers * 2], dim=1).to(dtype)
    parts = zip(inputs.split(SIZES), numbers.split(SIZES), strict=True)
    return [Split(*part) for part in parts][: 3 if with_test else 2]


def targets(data: Data) -> list[list[int]]:
    return [part.targets.tolist() for part in (data.train, data.validation, data.test())]


def test_all_examples_are_drawn_again_into_parts_of_the_same_sizes():
    drawn = resplit(Data(*numbered()), 5)
    parts = targets(drawn)
    assert [len(part) for part in parts] == SIZES
    assert sorted(number for part in parts for number in part) == list(range(100)), "each once"
    assert all(set(part) - set(before.targets.tolist()) for part, before in zip(parts, numbered(), strict=True))
    for part in (drawn.train, drawn.validation, drawn.test()):
        assert torch.equal(part.inputs[:, 1], part.targets * 2), "inputs stay with their targets"
    assert targets(resplit(Data(*numbered()), 5)) == parts
    assert targets(resplit(Data(*numbered()), 6)) != parts


def test_without_test_data_there_are_none_afterwards():
    drawn = resplit(Data(*numbered(with_test=False)), 5)
    assert not drawn.has_test
    assert [len(drawn.train), len(drawn.validation)] == SIZES[:2]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.complex64])
def test_large_data_are_mapped_and_the_same(monkeypatch, tmp_path, dtype):
    held = targets(resplit(Data(*numbered(dtype)), 5))
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "MAPPED_BYTES", 1)
    mapped = resplit(Data(*numbered(dtype)), 5)
    assert targets(mapped) == held
    assert mapped.train.inputs.dtype == dtype
    assert mapped.train.inputs.shape == (60, 2)
    assert torch.equal(mapped.train.inputs, resplit(Data(*numbered(dtype)), 5).train.inputs)
    assert len(list(tmp_path.glob("resplit-*"))) == 2, "one folder each, however many processes ask"
    resplit(Data(*numbered(dtype)), 6)
    assert len(list(tmp_path.glob("resplit-*"))) == 4


def test_a_loader_is_drawn_from_too_and_parts_that_do_not_fit_together_are_refused():
    train, validation, _ = numbered()
    loader = DataLoader(TensorDataset(train.inputs, train.targets), batch_size=7)
    assert len(resplit(Data(loader, validation), 5).train) == 60
    with pytest.raises(
        UserError, match=r"resplit: the inputs .*\(2\) of float32|resplit: the inputs .*\(2,\) of float32"
    ):
        resplit(Data(train, Split(validation.inputs.double(), validation.targets)), 5)


def plans(**changes: object):
    fields = {
        "name": "mine", "workloads": ["digits-mlp", "breast-cancer-logreg"], "optimizers": ["sofim", "sgd"],
        "trials": 2, "replicates": 3, "resplit": True,
    }  # fmt: skip
    made = CampaignPlan.of({**fields, **changes})
    return made, ResolvedCampaign(made, {name: WORKLOADS[name] for name in made.campaign.workloads}).study_plans()


def test_a_replicate_has_one_split_for_all_optimizers_whatever_anything_is_called():
    _, found = plans()
    digits = [plan for plan in found if plan.workload == "digits-mlp"]
    of = {number: {plan.split for plan in digits if plan.replicate == number} for number in (1, 2, 3)}
    assert all(len(splits) == 1 and None not in splits for splits in of.values())
    assert len(set.union(*of.values())) == 3
    assert {plan.split for plan in found if plan.workload == "breast-cancer-logreg"} == {None}, "its optimum is theirs"
    _, other = plans(name="other", workloads=["digits-lenet5"], optimizers=["adamw"])
    assert [plan.split for plan in other] == [of[number].copy().pop() for number in (1, 2, 3)]
    assert plans(seed=1)[1][0].split not in of[1]
    made, found = plans(resplit=False)
    assert {plan.split for plan in found} == {None}
    assert "resplit" not in made.stored(), "so are the campaigns of before"


@pytest.mark.slow
def test_runs_and_their_confirmation_are_given_the_split_and_reports_know_of_it(tmp_path: Path):
    from analysis.load import studies
    from studies.storage.database import close_storage, open_storage

    url = f"sqlite:///{tmp_path}/sofim.db"
    made, found = plans(workloads=["digits-mlp"], optimizers=["sgd"], trials=1)
    splits = {plan.name: plan.split for plan in found}
    with open_search(url, made.stored(), found, {}) as ledger:
        while (assignment := ledger.ask()) is not None:
            assert (assignment.split, assignment.test) == (splits[assignment.study], False)
            end(ledger, assignment, 0.5)
    with open_confirmation(url, made.stored(), found, {}, seeds=1) as ledger:
        while (assignment := ledger.ask()) is not None:
            assert (assignment.split, assignment.test) == (splits[assignment.study.removesuffix("/confirm")], True)
            ledger.end(assignment, "diverged")
    storage = open_storage(url, create=False)
    assert [study.resplit for study in studies(storage, replicates=True)] == [True] * 3
    close_storage(storage)


def test_a_run_of_a_replicate_trains_on_its_split(monkeypatch):
    """Worker and plain loading agree, and training on the split is another than on the published one."""
    from studies.training import worker
    from tests.studies.training.test_worker import STORE, assignment

    monkeypatch.setattr(worker, "_greeted", True)

    def losses(split: int | None) -> list[float]:
        worker._workload.cache_clear()
        messages: list[worker.Message] = []
        arguments = {"lr": 0.1, "batch_size": 256}
        asked = assignment(workload="digits-mlp", arguments=arguments, epochs=1, split=split, test=True)
        worker.run(asked, worker.TrainingOptions(), messages.append, STORE)
        assert messages[-1]["end"] == "complete", messages[-1]["failure"]
        return [record["test_loss"] for record in messages[-1]["records"]]

    assert losses(3) == losses(3) != losses(4)
    drawn, published = load(WORKLOADS["digits-mlp"], None, 3), load(WORKLOADS["digits-mlp"], None)
    assert not torch.equal(drawn.test().targets, published.test().targets)
    assert losses(None) != losses(3)
