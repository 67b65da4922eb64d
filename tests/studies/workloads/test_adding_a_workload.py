"""A workload is one file and one row."""

from __future__ import annotations

import pytest

from tests.support.copied_tree import CopiedTree

TOY = '''
"""Two blobs."""
import torch
import torch.nn.functional as F
from torch import nn
from studies.workloads._base import Metric, Workload, accuracy
from studies.data import Data

def _load(_directory):
    points = torch.randn(90, 2, generator=torch.Generator().manual_seed(0))
    classes = (points.sum(dim=1) > 0).long()
    return Data((points[:60], classes[:60]), (points[60:], classes[60:]))

TOY = Workload("toy", _load, lambda: nn.Linear(2, 2), F.cross_entropy, Metric("accuracy", "maximize", accuracy), 0.9, 2)
'''

LISTED = "from studies.cli import main; main(['list'])"

USED = """
from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.training.run import train
plan = CampaignPlan.of({"name": "mine", "workloads": ["toy"], "optimizers": ["sgd"], "trials": 1})
resolved = resolve_campaign(plan)
[study] = resolved.study_plans()
arguments = study.space.arguments(study.space.default)
print(study.name, len(list(train(resolved.workloads["toy"], OPTIMIZERS["sgd"], arguments, 0, study.epochs))))
"""


@pytest.mark.slow
def test_a_workload_is_two_files_one_of_them_new(tmp_path):
    tree = CopiedTree(tmp_path)
    tree.add("studies/workloads/toy.py", TOY)
    tree.insert("studies/workloads/_rows.py", "from studies.workloads.toy import TOY", before="WORKLOADS:")
    tree.insert("studies/workloads/_rows.py", "TOY,", before="BREAST_CANCER_LOGREG,")
    assert tree.run(USED) == "mine/toy/sgd 2\n"
    assert len(tree.touched) == 2
    assert "toy accuracy, maximize, target 0.9, 2 epochs" in " ".join(tree.run(LISTED).split())


@pytest.mark.nightly
@pytest.mark.slow
def test_a_row_that_computes_what_is_listed_is_listed_as_it_is(tmp_path):
    tree = CopiedTree(tmp_path)
    tree.add("studies/workloads/toy.py", TOY.replace("0.9, 2)", "1 - 0.25, epochs=2 * 3)"))
    tree.insert("studies/workloads/_rows.py", "from studies.workloads.toy import TOY", before="WORKLOADS:")
    tree.insert("studies/workloads/_rows.py", "TOY,", before="BREAST_CANCER_LOGREG,")
    assert "toy accuracy, maximize, target 0.75, 6 epochs" in " ".join(tree.run(LISTED).split())
