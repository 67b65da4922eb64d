"""Every workload that needs no download: trained by every optimizer, repeated and resumed, on few of its examples."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import pytest
import torch

from search_spaces import SEARCH_SPACES
from sofim.registry import OPTIMIZERS
from studies.data import DATASETS, Data, PublishedDataset
from studies.training.run import Run
from studies.workloads import WORKLOADS, load

EMBEDDED = [
    name
    for name, row in WORKLOADS.items()
    if not isinstance(DATASETS.get(row.dataset or ""), PublishedDataset)
    and (name != "cartpole-reinforce" or find_spec("gymnasium"))
]
_FEW = 24


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@cache
def _data(name):
    """What a workload trains on; of the long text a short piece, whose every letter is told in each evaluation."""
    data = load(WORKLOADS[name], None)
    return {part: text[:1000] for part, text in data.items()} if name == "shakespeare-gpt" else data


def started(name, key, epochs):
    """Return a run of few examples at the defaults of the optimizer's search space."""
    row = WORKLOADS[name]
    data = _data(name)
    if row.sample is None:
        data = Data(*((part.inputs[:_FEW], part.targets[:_FEW]) for part in (data.train, data.validation)))
    else:
        row = replace(row, examples=_FEW)
    arguments = {**SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default), "batch_size": _FEW // 2}
    return Run(row, OPTIMIZERS[key], arguments, seed=3, budget=epochs, data=data)


def weights(run):
    return torch.cat([parameter.detach().flatten() for parameter in run.model.parameters()])


def numbers(record):
    return replace(record, seconds=0.0)


@pytest.mark.parametrize("key", OPTIMIZERS)
@pytest.mark.parametrize("name", EMBEDDED)
def test_every_optimizer_moves_all_weights(name, key):
    run = started(name, key, 1)
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    record = run.next_epoch()
    assert math.isfinite(record.train_loss)
    assert math.isfinite(record.metric)
    for old, new in zip(before, run.model.parameters(), strict=True):
        assert not torch.equal(old, new)


@pytest.mark.parametrize("key", ["sofim", "adahessian"])
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_run_repeats_and_resumes_bit_for_bit(name, key, tmp_path):
    whole, broken = started(name, key, 2), started(name, key, 2)
    records = [numbers(whole.next_epoch()) for _ in range(2)]
    assert numbers(broken.next_epoch()) == records[0]
    torch.save(broken.state_dict(), tmp_path / "state.pt")
    resumed = started(name, key, 2)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.manual_seed(99)
    assert numbers(resumed.next_epoch()) == records[1]
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("name", [name for name in EMBEDDED if WORKLOADS[name].sample is None])
def test_parts_have_no_example_in_common(name):
    data = WORKLOADS[name].load(None)
    rows = [
        {row.numpy().tobytes() for row in part.inputs.flatten(1)} for part in (data.train, data.validation, data.test())
    ]
    assert not rows[0] & rows[1]
    assert not rows[2] & (rows[0] | rows[1])
