"""A person's own loop through Ray: a campaign of two search spaces without an optimizer, to its report and export."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.support.one_ray import OneRay
from tests.support.probe_home import called, trials_in

pytestmark = pytest.mark.cluster

PAGE = (Path(__file__).parents[2] / "docs" / "your-loop.md").read_text(encoding="utf-8")


@pytest.mark.nightly
def test_two_spaces_of_a_loop_are_compared_confirmed_told_and_exported(tmp_path: Path, one_ray: OneRay) -> None:
    loop, _, declared, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    campaign = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1]
    (tmp_path / "sizes.py").write_text(loop.partition("\n\nlr = ")[0] + declared)
    (tmp_path / "sizes.toml").write_text(campaign.replace("trials = 20", 'trials = 2\npruner = "none"'))
    one_ray.use(tmp_path)
    for command in (("launch", "sizes.toml", "--cpus-per-trial", "2"), ("confirm", "sizes", "--seeds", "2")):
        done = called(tmp_path, *command)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for space, names in (("narrow", {"lr"}), ("wide", {"lr"})):  # of so few trials the first of a space
        trials = trials_in(tmp_path, f"sizes/sizes:sized/{space}")
        assert [set(trial.params) for trial in trials] == [names] * 2
        assert {trial.user_attrs["gradient_evaluations"] for trial in trials} == {None}
        assert len(trials_in(tmp_path, f"sizes/sizes:sized/{space}/replicate-3/confirm")) == 2
    exported = called(tmp_path, "export", "sizes", "--format", "python")
    assert len(re.findall(r"^configuration = \{'lr': .*'hidden': \d+\}$", exported.stdout, re.MULTILINE)) == 2
    report = called(tmp_path, "report", "sizes", "--out", "report")
    assert report.returncode == 0, report.stderr
    rules = pd.read_csv(tmp_path / "report" / "tables" / "fairness.csv").set_index("rule")
    assert "a training function does not count gradient evaluations" in rules.loc[5, "evidence"]
    assert "without a cost" not in rules.loc[5, "evidence"]
    assert "schedule" not in pd.read_csv(tmp_path / "report" / "tables" / "audit.csv").to_string()
