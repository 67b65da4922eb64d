"""SOFIM's compiled step: the numbers of the plain one, and what is said where it cannot be had."""

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import warnings

import pytest
import torch
from torch import nn

from sofim import SOFIM, _fused

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
SHAPES = [(3, 2), (17,), (), (0,), (64, 70), (300, 200)]  # below and above what threads are for


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        _fused.kernels.cache_clear()
        yield
    _fused.kernels.cache_clear()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A machine that has compiled nothing yet."""
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path))
    monkeypatch.setattr(_fused, "kernels", _fused.kernels.__wrapped__)
    _fused.can_fuse.cache_clear()
    yield tmp_path
    _fused.can_fuse.cache_clear()


def tensors(dtype=torch.float32, shapes=SHAPES):
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in shapes]


def advance(params, optimizer, steps=range(4)):
    for step in steps:
        for index, param in enumerate(params):
            param.grad = torch.sin(3.0 * param.detach() + step + index)
        optimizer.step()


def both(dtype=torch.float32, shapes=SHAPES, **options):
    ends = []
    for fused in (None, True):
        params = tensors(dtype, shapes)
        optimizer = SOFIM(params, lr=0.5, fused=fused, **options)
        advance(params, optimizer)
        ends.append([*params, *(optimizer.state[param]["average"] for param in params)])
    return ends


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "maximize": True},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"blocks": "tensor"},
    ],
    ids=str,
)
def test_equals_the_plain_step_to_rounding(dtype, options, monkeypatch):
    done = []
    step = _fused.fused_step
    monkeypatch.setattr("sofim._in_place.fused_step", lambda *given: done.append(step(*given)) or done[-1])
    for one, other in zip(*both(dtype, **options), strict=True):
        torch.testing.assert_close(one, other)
    assert done
    assert all(done)


def test_the_number_of_threads_changes_no_bit():
    ends, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        ends.append(both()[1])
    torch.set_num_threads(before)
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


def test_a_norm_over_millions_of_entries_is_right():
    grad = torch.randn(1_500_000, generator=torch.Generator().manual_seed(0))
    param = nn.Parameter(torch.zeros(1_500_000))
    param.grad = grad
    SOFIM([param], lr=1.0, rho=1e-6, fused=True).step()
    expected = -grad.double() / (1e-6 + grad.double().square().sum())
    assert float((param.detach().double() - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("of_gradient", [torch.channels_last, torch.contiguous_format])
def test_layouts_that_are_not_alike_take_the_plain_step(of_gradient):
    plain, strided, transposed = (tensors(shapes=[(8, 6, 5, 5)])[0] for _ in range(3))
    strided.data = strided.detach().contiguous(memory_format=torch.channels_last)
    transposed.data = transposed.detach().transpose(0, 3).contiguous().transpose(0, 3)
    optimizers = [SOFIM([param], lr=0.5, fused=True) for param in (plain, strided, transposed)]
    for step in range(3):
        plain.grad = torch.sin(plain.detach() + step)
        for other in (strided, transposed):
            other.grad = plain.grad.contiguous(memory_format=of_gradient)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(strided.detach(), plain.detach())
    torch.testing.assert_close(transposed.detach(), plain.detach())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair)), None])
def test_copies_and_checkpoints_go_on_bit_for_bit(duplicate):
    params = tensors()
    optimizer = SOFIM(params, lr=0.5, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.7, total_steps=20)
    advance(params, optimizer)
    scheduler.step()
    if duplicate is None:
        others = [nn.Parameter(param.detach().clone()) for param in params]
        other = SOFIM(others)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert set(other.state[others[0]]) == {"step", "average"}
    else:
        others, other = duplicate((params, optimizer))
    assert other.param_groups[0]["fused"] is True
    advance(params, optimizer, range(4, 8))
    advance(others, other, range(4, 8))
    for one, copied in zip(params, others, strict=True):
        assert torch.equal(one, copied)


def test_grad_scaler_and_a_learning_rate_that_is_a_tensor():
    ends = []
    for lr in (0.25, torch.tensor(0.25)):
        param = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer, scaler = SOFIM([param], lr=lr, fused=True), torch.amp.GradScaler("cpu", init_scale=1024.0)
        for factor in (1.0, float("inf"), 2.0):
            optimizer.zero_grad()
            scaler.scale((factor * param).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert optimizer.state[param]["step"] == 2
        ends.append(param.detach())
    assert torch.equal(*ends)


def test_autograd_knows_that_the_parameters_have_changed():
    param = nn.Parameter(torch.ones(3))
    loss = (param.square() * param).sum()
    loss.backward(retain_graph=True)
    SOFIM([param], fused=True).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_nothing_is_compiled_that_nobody_asked_for(elsewhere, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("compiled"))
    params = tensors()
    advance(params, SOFIM(params))
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("compiler", "words"),
    [
        ("no-such-compiler", "needs a C[+][+] compiler, and there is no no-such-compiler; install one"),
        ("false", r"cannot be compiled with .*false \(exit code 1\); install one"),
        ("sh -c 'echo a line >&2; echo another >&2; exit 2'", r"cannot be compiled with .*sh \(a line\); install one"),
    ],
)
def test_who_asks_where_there_is_no_compiler_is_told(elsewhere, monkeypatch, compiler, words):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(RuntimeError, match=words) as told:
        SOFIM(tensors(), fused=True)
    assert "\n" not in str(told.value)
    optimizer = SOFIM(tensors())
    with pytest.raises(RuntimeError, match=words):
        optimizer.add_param_group({"params": tensors(), "fused": True})
    assert len(optimizer.param_groups) == 1


@pytest.mark.slow
def test_a_checkpoint_of_a_machine_with_a_compiler_goes_on_without(elsewhere, monkeypatch):
    """Told once, since there nobody asked for it."""
    params = tensors()
    options = {"lr": 0.5, "weight_decay": 0.1, "decoupled_weight_decay": True}
    optimizer = SOFIM(params, fused=True, **options)
    advance(params, optimizer)
    stored = copy.deepcopy(optimizer.state_dict())
    _fused.can_fuse.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    others = [nn.Parameter(param.detach().clone()) for param in params]
    other = SOFIM(others)
    other.load_state_dict(stored)
    with pytest.warns(UserWarning, match="needs a C[+][+] compiler.*: stepping without"):
        advance(others, other, [4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advance(others, other, [5])
    monkeypatch.delenv("CXX")
    _fused.can_fuse.cache_clear()
    advance(params, optimizer, [4, 5])
    for one, another in zip(params, others, strict=True):
        torch.testing.assert_close(one, another)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_none(elsewhere, monkeypatch):
    (elsewhere / "file").touch()
    monkeypatch.setenv("SOFIM_CACHE", str(elsewhere / "file"))
    params = tensors()
    advance(params, SOFIM(params, fused=True), [0])


@pytest.mark.parametrize(
    ("options", "dtype", "device", "words"),
    [
        ({"direction": "gradient"}, torch.float32, "cpu", "along the average alone"),
        ({}, torch.bfloat16, "cpu", "not torch.bfloat16 on cpu"),
        ({}, torch.float32, "meta", r"not torch.float32 on meta; .*torch.compile\(optimizer.step\)"),
    ],
)
def test_what_cannot_be_fused_is_named(options, dtype, device, words):
    with pytest.raises(ValueError, match=words):
        SOFIM([nn.Parameter(torch.ones(2, dtype=dtype, device=device))], fused=True, **options)


def test_a_gradient_that_is_stored_as_its_opposite_is_read_as_what_it_is():
    """Of a conjugate's imaginary part torch keeps the memory and sets a bit."""

    def trained(fused):
        bias = nn.Parameter(torch.tensor([0.5]))
        optimizer, losses = SOFIM([bias], lr=0.1, rho=0.5, fused=fused), []
        for _ in range(4):
            optimizer.zero_grad()
            loss = (torch.complex(torch.tensor([1.0]), bias).conj() - (1 - 2j)).abs().square().sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert trained(fused=True) == pytest.approx(trained(fused=False))
