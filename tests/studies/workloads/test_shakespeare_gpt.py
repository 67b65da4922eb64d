"""The GPT on Shakespeare: its text, its attention against torch's own, every optimizer, and going on bit for bit."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies.data import DATASETS, status
from studies.training.rehearsal import rehearse
from studies.training.run import Run
from studies.workloads import WORKLOADS, load
from studies.workloads import shakespeare_gpt as gpt

DATA = load(WORKLOADS["shakespeare-gpt"], None)
SHORT = {name: part[:1000] for name, part in DATA.items()}
SMALL = replace(WORKLOADS["shakespeare-gpt"], load=lambda directory: SHORT, examples=8, epochs=3)


def test_the_text_is_cut_as_published_and_whole():
    assert [len(part) for part in DATA.values()] == [1_003_854, 55_770, 55_770]
    text = DATASETS["shakespeare"].read()
    assert text.startswith(b"First Citizen:\nBefore we proceed any further, hear me speak.")
    letters = sorted(set(text))
    assert len(letters) == 65
    assert bytes(letters[code] for code in torch.cat(list(DATA.values())).tolist()) == text


def test_a_damaged_text_is_one_line(monkeypatch):
    monkeypatch.setitem(DATASETS, "shakespeare", replace(DATASETS["shakespeare"], sha256="0" * 64))
    with pytest.raises(UserError, match=r"shakespeare: .*shakespeare.txt.xz is missing or damaged; install sofim-stud"):
        load(WORKLOADS["shakespeare-gpt"], None)
    assert not status("shakespeare").present


def test_attention_is_torch_s_and_sees_nothing_that_comes_later():
    torch.manual_seed(0)
    model, letters = gpt.GPT().double(), torch.randint(65, (2, 64))
    for layer in model.layers:
        torch.nn.init.normal_(layer.attention.weight, std=0.5)
    layer, x = model.layers[0], torch.randn(2, 64, 64, dtype=torch.float64)
    parts = (part.unflatten(-1, (4, 16)).transpose(1, 2) for part in layer.attention(x).chunk(3, dim=-1))
    theirs = F.scaled_dot_product_attention(*parts, is_causal=True)
    torch.testing.assert_close(layer.attended(x), layer.projection(theirs.transpose(1, 2).flatten(2)))
    before = model(letters)
    letters[:, 40:] = 0
    after = model(letters)
    torch.testing.assert_close(after[:, :40], before[:, :40])
    assert not torch.equal(after[:, 40:], before[:, 40:])


@pytest.mark.slow
def test_an_untrained_model_knows_nothing_and_is_evaluated_on_nearly_every_letter():
    torch.manual_seed(0)
    model, seen = gpt.GPT().eval(), []
    model.register_forward_hook(lambda module, inputs, outputs: seen.append(inputs[0].flatten()))
    with torch.no_grad():
        found = WORKLOADS["shakespeare-gpt"].evaluate(model, DATA, "validation")
    assert found["bits-per-character"] == pytest.approx(math.log2(65), abs=0.1)
    assert torch.equal(torch.cat(seen), DATA["validation"][: 871 * 64].long())


@pytest.mark.slow
def test_every_optimizer_takes_steps():
    rehearse(SMALL, SHORT, SEARCH_SPACES)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["sofim", "adahessian"])
def test_a_run_that_goes_on_gives_the_same_numbers_bit_for_bit(key):
    def run():
        arguments = SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default) | {"batch_size": 4}
        return Run(SMALL, OPTIMIZERS[key], arguments, seed=1, budget=3, data=SHORT, test=True)

    whole, first, second = list(run().records()), run(), run()
    begun = [first.next_epoch(), first.next_epoch()]
    second.load_state_dict(first.state_dict())
    told = [asdict(record) | {"seconds": 0} for record in (*begun, *second.records())]
    assert told == [asdict(record) | {"seconds": 0} for record in whole]
    assert whole[-1].metric < whole[0].metric
