"""A stream of batches of a person's own, written as the package's documentation says, tuned and confirmed by Ray."""

from __future__ import annotations

import math
import textwrap

import pytest

import studies.workloads
from tests.support.probe_home import called, trials_in

CAMPAIGN = """
name = "mine"
workloads = ["mine:letters"]
optimizers = ["sofim", "adamw"]
trials = 2
sampler = "random"
pruner = "none"
resplit = true
"""


@pytest.mark.nightly
@pytest.mark.cluster
def test_the_documented_stream_is_tuned_and_confirmed_through_ray(tmp_path, one_ray):
    example = studies.workloads.__doc__.split(".. code-block:: python\n")[2].partition("\n\nA loop of your own")[0]
    (tmp_path / "mine.py").write_text(textwrap.dedent(example))
    (tmp_path / "mine.toml").write_text(CAMPAIGN)
    done = called(tmp_path, "launch", "mine.toml", "--cpus-per-trial", "2")
    assert done.returncode == 0, done.stderr
    assert "letters: resplit does not draw its data again" in " ".join(done.stdout.split())
    for optimizer in ("sofim", "adamw"):
        trials = trials_in(tmp_path, f"mine/mine:letters/{optimizer}")
        assert [len(trial.user_attrs["history"]["bits"]) for trial in trials] == [5, 5]
        assert all("validation_loss" not in trial.user_attrs["history"] for trial in trials)  # nothing tells it
        assert 0 < min(trial.value for trial in trials) < math.log2(128)
    done = called(tmp_path, "confirm", "mine", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "test bits" in done.stdout
