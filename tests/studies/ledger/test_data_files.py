"""A study says which files it was made on, and is not gone on with on others."""

from __future__ import annotations

import pytest

from analysis.load import studies
from search_spaces.errors import UserError
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.ledger import open_search
from studies.storage.database import close_storage, open_storage
from tests.reference.published_formats import write, write_checksums


@pytest.mark.slow
def test_files_are_stored_with_the_study_and_others_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "cache"))
    folder = write("cifar10", tmp_path, num_per_batch=10)
    url = f"sqlite:///{tmp_path}/one.db"
    fields = {"name": "mine", "workloads": ("cifar10-lenet5",), "optimizers": ("sgd",), "trials": 1}
    plan = CampaignPlan.of(fields)

    def begin():
        resolved = resolve_campaign(plan, tmp_path)
        with open_search(url, plan.stored(), resolved.study_plans(), {}):
            pass

    begin()
    begin()
    storage = open_storage(url)
    [study] = studies(storage)
    close_storage(storage)
    assert "cifar10-lenet5: Not cifar10 as published: all 6 files" in study.data_note
    assert study.target_origin.startswith("a published figure: ")
    (folder / "data_batch_1").write_bytes((folder / "data_batch_2").read_bytes())
    write_checksums(folder)
    with pytest.raises(UserError, match=r"study 'mine/cifar10-lenet5/sgd' was begun on other data \(data_batch_1\)"):
        begin()


@pytest.mark.slow
def test_a_study_stores_where_its_metric_ends(tmp_path):
    pytest.importorskip("gymnasium")
    url = f"sqlite:///{tmp_path}/one.db"
    plan = CampaignPlan.of({"name": "m", "workloads": ("cartpole-reinforce",), "optimizers": ("sgd",), "trials": 1})
    with open_search(url, plan.stored(), resolve_campaign(plan).study_plans(), {}):
        pass
    storage = open_storage(url)
    [study] = studies(storage)
    close_storage(storage)
    assert study.bounds([475.0]) == (0.0, 500.0)
