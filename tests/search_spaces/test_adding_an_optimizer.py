"""An optimizer of a library is one row, its search space one file and one row."""

from __future__ import annotations

import pytest

from tests.support.copied_tree import CopiedTree

SPACE = '''
"""RAdam."""
from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter
from search_spaces._ranges import BATCH_SIZE

SPACE = SearchSpace(
    optimizer="radam",
    declared={"lr": Parameter.log(1e-4, 1.0, default=1e-3, reason="As Adam."), "batch_size": BATCH_SIZE},
)
'''

USED = """
from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.training.run import train
plan = CampaignPlan.of({"name": "mine", "workloads": ["digits-mlp"], "optimizers": ["radam"], "trials": 1, "epochs": 1})
resolved = resolve_campaign(plan)
[study] = resolved.study_plans()
arguments = study.space.arguments(study.space.default)
print(study.name, len(list(train(resolved.workloads["digits-mlp"], OPTIMIZERS["radam"], arguments, 0, study.epochs))))
"""


@pytest.mark.slow
def test_an_optimizer_is_three_files_one_of_them_new(tmp_path):
    tree = CopiedTree(tmp_path)
    tree.insert("sofim/registry.py", 'OptimizerSpec("radam", torch.optim.RAdam),', before='OptimizerSpec("sofim"')
    tree.add("search_spaces/radam.py", SPACE)
    tree.insert("search_spaces/__init__.py", "from search_spaces import radam", before="__all__")
    tree.insert("search_spaces/__init__.py", "radam.SPACE,", before="sofim.SPACE,")
    assert tree.run(USED) == "mine/digits-mlp/radam 1\n"
    assert "radam" in tree.run("from studies.cli import main; main(['list'])").split()
    assert len(tree.touched) == 3
