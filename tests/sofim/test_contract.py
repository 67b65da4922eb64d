"""What every row of OPTIMIZERS must do. A new row is tested for free; ARGUMENTS may tune it to the problems here."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from sofim import OPTIMIZERS
from tests.sofim.driver import advance

ROWS = pytest.mark.parametrize("spec", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())

# By problem and key; the factory's defaults where there is no entry.
ARGUMENTS: dict[str, dict[str, dict[str, object]]] = {
    "quadratic": {
        "sofim": {"lr": 0.05, "rho": 1.0},
        "sofim-gradient": {"lr": 0.1, "rho": 1.0},
        "sofim-tensor": {"lr": 0.05, "rho": 1.0},
        "sgd": {"lr": 0.02},
        "adam": {"lr": 0.1},
        "adamw": {"lr": 0.1, "weight_decay": 0.0},
        "nystrom-sgd": {"lr": 1.0, "rho": 0.1},
        "muon": {"lr": 0.05, "betas": (0.9, 0.999)},
        "schedule-free-adamw": {"lr": 0.3},
    },
    "logistic": {
        "sofim": {"lr": 0.5, "rho": 0.5},
        "sofim-gradient": {"lr": 5.0, "rho": 1.0},
        "sofim-tensor": {"lr": 0.5, "rho": 0.5},
        "sgd": {"lr": 0.3},
        "adam": {"lr": 0.05},
        "adamw": {"lr": 0.05, "weight_decay": 0.0},
        "nystrom-sgd": {"lr": 1.0, "rho": 0.1},
        "muon": {"lr": 0.05, "betas": (0.9, 0.999)},
        "schedule-free-adamw": {"lr": 0.3},
    },
    "rosenbrock": {
        "sofim": {"lr": 0.3, "rho": 100.0},
        "sofim-gradient": {"lr": 0.2, "rho": 100.0},
        "sofim-tensor": {"lr": 0.3, "rho": 100.0},
        "sgd": {"lr": 1e-3},
        "adam": {"lr": 2e-2},
        "adamw": {"lr": 2e-2, "weight_decay": 0.0},
        "adahessian": {"lr": 0.15, "hessian_power": 0.5},
        "lbfgs": {"lr": 1.0, "line_search_fn": "strong_wolfe"},
        "nystrom-sgd": {"lr": 0.5, "rho": 1e-2, "rank": 2, "update_period": 1},
        "muon": {"lr": 0.05, "betas": (0.9, 0.999)},
        "schedule-free-adamw": {"lr": 0.3},
    },
    # With refreshes on both sides of the interruption.
    "network": {"nystrom-sgd": {"lr": 0.05, "rho": 0.1, "rank": 5, "update_period": 4}},
}
ONE_GROUP = {"lbfgs", "nystrom-sgd", "prodigy"}  # or groups of one learning rate
# Their weights are averages, which move at a learning rate of zero too.
AVERAGES = {"schedule-free-adamw"}
# It keeps attributes that torch's Optimizer.__getstate__ leaves out; state_dict carries all that matters.
LOSES_ATTRIBUTES = {"lbfgs"}
# Torch refuses to cycle what is not there: they have no momentum.
NO_MOMENTUM = {"lbfgs", "nystrom-sgd"}

# Schedulers with what they cannot do without, and their defaults otherwise.
SCHEDULERS = {
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
    "MultiplicativeLR": lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda step: 0.9),
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 5]),
    "ConstantLR": lr_scheduler.ConstantLR,
    "LinearLR": lr_scheduler.LinearLR,
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "PolynomialLR": lr_scheduler.PolynomialLR,
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=20),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=5),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=1),
    "ChainedScheduler": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)], [4]
    ),
}
CYCLE_MOMENTUM = {"OneCycleLR", "CyclicLR"}


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
    if spec.key not in AVERAGES:
        assert_equal(before, parameters(model))


def scheduled(spec, optimizer, scheduler, model, data):
    for batch in data:
        [loss] = train(spec, model, optimizer, [batch])
        scheduler.step(*([loss] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))


@ROWS
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_works_and_resumes_bit_for_bit(spec, name):
    def build_all():
        model = network()
        optimizer = build(spec, model.parameters(), "network")
        return model, optimizer, SCHEDULERS[name](optimizer)

    if spec.key in NO_MOMENTUM and name in CYCLE_MOMENTUM:
        with pytest.raises(ValueError, match="momentum"):
            build_all()
        return
    data = batches(10)
    model, optimizer, scheduler = build_all()
    scheduled(spec, optimizer, scheduler, model, data[:5])
    late_model, late_optimizer, late_scheduler = build_all()
    late_model.load_state_dict(copy.deepcopy(model.state_dict()))
    late_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    late_scheduler.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    generator_state = torch.get_rng_state()
    scheduled(spec, optimizer, scheduler, model, data[5:])
    torch.set_rng_state(generator_state)
    scheduled(spec, late_optimizer, late_scheduler, late_model, data[5:])
    assert all(torch.isfinite(param).all() for param in model.parameters())
    assert_equal(parameters(late_model), parameters(model))


@ROWS
@pytest.mark.parametrize("name", sorted(CYCLE_MOMENTUM))
def test_the_momentum_that_a_scheduler_sets_is_that_of_the_step(spec, name):
    """The same learning rates, once with a momentum that moves and once with one that does not."""
    if spec.key in NO_MOMENTUM:
        pytest.skip("has no momentum")
    ends = []
    for limits in ({"base_momentum": 0.5, "max_momentum": 0.95}, {"base_momentum": 0.5, "max_momentum": 0.5}):
        model = network()
        optimizer = build(spec, model.parameters(), "network")
        kind = getattr(lr_scheduler, name)
        span = {"total_steps": 20} if name == "OneCycleLR" else {"base_lr": 0.01, "step_size_up": 5}
        scheduler = kind(optimizer, max_lr=0.1, **span, **limits)
        scheduled(spec, optimizer, scheduler, model, batches(8))
        ends.append(parameters(model)[0])
    assert (ends[0] - ends[1]).abs().max() > 1e-6


@pytest.mark.parametrize(
    "key", ["sofim", "sofim-gradient", "sofim-tensor", "nystrom-sgd", "muon", "schedule-free-adamw", "prodigy"]
)
def test_a_tensor_as_learning_rate_follows_its_scheduler(key):
    """Torch's take one under conditions of theirs."""
    spec = OPTIMIZERS[key]
    ends = []
    for rate in (0.05, torch.tensor(0.05, dtype=torch.float64)):
        model = network()
        torch.manual_seed(0)
        optimizer = spec.factory(model.parameters(), **(arguments("network", spec) | {"lr": rate}))
        scheduled(spec, optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 10), model, batches(6))
        ends.append(parameters(model)[0])
    torch.testing.assert_close(*ends)


@ROWS
def test_averages_of_weights_and_a_group_that_joins_late(spec):
    """`swa_utils` reads what the optimizer writes; the late group is trained with the others."""
    model, late = network(), nn.Linear(4, 3).double()
    optimizer = build(spec, model.parameters(), "network")
    averaged = torch.optim.swa_utils.AveragedModel(model)
    scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.01)
    for batch in batches(4):
        scheduled(spec, optimizer, scheduler, model, [batch])
        averaged.update_parameters(model)
    assert not torch.equal(averaged.module[0].weight, model[0].weight)
    if spec.key in ONE_GROUP:
        return
    optimizer.add_param_group({"params": late.parameters(), "lr": 0.1})
    before = parameters(late)
    for inputs, targets in batches(2):
        advance(spec, optimizer, lambda i=inputs, t=targets: nn.functional.cross_entropy(model(i) + late(i), t))
    assert not any(torch.equal(old, new) for old, new in zip(before, late.parameters(), strict=True))


def hinge(model, inputs, targets):
    return (1 - model(inputs).squeeze(1) * (targets * 2.0 - 1)).clamp(min=0).mean()


EDGES = {
    # linear in pieces
    "hinge": lambda model, inputs, targets: hinge(model[0], inputs, targets),
    "absolute error": lambda model, inputs, targets: (model[0](inputs).squeeze(1) - targets).abs().mean(),
    "a sum of outputs": lambda model, inputs, targets: model[0](inputs).mean(),
    # linear in some parameters and curved in others
    "a linear branch": lambda model, inputs, targets: (
        hinge(model[0], inputs, targets) + model[1](inputs).square().mean()
    ),
    "linear in the last layer": lambda model, inputs, targets: model[2](model[1](inputs).tanh()).mean(),
    # gradients that are zero, missing or far from one
    "constant": lambda model, inputs, targets: 0.0 * model[0](inputs).mean(),
    "already perfect": lambda model, inputs, targets: (model[0](inputs) * 0.0).square().mean(),
    "some unused": lambda model, inputs, targets: model[0](inputs).square().mean(),
    "minute": lambda model, inputs, targets: 1e-30 * model[0](inputs).square().mean(),
    "huge": lambda model, inputs, targets: 1e30 * model[0](inputs).square().mean(),
}


@ROWS
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("edge", EDGES)
def test_trains_or_diverges_but_does_not_break_at_an_edge_of_the_mathematics(spec, edge, precision):
    """A run that diverges is judged by the loss; an exception would be a failure of the optimizer's own."""
    torch.manual_seed(1)
    layers = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 3), nn.Linear(3, 1)]).to(precision)
    layers[2].bias.requires_grad_(False)
    optimizer = build(spec, [param for param in layers.parameters() if param.requires_grad], "network")
    before = parameters(layers)
    losses = []
    for inputs, targets in batches(3):
        losses.append(
            advance(
                spec, optimizer, lambda i=inputs, t=targets: EDGES[edge](layers, i.to(precision), (t > 1).to(precision))
            )
        )
        if not math.isfinite(losses[-1]):
            break
    assert math.isfinite(losses[0])
    if edge in ("constant", "already perfect") and spec.key != "adamw":  # which decays what it does not train
        assert_equal(parameters(layers), before)
    if edge in ("hinge", "absolute error", "a sum of outputs", "a linear branch"):
        assert not torch.equal(layers[0].weight, before[0])


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
    papers = ["sofim", "sgd", "adam", "adamw", "adahessian", "lbfgs", "nystrom-sgd"]
    assert list(OPTIMIZERS)[:7] == papers
    assert {"sofim-gradient", "sofim-tensor"} <= set(OPTIMIZERS)
    assert all(key == spec.key and spec.source for key, spec in OPTIMIZERS.items())
    with pytest.raises(TypeError):
        OPTIMIZERS["new"] = OPTIMIZERS["sofim"]


def test_sgd_has_momentum_and_nesterov_as_an_option():
    x = nn.Parameter(torch.ones(2))
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1).defaults["momentum"] == 0.9
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1, nesterov=True).defaults["nesterov"] is True
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1, momentum=0.5).defaults["momentum"] == 0.5
