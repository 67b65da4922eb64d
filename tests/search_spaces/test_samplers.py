"""The table of samplers: one row is all that a new one needs."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from analysis.load import studies, trials
from search_spaces.errors import UserError
from search_spaces.samplers import SAMPLERS, Sampler
from studies.campaign.initial import read_initial
from studies.campaign.plan import CampaignPlan
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import campaign, make

ROWS = {
    "middle": Sampler("the middle of every range", point=lambda _seed, _index, dimensions: np.full(dimensions, 0.5)),
    "brave": Sampler("draws that learn nothing", make=lambda seed, _: optuna.samplers.RandomSampler(seed=seed)),
}


@pytest.fixture(params=ROWS)
def toy(request, monkeypatch):
    """A sampler that is added by its row alone."""
    monkeypatch.setitem(SAMPLERS, request.param, ROWS[request.param])
    return request.param


def test_every_sampler_either_learns_or_has_points():
    assert all((row.make is None) != (row.point is None) for row in SAMPLERS.values())
    assert [name for name, row in SAMPLERS.items() if row.learns] == ["tpe", "gp", "cmaes"]


@pytest.mark.slow
def test_a_new_sampler_is_one_row(toy, tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    made = make(url, {"digits-mlp/sgd": [0.5, 0.6]}, sampler=toy, workloads=["digits-mlp"], optimizers=["sgd"])
    assert CampaignPlan.from_stored(made.stored()).campaign.sampler == toy
    storage = open_storage(url, create=False)
    found = trials(storage, studies(storage, "fake"))
    close_storage(storage)
    first, second = found["params"]
    assert (first == second) is (toy == "middle")


def test_whether_a_new_sampler_begins_with_what_is_given_is_in_its_row(toy, tmp_path):
    (tmp_path / "starts.toml").write_text("")
    said = "draws independently" if toy == "middle" else "is not what sofim export"
    with pytest.raises(UserError, match=said):
        read_initial(tmp_path / "starts.toml", campaign(sampler=toy))
