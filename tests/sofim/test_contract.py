"""What every row of OPTIMIZERS must do. A new row is tested for free; ARGUMENTS may tune it to the problems here."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from sofim import OPTIMIZERS
from tests.sofim.driver import advance

ROWS = pytest.mark.parametrize("spec", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())

# By problem and key; the factory's defaults where there is no entry.
ARGUMENTS: dict[str, dict[str, dict[str, object]]] = {
    "quadratic": {
        "sofim": {"lr": 0.05, "rho": 1.0},
        "sgd": {"lr": 0.02},
        "adam": {"lr": 0.1},
        "adamw": {"lr": 0.1, "weight_decay": 0.0},
        "nystrom-sgd": {"lr": 1.0, "rho": 0.1},
    },
    "logistic": {
        "sofim": {"lr": 0.5, "rho": 0.5},
        "sgd": {"lr": 0.3},
        "adam": {"lr": 0.05},
        "adamw": {"lr": 0.05, "weight_decay": 0.0},
        "nystrom-sgd": {"lr": 1.0, "rho": 0.1},
    },
    "rosenbrock": {
        "sofim": {"lr": 0.3, "rho": 100.0},
        "sgd": {"lr": 1e-3},
        "adam": {"lr": 2e-2},
        "adamw": {"lr": 2e-2, "weight_decay": 0.0},
        "adahessian": {"lr": 0.15, "hessian_power": 0.5},
        "lbfgs": {"lr": 1.0, "line_search_fn": "strong_wolfe"},
        "nystrom-sgd": {"lr": 0.5, "rho": 1e-2, "rank": 2, "update_period": 1},
    },
    # With refreshes on both sides of the interruption.
    "network": {"nystrom-sgd": {"lr": 0.05, "rho": 0.1, "rank": 5, "update_period": 4}},
}
ONE_GROUP = {"lbfgs", "nystrom-sgd"}
# It keeps attributes that torch's Optimizer.__getstate__ leaves out; state_dict carries all that matters.
LOSES_ATTRIBUTES = {"lbfgs"}


def arguments(problem, spec):
    return ARGUMENTS[problem].get(spec.key, {})


def build(spec, params, problem="quadratic"):
    torch.manual_seed(0)
    return spec.factory(params, **arguments(problem, spec))


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def batches(count=20):
    generator = torch.Generator().manual_seed(2)
    return [
        (
            torch.randn(16, 4, generator=generator, dtype=torch.float64),
            torch.randint(3, (16,), generator=generator),
        )
        for _ in range(count)
    ]


def train(spec, model, optimizer, data):
    losses = []
    for inputs, targets in data:

        def loss_function(inputs=inputs, targets=targets):
            return nn.functional.cross_entropy(model(inputs), targets)

        losses.append(advance(spec, optimizer, loss_function))
    return losses


def parameters(model):
    return [param.detach().clone() for param in model.parameters()]


def assert_equal(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@ROWS
def test_converges_on_a_quadratic(spec):
    scales = torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64)
    x = nn.Parameter(torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64))
    optimizer = build(spec, [x], "quadratic")

    def loss_function():
        return (scales * (x - 1).square()).sum() / 2

    for _ in range(600):
        advance(spec, optimizer, loss_function)
    assert loss_function().item() < 1e-6


@ROWS
def test_converges_on_logistic_regression(spec):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(80, 3, generator=generator, dtype=torch.float64)
    targets = (inputs @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) > 0.3).double()
    w = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    b = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = build(spec, [w, b], "logistic")

    def loss_function():
        logits = inputs @ w + b
        return nn.functional.binary_cross_entropy_with_logits(logits, targets) + 0.01 * w.square().sum()

    for _ in range(800):
        advance(spec, optimizer, loss_function)
    gradient = torch.autograd.grad(loss_function(), [w, b])
    # The penalty makes w strongly convex: a gradient this small is within 1e-4 of the optimum.
    assert max(float(g.abs().max()) for g in gradient) < 1e-4


@ROWS
def test_descends_the_valley_of_rosenbrock(spec):
    x = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = build(spec, [x], "rosenbrock")

    def loss_function():
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

    for _ in range(2500):
        advance(spec, optimizer, loss_function)
        if loss_function().item() < 1e-2:
            return
    pytest.fail(f"loss {loss_function().item()} after 2500 steps, from 24.2")


@ROWS
def test_resume_continues_bit_for_bit(spec):
    data = batches()
    straight = network()
    optimizer = build(spec, straight.parameters(), "network")
    losses = train(spec, straight, optimizer, data)

    first = network()
    optimizer = build(spec, first.parameters(), "network")
    early = train(spec, first, optimizer, data[:10])
    checkpoint = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)
    # AdaHessian draws from the global generator, which a checkpoint keeps beside the optimizer.
    generator_state = torch.get_rng_state()
    checkpoint.seek(0)
    saved = torch.load(checkpoint, weights_only=True)

    second = network()
    second.load_state_dict(saved["model"])
    optimizer = build(spec, second.parameters(), "network")
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(generator_state)
    late = train(spec, second, optimizer, data[10:])

    assert early + late == losses
    assert_equal(parameters(second), parameters(straight))


@ROWS
def test_same_seed_same_numbers(spec):
    runs = []
    for _ in range(2):
        model = network()
        runs.append(train(spec, model, build(spec, model.parameters(), "network"), batches()))
    assert runs[0] == runs[1]


@ROWS
@pytest.mark.parametrize("bad", [{"lr": -1.0}, {"lr": -1e-9}])
def test_bad_learning_rate_is_refused_at_once(spec, bad):
    with pytest.raises(ValueError, match=r"lr|learning rate"):
        spec.factory([nn.Parameter(torch.ones(2))], **bad)


@ROWS
def test_no_parameters_is_an_error(spec):
    with pytest.raises(ValueError, match="empty parameter list"):
        spec.factory([])


@ROWS
def test_unknown_argument_is_an_error(spec):
    with pytest.raises(TypeError):
        spec.factory([nn.Parameter(torch.ones(2))], no_such_argument=1)


@ROWS
def test_gradients_are_not_mutated(spec):
    model = network()
    optimizer = build(spec, model.parameters(), "network")
    inputs, targets = batches(1)[0]
    seen = []

    def loss_function():
        return nn.functional.cross_entropy(model(inputs), targets)

    for param in model.parameters():
        param.register_post_accumulate_grad_hook(lambda param: seen.append((param, param.grad.detach().clone())))
    for _ in range(3):
        advance(spec, optimizer, loss_function)
    # The last gradient of each is the one still in place.
    for param in model.parameters():
        last = [grad for owner, grad in seen if owner is param][-1]
        assert torch.equal(param.grad, last)


@ROWS
def test_parameters_without_gradients_are_left_alone(spec):
    model = network()
    unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    frozen = nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
    optimizer = build(spec, [*model.parameters(), unused, frozen], "network")
    before = parameters(model)
    losses = train(spec, model, optimizer, batches(5))
    assert torch.equal(unused, torch.ones_like(unused))
    assert torch.equal(frozen, torch.ones_like(frozen))
    assert all(torch.isfinite(torch.tensor(losses)))
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


@ROWS
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["deepcopy", "pickle"]
)
def test_copies_continue_alike(spec, duplicate, request):
    if spec.key in LOSES_ATTRIBUTES:
        request.applymarker(pytest.mark.xfail(raises=AttributeError, strict=True))
    model = network()
    optimizer = build(spec, model.parameters(), "network")
    data = batches()
    train(spec, model, optimizer, data[:10])
    twin, twin_optimizer = duplicate((model, optimizer))
    generator_state = torch.get_rng_state()
    losses = train(spec, model, optimizer, data[10:])
    torch.set_rng_state(generator_state)
    assert train(spec, twin, twin_optimizer, data[10:]) == losses
    assert_equal(parameters(twin), parameters(model))


@ROWS
def test_schedulers_set_the_learning_rate(spec):
    model = network()
    optimizer = build(spec, model.parameters(), "network")
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0 if epoch < 2 else 0.0)
    data = batches(3)
    for batch in data[:2]:
        before = parameters(model)
        train(spec, model, optimizer, [batch])
        assert not torch.equal(before[0], next(model.parameters()))
        scheduler.step()
    before = parameters(model)
    train(spec, model, optimizer, data[2:])
    assert_equal(before, parameters(model))


@ROWS
def test_closure_gives_the_loss(spec):
    x = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer = build(spec, [x])

    def loss_function():
        assert torch.is_grad_enabled()
        return x.square().sum()

    if spec.needs_hessian:
        optimizer.refresh(loss_function())

    # AdaHessian's graph makes torch warn of a cycle; it goes with this test.
    def closure():
        optimizer.zero_grad()
        loss = loss_function()
        if spec.needs_create_graph:
            (x.grad,) = torch.autograd.grad(loss, x, create_graph=True)
        else:
            loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5.0
    assert loss_function().item() < 5.0
    x.grad = None


@ROWS
def test_groups_have_their_own_options(spec):
    first, second = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    groups = [{"params": [first], "lr": 0.0}, {"params": [second]}]
    if spec.key in ONE_GROUP:
        with pytest.raises(ValueError, match="group"):
            spec.factory(groups)
        return
    optimizer = spec.factory(groups, lr=0.1)
    advance(spec, optimizer, lambda: (first * second).square().sum())
    assert torch.equal(first, torch.ones_like(first))
    assert not torch.equal(second, torch.ones_like(second))


@ROWS
def test_row_says_what_it_costs(spec):
    """A closure's calls are counted by who makes them; the row charges one backward pass, and one more for H z."""
    x = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer = build(spec, [x])
    calls = 0

    def loss_function():
        nonlocal calls
        calls += 1
        return (torch.tensor([1.0, 3.0], dtype=torch.float64) * x.square()).sum()

    advance(spec, optimizer, loss_function)
    if spec.needs_closure:
        assert spec.evaluations_per_step == 0
        assert calls > 1
    else:
        assert calls == 1
        assert spec.evaluations_per_step == (2 if spec.needs_create_graph else 1)


def test_keys_are_the_rows_own():
    assert list(OPTIMIZERS) == ["sofim", "sgd", "adam", "adamw", "adahessian", "lbfgs", "nystrom-sgd"]
    assert all(key == spec.key and spec.source for key, spec in OPTIMIZERS.items())
    with pytest.raises(TypeError):
        OPTIMIZERS["new"] = OPTIMIZERS["sofim"]


def test_sgd_has_momentum_and_nesterov_as_an_option():
    x = nn.Parameter(torch.ones(2))
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1).defaults["momentum"] == 0.9
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1, nesterov=True).defaults["nesterov"] is True
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1, momentum=0.5).defaults["momentum"] == 0.5
