"""A campaign whose names are all others, listed in another order, gives the same to the last bit."""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import optuna
import pytest

from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign, resolve_campaign
from studies.ledger import Ledger, open_confirmation, open_search
from studies.storage.database import close_storage, open_storage
from studies.training.run import train

XOR = """
    import torch
    from torch import nn
    from studies.workloads import Data, Metric, Workload, accuracy

    def load(directory):
        points = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
        classes = (points.prod(dim=1) > 0).long()
        parts = [(points[a:b], classes[a:b]) for a, b in ((0, 150), (150, 220), (220, 300))]
        return Data(*parts)

    def NAME():
        return Workload(
            name="NAME", load=load, model=lambda: nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.Linear(8, 2)),
            loss=nn.functional.cross_entropy, metric=Metric("accuracy", "maximize", accuracy), epochs=3,
        )
"""


def work_off(ledger: Ledger, resolved: ResolvedCampaign) -> None:
    """Train one after the other what is asked for."""
    while (run := ledger.ask()) is not None:
        spec, outcome = OPTIMIZERS[run.optimizer], "complete"
        for record in train(resolved.workloads[run.workload], spec, run.arguments, run.seed, run.epochs, test=run.test):
            told = {name: value for name, value in dataclasses.asdict(record).items() if value is not None}
            if told.pop("diverged"):
                outcome = "diverged"
                break
            if ledger.report(run, told):
                outcome = "pruned"
                break
        ledger.end(run, outcome, {})


def run(url: str, **fields: Any) -> list[list[tuple[object, ...]]]:
    """Search and confirm; return all that was decided and measured, study by study."""
    resolved = resolve_campaign(CampaignPlan.of({"trials": 13, "replicates": 2, **fields}), test=None)
    plans, campaign = resolved.study_plans(), resolved.plan.stored()
    with open_search(url, campaign, plans, {}) as ledger:
        work_off(ledger, resolved)
    first = [plan for plan in plans if plan.replicate == 1]
    with open_confirmation(url, campaign, first, {}, seeds=2) as ledger:
        work_off(ledger, resolved)
    storage = open_storage(url)
    names = [plan.name for plan in plans] + [f"{plan.name}/confirm" for plan in first]
    told = ("seed", "drawn_by", "diverged", "gradient_evaluations", "confirms", "test_metric", "test_loss")
    found = [
        [
            (trial.state, trial.params, trial.value, trial.intermediate_values, trial.system_attrs,
             *(trial.user_attrs.get(name) for name in told))
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        ]
        for name in names
    ]  # fmt: skip
    close_storage(storage)
    return found


@pytest.mark.slow
def test_a_campaign_with_other_names_in_another_order_gives_the_same(tmp_path: Path, monkeypatch) -> None:
    for file, name in (("spelled_so", "exclusive"), ("spelled_otherwise", "exclusive_or")):
        (tmp_path / f"{file}.py").write_text(textwrap.dedent(XOR.replace("NAME", name)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    first = run(
        f"sqlite:///{tmp_path}/a.db", name="first", workloads=["spelled_so:exclusive"], optimizers=["sofim", "sgd"]
    )
    second = run(
        f"journal:///{tmp_path}/b.log",
        name="another-name",
        workloads=["spelled_otherwise:exclusive_or"],
        optimizers=["sgd", "sofim"],
    )
    assert len(first) == len(second) == 6
    assert len({trial[0] for study in first for trial in study}) > 1, "some were stopped"
    sofim, sgd = (0, 1, 4), (2, 3, 5)
    assert [second[place] for place in (*sgd, *sofim)] == [first[place] for place in (*sofim, *sgd)]
