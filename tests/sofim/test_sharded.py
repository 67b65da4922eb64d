"""Training in several processes gives the step of one, or is refused."""

from __future__ import annotations

import pytest
import torch

from tests.sofim import processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
]


@pytest.mark.nightly(by_day=["3"])
@pytest.mark.parametrize("num_processes", [3, 4])
def test_several_processes_take_the_step_of_one_or_are_refused(num_processes, tmp_path):
    """Of four processes are meshes of two dimensions."""
    outcomes = processes.run(num_processes, tmp_path)
    assert len(outcomes) == {3: 40, 4: 6}[num_processes]
    for name, outcome in outcomes.items():
        if name.startswith("refused"):
            assert str(outcome).startswith("ValueError: "), name
            assert "needs whole parameters" in str(outcome), name
            assert "\n" not in str(outcome), name
        else:
            # Parameters are of size one and steps of a tenth; a norm of a part is off by 1e-2.
            assert not isinstance(outcome, str), f"{name}: {outcome}"
            assert outcome < 1e-5, name
