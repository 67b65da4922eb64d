"""The pages on loops of one's own: what they say to type is what runs here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.training.function_run import FunctionRun
from studies.workloads import TrainingFunction

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def module_of(code, name, monkeypatch, directory):
    """The module that a page has its reader save, importable."""
    (directory / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(directory))
    return __import__(name)


def trained(task, optimizer, seed, *, schedule="constant", epochs=2, **arguments):
    run = FunctionRun(
        task, OPTIMIZERS[optimizer], {"lr": 0.01, "batch_size": 64, **arguments}, seed=seed, budget=epochs,
        of_optimizer=True, schedule=schedule,
    )  # fmt: skip
    values = []
    while not run.finished:
        values.append(run.next_epoch().metric)
    run.close()
    return values


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the libraries
@pytest.mark.parametrize(("page", "library"), [("lightning.md", "lightning"), ("transformers.md", "transformers")])
def test_the_page_of_a_library_trains_repeats_and_compares_optimizers(page, library, monkeypatch, tmp_path):
    pytest.importorskip(library)
    (code,), (campaign,) = blocks(page, "python"), blocks(page, "toml")
    monkeypatch.chdir(tmp_path)
    mine = module_of(code, f"mine_{library}", monkeypatch, tmp_path)
    fields = tomllib.loads(campaign) | {"workloads": [f"mine_{library}:task"]}
    resolve_campaign(CampaignPlan.of(fields))
    assert isinstance(mine.task, TrainingFunction)
    first = trained(mine.task, "adamw", 0)
    assert len(first) == 2
    assert first[-1] > 0.15  # ten classes
    assert trained(mine.task, "adamw", 0) == first
    assert trained(mine.task, "adamw", 1) != first
    assert trained(mine.task, "sgd", 0) != first


def test_the_campaigns_of_the_page_compare_optimizers_and_search_spaces(monkeypatch, tmp_path):
    script, code, declared, _ = blocks("your-loop.md", "python")
    sized = script.partition("\n\nlr = ")[0] + declared
    task = module_of(code, "mine_loop", monkeypatch, tmp_path).task
    assert trained(task, "sofim", 0, rho=1.0) == trained(task, "sofim", 0, rho=1.0)
    module_of(sized, "mine_sized", monkeypatch, tmp_path)
    compared, widths = blocks("your-loop.md", "toml")
    for text, module, spaces in ((compared, "mine_loop", {"sofim", "sgd", "adamw"}), (widths, "mine_sized", None)):
        plan = CampaignPlan.of(tomllib.loads(re.sub(r'"(mine|sizes):', f'"{module}:', text)))
        studies = resolve_campaign(plan).study_plans()
        assert {study.optimizer for study in studies} == (spaces or {"narrow", "wide"})
        assert all("batch_size" in study.space.default for study in studies) == (spaces is not None)


def run_script(code, directory):
    (directory / "script.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "script.py"], cwd=directory, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.mark.cluster
@pytest.mark.slow
def test_the_twenty_lines_tune_a_loop(tmp_path):
    code = blocks("your-loop.md", "python")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    done = run_script(code.replace("budget=20", "budget=4, cpus=1"), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Best on __main__:train" in done.stdout
    assert re.search(r"^configuration = \{'lr': [\d.e-]+, 'hidden': \d+\}$", done.stdout, re.MULTILINE)
