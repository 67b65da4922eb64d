"""What comes from a library does what its docstring says: it is held against other implementations, or plain ones."""

from __future__ import annotations

import math

import pytest
import pytorch_optimizer
import torch
from torch import nn

from sofim import OPTIMIZERS
from sofim.factories import ademamix, lion, muon, prodigy, schedule_free_adamw

STEPS = 12


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def gradients(net, step):
    """Set the gradients of a batch of that step, and return them."""
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    targets = torch.randint(3, (16,), generator=generator)
    net.zero_grad()
    torch.autograd.backward(nn.functional.cross_entropy(net(inputs), targets))
    return [param.grad for param in net.parameters()]


def assert_close(one, other, **tolerance):
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, **tolerance)


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_torchs_on_matrices_and_torchs_adamw_on_the_rest(nesterov):
    ours, theirs = model(), model()
    optimizer = muon(
        ours.parameters(), lr=0.02, momentum=0.9, nesterov=nesterov, adamw_lr_ratio=0.5, betas=(0.8, 0.99),
        weight_decay=0.1,
    )  # fmt: skip
    matrices, vectors = ([param for param in theirs.parameters() if param.ndim == ndim] for ndim in (2, 1))
    options = {"momentum": 0.9, "nesterov": nesterov, "adjust_lr_fn": "match_rms_adamw"}
    others = [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, **options),
        torch.optim.AdamW(vectors, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1),
    ]
    for step in range(STEPS):
        gradients(ours, step)
        optimizer.step()
        gradients(theirs, step)
        for other in others:
            other.step()
    assert_close(ours, theirs, rtol=1e-2, atol=2e-3)  # the iteration is in bfloat16


def test_muon_turns_a_matrix_by_nearly_the_same_in_all_directions():
    matrix = nn.Parameter(torch.zeros(6, 4))
    optimizer = muon([{"params": [matrix], "use_muon": True}], lr=1.0, nesterov=False)
    matrix.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.3, 0.1, 3.0])
    optimizer.step()
    singular = torch.linalg.svdvals(matrix.detach()) / (0.2 * math.sqrt(6))
    assert singular.min() > 0.5
    assert singular.max() < 1.5


def test_a_kernel_is_a_matrix_of_outputs_and_all_else():
    generator = torch.Generator().manual_seed(0)
    kernel, flat = nn.Parameter(torch.zeros(4, 3, 2, 2)), nn.Parameter(torch.zeros(4, 12))
    kernel.grad = torch.randn(4, 3, 2, 2, generator=generator)
    flat.grad = kernel.grad.flatten(1)
    for param in (kernel, flat):
        muon([{"params": [param], "use_muon": True}]).step()
    assert torch.equal(kernel.flatten(1), flat)
    assert flat.abs().sum() > 0


@pytest.mark.parametrize("r", [0.0, 0.75])
def test_schedule_free_is_its_three_sequences(r):
    net, plain = model(), model()
    beta1, beta2, eps, decay = 0.7, 0.99, 1e-8, 0.1
    optimizer = schedule_free_adamw(net.parameters(), betas=(beta1, beta2), eps=eps, weight_decay=decay, r=r)
    x = [param.detach().clone() for param in plain.parameters()]
    z, v = [entry.clone() for entry in x], [torch.zeros_like(entry) for entry in x]
    weights, highest = 0.0, 0.0
    for step in range(STEPS):
        rate = 0.1 * min(1.0, (step + 1) / 4)  # a warm-up, of which the highest rate so far counts
        optimizer.param_groups[0]["lr"] = rate
        gradients(net, step)
        optimizer.step()
        y = [(1 - beta1) * b + beta1 * a for a, b in zip(x, z, strict=True)]
        with torch.no_grad():
            for param, entry in zip(plain.parameters(), y, strict=True):
                param.copy_(entry)
        highest = max(highest, rate)
        weight = (step + 1) ** r * highest**2
        weights += weight
        for i, grad in enumerate(gradients(plain, step)):
            v[i] = beta2 * v[i] + (1 - beta2) * grad**2
            z[i] = z[i] - rate * (grad / ((v[i] / (1 - beta2 ** (step + 1))).sqrt() + eps) + decay * y[i])
            x[i] = x[i] + weight / weights * (z[i] - x[i])
    optimizer.eval()
    for param, entry in zip(net.parameters(), x, strict=True):
        torch.testing.assert_close(param.detach(), entry, rtol=1e-8, atol=1e-10)


def test_prodigy_is_its_two_sums():
    net, plain = model(), model()
    beta1, beta2, eps, decay, d_coef = 0.8, 0.99, 1e-8, 0.1, 2.0
    optimizer = prodigy(net.parameters(), betas=(beta1, beta2), eps=eps, weight_decay=decay, d_coef=d_coef)
    start = [param.detach().clone() for param in plain.parameters()]
    m, v, s = ([torch.zeros_like(entry) for entry in start] for _ in range(3))
    first = d = 1e-6
    above, beta3 = 0.0, math.sqrt(beta2)
    for step in range(4 * STEPS):
        rate = min(1.0, (step + 1) / 4)
        optimizer.param_groups[0]["lr"] = rate
        gradients(net, step)
        optimizer.step()
        grads = gradients(plain, step)
        params = [param.detach() for param in plain.parameters()]
        above *= beta3
        for i, grad in enumerate(grads):
            above += rate * (d / first) * d * float((grad * (start[i] - params[i])).sum())
            m[i] = beta1 * m[i] + (1 - beta1) * d * grad
            v[i] = beta2 * v[i] + (1 - beta2) * (d * grad) ** 2
            s[i] = beta3 * s[i] + (d / first) * d * grad
        before, d = d, max(d, d_coef * above / sum(float(entry.abs().sum()) for entry in s))
        for i, param in enumerate(params):
            param.mul_(1 - decay * rate * before)
            param.sub_(rate * before * m[i] / (v[i].sqrt() + d * eps))
    assert d > 100 * first
    assert_close(net, plain, rtol=1e-4, atol=1e-6)  # the library's sums are in single precision


@pytest.mark.parametrize("make", [muon, schedule_free_adamw, prodigy])
@pytest.mark.parametrize(
    "wrong",
    [{"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1.0}, {"weight_decay": math.nan}, {"lr": math.nan}],
    ids=str,
)
def test_what_is_out_of_range_is_a_value_error_that_names_it(make, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(model().parameters(), **wrong)


@pytest.mark.parametrize("make", [lion, ademamix, muon])
def test_betas_are_as_many_as_the_optimizer_has(make):
    with pytest.raises(ValueError, match=r"betas must be [23] numbers, not \(0\.9,\)"):
        make([torch.nn.Parameter(torch.ones(2))], betas=(0.9,))


def test_a_group_that_joins_prodigy_later_takes_over_what_it_has_estimated():
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    targets = inputs @ torch.randn(4, 1) + 5
    model = nn.Linear(4, 1)
    optimizer = prodigy([model.weight])

    def step():
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(100):
        step()
    estimate = optimizer.param_groups[0]["d"]
    optimizer.add_param_group({"params": [model.bias]})
    before = step()
    assert optimizer.param_groups[0]["d"] >= estimate > 1e-4
    for _ in range(100):
        after = step()
    assert after < 0.1 * before
    with pytest.raises(ValueError, match="one learning rate"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.5})
    assert len(optimizer.param_groups) == 2, "what is refused is not there"


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("name", ["Lion", "AdEMAMix", "Prodigy", "ScheduleFreeAdamW", "Muon", "AdaHessian", "SOAP"])
def test_hooks_run_once_a_step_whoever_else_made_the_librarys_own(name):
    keys = {"ScheduleFreeAdamW": "schedule-free-adamw"}
    row = OPTIMIZERS[keys.get(name, name.lower())]
    param = nn.Parameter(torch.ones(2, 2))
    library = getattr(pytorch_optimizer, name)
    library([{"params": [nn.Parameter(torch.ones(2, 2))], "use_muon": True}] if name == "Muon" else [param])
    optimizer, counts = row.factory([param]), []
    optimizer.register_step_pre_hook(lambda *_: counts.append("before"))
    optimizer.register_step_post_hook(lambda *_: counts.append("after"))
    param.square().sum().backward(create_graph=row.needs_create_graph)
    optimizer.step()
    assert counts == ["before", "after"]


def test_muon_takes_parameters_with_their_names():
    model = nn.Linear(3, 2)
    optimizer = muon(model.named_parameters())
    assert [group["param_names"] for group in optimizer.param_groups] == [["weight"], ["bias"]]
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("betas", [(0.0, 0.999, 0.9999), (0.9, 0.999, 0.0)])
def test_a_schedule_of_beta_in_logarithms_needs_both_ends(betas):
    with pytest.raises(ValueError, match="must be above 0 with warmup_steps"):
        ademamix([nn.Parameter(torch.ones(1))], betas=betas, warmup_steps=10)


def test_sophia_takes_two_betas():
    with pytest.raises(ValueError, match="betas must be two numbers, not 1"):
        OPTIMIZERS["sophia"].factory([nn.Parameter(torch.ones(1))], betas=(0.9,))
