"""The page on workloads of one's own: each example is a file that the command under it tunes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.support.one_ray import OneRay
from tests.support.probe_home import called, trials_in

PAGE = (Path(__file__).parents[1] / "docs" / "workloads.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```sh\n(.*?)\n```", PAGE, flags=re.DOTALL)
LEARNT = {"xor": 0.65, "forecast": -0.1, "cart": -8.0}
"""What the better of three configurations is better than, and a model that has learnt nothing is not: a share of right
answers, the mean of squares of the series (0.6) and what an idle cart gets (-20), each the greater the better."""


def test_every_example_is_launched():
    assert [re.search(r"mine:(\w+)", command)[1] for _, command in EXAMPLES] == list(LEARNT)
    assert PAGE.count("```python") == PAGE.count("```sh") == len(EXAMPLES)


def test_the_example_with_rows_is_the_package_s_own():
    import studies.workloads

    documented = re.search(r"code-block:: python\n\n(.*?)\n\nIn a file", studies.workloads.__doc__, flags=re.DOTALL)[1]
    assert [line.strip() for line in EXAMPLES[0][0].splitlines()] == [line.strip() for line in documented.splitlines()]


@pytest.mark.nightly(by_day=["cart"])
@pytest.mark.cluster
@pytest.mark.parametrize(("code", "command"), EXAMPLES, ids=list(LEARNT))
def test_an_example_is_tuned_by_the_command_under_it(code, command, tmp_path: Path, one_ray: OneRay):
    (tmp_path / "mine.py").write_text(code)
    one_ray.use(tmp_path)
    alone = ("--cpus-per-trial", "2")  # which of two at once ASHA stops is chance
    done = called(tmp_path, *shlex.split(command)[1:], *alone)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    name = re.search(r"mine:(\w+)", command)[1]
    best = []
    for optimizer in ("sofim", "sgd"):
        trials = trials_in(tmp_path, f"{name}/mine:{name}/{optimizer}")
        assert len(trials) == 3
        assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
        best += [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
    assert max(-value if name == "forecast" else value for value in best) > LEARNT[name]
