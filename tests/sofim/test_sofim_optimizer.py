"""SOFIM as a torch.optim.Optimizer: checks, state, devices, the compiler, mixed precision."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from sofim import SOFIM, sofim_update

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def parameter(*shape, dtype=torch.float32, device="cpu"):
    torch.manual_seed(0)
    param = nn.Parameter(torch.randn(*shape, dtype=torch.float32).to(device=device, dtype=dtype))
    param.grad = torch.randn(*shape, dtype=torch.float32).to(device=device, dtype=dtype)
    return param


@pytest.mark.parametrize(
    "bad",
    [
        {"lr": -0.1},
        {"lr": math.nan},
        {"lr": math.inf},
        {"lr": torch.ones(2)},
        {"beta": 1.0},
        {"beta": -0.1},
        {"beta": math.nan},
        {"rho": 0.0},
        {"rho": -1.0},
        {"rho": math.nan},
        {"rho": math.inf},
        {"weight_decay": -1e-4},
        {"weight_decay": math.nan},
        {"direction": "Momentum"},
        {"direction": None},
        {"blocks": "layer"},
    ],
    ids=str,
)
def test_bad_hyperparameters(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        SOFIM([parameter(2)], **bad)
    with pytest.raises(ValueError, match=name):
        SOFIM([{"params": [parameter(2)], **bad}])
    optimizer = SOFIM([parameter(2)])
    with pytest.raises(ValueError, match=name):
        optimizer.add_param_group({"params": [parameter(2)], **bad})
    assert len(optimizer.param_groups) == 1


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match="view_as_real"):
        SOFIM([nn.Parameter(torch.ones(2, dtype=torch.complex64))])


def test_the_pure_function_refuses_complex_parameters():
    z = torch.ones(2, dtype=torch.complex64)
    with pytest.raises(ValueError, match="view_as_real"):
        sofim_update([z], [z], [z], 1, lr=0.1, beta=0.9, rho=0.5)


def test_sparse_gradients_are_refused_and_change_nothing():
    dense = parameter(2)
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    optimizer = SOFIM([dense, *embedding.parameters()])
    before = dense.detach().clone()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert torch.equal(dense, before)
    assert not optimizer.state


@pytest.mark.parametrize("foreach", [None, True, False])
def test_state_is_one_tensor_a_parameter(foreach):
    params = [parameter(3, 2), parameter(4)]
    optimizer = SOFIM(params, foreach=foreach)
    optimizer.step()
    optimizer.step()
    for param in params:
        state = optimizer.state[param]
        tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
        assert [tensor.shape for tensor in tensors] == [param.shape]
        assert state["step"] == 2
    for group in optimizer.state_dict()["param_groups"]:
        assert not any(isinstance(value, torch.Tensor) for value in group.values())


def test_state_dict_does_not_change_after_it_was_taken():
    param = parameter(3)
    optimizer = SOFIM([param])
    optimizer.step()
    steps = optimizer.state_dict()["state"][0]["step"]
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer.step()
    assert steps == saved["state"][0]["step"] == 1


def test_resume_with_a_scheduler_and_a_late_parameter_is_bit_for_bit():
    def build():
        params = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))]
        optimizer = SOFIM(params, lr=0.1, weight_decay=0.01)
        return params, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)

    def advance(params, optimizer, scheduler, steps):
        for step in steps:
            params[0].grad = torch.sin(torch.arange(3.0) + step)
            params[1].grad = torch.cos(torch.arange(2.0) + step) if step >= 5 else None
            optimizer.step()
            scheduler.step()

    straight = build()
    advance(*straight, range(20))
    first = build()
    advance(*first, range(10))
    second = build()
    for old, new in zip(first[0], second[0], strict=True):
        new.data.copy_(old)
    second[1].load_state_dict(copy.deepcopy(first[1].state_dict()))
    second[2].load_state_dict(first[2].state_dict())
    advance(*second, range(10, 20))
    for one, other in zip(straight[0], second[0], strict=True):
        assert torch.equal(one, other)


def test_learning_rate_may_be_a_tensor():
    number, tensor, shaped = parameter(3), parameter(3), parameter(3)
    SOFIM([number], lr=0.25).step()
    SOFIM([tensor], lr=torch.tensor(0.25)).step()
    SOFIM([shaped], lr=torch.tensor([0.25]), foreach=False).step()
    assert torch.equal(number, tensor)
    torch.testing.assert_close(number, shaped)


def test_beta_and_momentum_are_two_names_of_one_option():
    """The one that was set last counts, as people and schedulers set it, one after the other."""
    param = parameter(3)
    [group] = (optimizer := SOFIM([param], beta=0.8)).param_groups
    assert group["beta"] == group["momentum"] == 0.8
    for name, value in (("momentum", 0.7), ("beta", 0.6), ("beta", 0.8), ("momentum", 0.95), ("beta", 0.9)):
        group[name] = value
        optimizer.step()
        assert group["beta"] == group["momentum"] == value


@pytest.mark.parametrize("name", ["beta", "momentum"])
def test_a_group_may_give_either_name(name):
    first, second = parameter(3), parameter(3)
    optimizer = SOFIM([{"params": [first], name: 0.5}, {"params": [second]}], beta=0.9)
    assert [group["beta"] for group in optimizer.param_groups] == [0.5, 0.9]
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.9]
    with pytest.raises(ValueError, match="beta"):
        SOFIM([{"params": [parameter(3)], name: 1.0}])


@pytest.mark.parametrize("scheduler_first", [True, False])
def test_the_cycled_momentum_is_the_beta_of_the_formula(scheduler_first):
    """Step by step against the pure function, which is told the momentum; over an interruption at any moment."""
    param = parameter(3)
    optimizer = SOFIM([param], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=10)
    expected, average = param.detach().clone(), torch.zeros(3)
    seen = set()
    for step in range(1, 9):
        group = optimizer.param_groups[0]
        seen.add(momentum := group["momentum"])
        param.grad = torch.sin(param.detach() + step)
        [expected], [average] = sofim_update(
            [expected], [torch.sin(expected + step)], [average], step, lr=group["lr"], beta=momentum, rho=group["rho"]
        )
        if not scheduler_first:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        optimizer.step()
        torch.testing.assert_close(param.detach(), expected)
        scheduler.step()
        if scheduler_first:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert len(seen) == 8


def test_states_of_earlier_versions_load():
    """They know β as `beta` alone, and one form of the step."""
    param = parameter(3)
    old = SOFIM([param], beta=0.7)
    old.step()
    stored = old.state_dict()
    for name in ("momentum", "settled_beta", "direction", "blocks"):
        del stored["param_groups"][0][name], old.defaults[name]
    new = SOFIM([param])
    new.load_state_dict(stored)
    unpickled = pickle.loads(pickle.dumps(old))
    for optimizer in (new, unpickled):
        assert optimizer.param_groups[0]["momentum"] == 0.7
        optimizer.step()
        assert optimizer.param_groups[0]["beta"] == 0.7
    # also where a scheduler goes on with it
    torch.optim.lr_scheduler.OneCycleLR(new, max_lr=0.2, total_steps=10)
    new.step()
    assert new.param_groups[0]["beta"] == 0.95


def test_subclasses_of_tensors_are_stepped_by_their_own_operations():
    """Nothing is known of what in-place calls on many of them would do."""

    class Careful(torch.Tensor):
        """Refuses what the fast way is made of."""

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            assert "foreach" not in str(function)
            assert "lerp" not in str(function)
            return super().__torch_function__(function, types, args, kwargs or {})

    plain, special = parameter(5), nn.Parameter(parameter(5).detach().as_subclass(Careful))
    special.grad = plain.grad.clone()
    SOFIM([plain], lr=0.5, weight_decay=0.1).step()
    SOFIM([special], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(special.detach().as_subclass(torch.Tensor), plain.detach())


def test_zero_gradient_takes_no_step():
    param = parameter(3)
    param.grad = torch.zeros(3)
    before = param.detach().clone()
    SOFIM([param], rho=1e-30).step()
    assert torch.equal(param, before)


def test_group_without_any_gradient_is_skipped():
    param = nn.Parameter(torch.ones(2))
    optimizer = SOFIM([param])
    optimizer.step()
    assert torch.equal(param, torch.ones(2))
    assert not optimizer.state


def test_empty_and_strided_tensors():
    """Channels-last, transposed and empty parameters, each of the lengths that CPU treats apart."""
    shapes = [(4, 3, 2, 2), (16, 16, 8, 8), (64, 64, 5, 5)]
    plain = [parameter(*shape) for shape in shapes]
    strided = [nn.Parameter(param.detach().to(memory_format=torch.channels_last)) for param in plain]
    for param, other in zip(plain, strided, strict=True):
        # The gradient has another layout than its parameter, as autograd permits.
        other.grad = param.grad.clone()
    transposed = nn.Parameter(plain[0].detach().reshape(8, 6).T)
    transposed.grad = torch.zeros(6, 8)
    SOFIM([*plain, nn.Parameter(torch.ones(0))], lr=1.0).step()
    SOFIM([*strided, transposed], lr=1.0).step()
    for param, other in zip(plain, strided, strict=True):
        torch.testing.assert_close(param.detach(), other.detach().contiguous())


def test_mixed_dtypes_in_a_group_share_the_norm():
    mixed = [parameter(3), parameter(3, dtype=torch.float64), parameter(3, dtype=torch.bfloat16)]
    grads = [param.grad.double() for param in mixed]
    before = [param.detach().double().clone() for param in mixed]
    SOFIM(mixed, lr=1.0, rho=0.5).step()
    square_norm = sum(grad.square().sum() for grad in grads)
    assert [param.dtype for param in mixed] == [torch.float32, torch.float64, torch.bfloat16]
    for param, old, grad in zip(mixed, before, grads, strict=True):
        torch.testing.assert_close(param.detach().double(), old - grad / (0.5 + square_norm), rtol=1e-2, atol=1e-6)


def test_hooks_and_profiler_see_the_step():
    optimizer = SOFIM([parameter(2)])
    seen = []
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda optimizer, args, kwargs: seen.append("after"))
    with torch.autograd.profiler.profile() as profile:
        optimizer.step()
    assert seen == ["before", "after"]
    assert any(event.key == "Optimizer.step#SOFIM.step" for event in profile.key_averages())


@pytest.mark.parametrize("direction", ["momentum", "gradient"])
@pytest.mark.parametrize("blocks", ["group", "tensor"])
def test_no_value_is_read_on_the_host_off_cpu(direction, blocks):
    """A tensor on the meta device has no value: reading one raises. The same code runs on CUDA."""
    params = [nn.Parameter(torch.empty(3, 2, device="meta")), nn.Parameter(torch.empty(4, device="meta"))]
    for foreach in (None, True, False):
        optimizer = SOFIM(params, lr=0.1, weight_decay=0.1, foreach=foreach, direction=direction, blocks=blocks)
        for _ in range(2):
            for param in params:
                param.grad = torch.empty_like(param)
            optimizer.step()
    with pytest.raises((NotImplementedError, RuntimeError)):
        params[0].sum().item()


def test_path_for_devices_gives_the_numbers_of_the_path_for_cpu():
    """The function that CUDA runs, run on CPU."""
    from sofim._in_place import _step_on_device, _step_on_host

    for options in ({}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "maximize": True}, {"lr": torch.tensor(0.3)}):
        results = []
        for path in (_step_on_host, _step_on_device):
            params = [parameter(5, 3), parameter(7)]
            group = SOFIM(params, **options).param_groups[0]
            averages = [torch.zeros_like(param) for param in params]
            with torch.no_grad():
                for weight in (1.0, 0.6):
                    path(params, [param.grad for param in params], averages, weight, group)
            results.append([*params, *averages])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other)


def test_grad_scaler_skips_infinite_gradients_and_unscales_the_others():
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled, plain = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    scaled_optimizer, plain_optimizer = SOFIM([scaled], lr=0.1), SOFIM([plain], lr=0.1)
    for factor in (1.0, math.inf, 2.0):
        for optimizer in (scaled_optimizer, plain_optimizer):
            optimizer.zero_grad()
        scaler.scale((factor * scaled).square().sum()).backward()
        scaler.step(scaled_optimizer)
        scaler.update()
        if math.isfinite(factor):
            (factor * plain).square().sum().backward()
            plain_optimizer.step()
    assert torch.equal(scaled, plain)
    assert scaled_optimizer.state[scaled]["step"] == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_step_equals_eager():
    """The compiler's own warnings are not ours; its recompiling at every step would be, and it is counted."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    eager, compiled = ([parameter(8, 4), parameter(4)] for _ in range(2))
    eager_optimizer, compiled_optimizer = SOFIM(eager, lr=0.3), SOFIM(compiled, lr=0.3)
    step = torch.compile(compiled_optimizer.step)
    for count in range(20):
        for one, other in zip(eager, compiled, strict=True):
            one.grad = torch.sin(one.detach() + count)
            other.grad = one.grad.clone()
        eager_optimizer.step()
        step()
    for one, other in zip(eager, compiled, strict=True):
        torch.testing.assert_close(one, other)
    assert counters["stats"]["unique_graphs"] <= 8
    assert compiled_optimizer.state[compiled[0]]["step"] == 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_step_follows_a_momentum_that_is_cycled():
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    eager, compiled = parameter(8, 4), parameter(8, 4)
    optimizers = [SOFIM([eager], lr=0.3), SOFIM([compiled], lr=0.3)]
    schedulers = [torch.optim.lr_scheduler.OneCycleLR(one, max_lr=0.3, total_steps=30) for one in optimizers]
    step = torch.compile(optimizers[1].step)
    for count in range(20):
        eager.grad = torch.sin(eager.detach() + count)
        compiled.grad = torch.sin(compiled.detach() + count)
        optimizers[0].step()
        step()
        for scheduler in schedulers:
            scheduler.step()
    torch.testing.assert_close(eager, compiled)
    assert counters["stats"]["unique_graphs"] <= 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("direction", ["momentum", "gradient"])
def test_pure_function_compiles_in_one_graph(direction):
    torch._dynamo.reset()

    def update(param, grad, average, step):
        return sofim_update([param], [grad], [average], step, lr=0.1, beta=0.9, rho=0.5, direction=direction)

    compiled = torch.compile(update, fullgraph=True)
    arguments = (torch.ones(3), torch.arange(3.0), torch.zeros(3), torch.tensor(1))
    for ours, theirs in zip(compiled(*arguments), update(*arguments), strict=True):
        torch.testing.assert_close(ours[0], theirs[0])


@CUDA
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("foreach", [None, False])
def test_cuda_equals_cpu_without_synchronisation(dtype, foreach):
    on_cpu, on_cuda = parameter(50, 30, dtype=dtype), parameter(50, 30, dtype=dtype, device="cuda")
    for param in (on_cpu, on_cuda):
        optimizer = SOFIM([param], lr=0.3, foreach=foreach)
        torch.cuda.set_sync_debug_mode("error" if param.is_cuda else "default")
        try:
            for _ in range(5):
                optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(on_cuda.cpu(), on_cpu)


@CUDA
def test_cuda_grad_scaler():
    param = nn.Parameter(torch.ones(3, device="cuda"))
    optimizer, scaler = SOFIM([param], lr=0.1), torch.amp.GradScaler("cuda")
    scaler.scale(param.square().sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.all(param < 1.0)
