"""Each fault that an author may make is found by the check that is meant for it, and by few others."""

from __future__ import annotations

import random
import time
from typing import ClassVar
from unittest.mock import patch

import pytest
import torch

from sofim.contract import CHECKS, Verdict, examine
from sofim.registry import OptimizerSpec


class Momentum(torch.optim.Optimizer):
    """Gradient descent with momentum and decoupled decay, right in every respect; what is planted overrides a part."""

    def __init__(self, params, lr=0.05, momentum=0.9, weight_decay=0.0):
        if not lr >= 0:
            raise ValueError(f"lr {lr}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                self.update(param, group)
        return loss

    def update(self, param, group):
        if param.grad is None:
            return
        if param.grad.is_sparse:
            raise RuntimeError("sparse")
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.sub_(self.average(param, group) * group["lr"])

    def average(self, param, group):
        state = self.state[param]
        if "average" not in state:
            state["average"] = torch.zeros_like(param)
        return state["average"].mul_(group["momentum"]).add_(param.grad)


class StateInAnAttribute(Momentum):
    def average(self, param, group):
        averages = self.__dict__.setdefault("averages", {})
        averages[param] = averages.get(param, 0) * group["momentum"] + param.grad
        return averages[param]


class StateById(Momentum):
    def average(self, param, group):
        state = self.state.setdefault(id(param), {"average": torch.zeros_like(param)})
        return state["average"].mul_(group["momentum"]).add_(param.grad)


class StateThatIsNoTensor(Momentum):
    class Average:
        def __init__(self, value):
            self.value = value

    def average(self, param, group):
        average = self.state[param].setdefault("average", self.Average(torch.zeros_like(param)))
        average.value = average.value * group["momentum"] + param.grad
        return average.value


class RandomOfPython(Momentum):
    def update(self, param, group):
        super().update(param, {**group, "lr": group["lr"] * (1 + random.random() * 1e-3)})


class RandomOfTheClock(Momentum):
    def update(self, param, group):
        noise = torch.rand((), generator=torch.Generator().manual_seed(time.perf_counter_ns()))
        super().update(param, {**group, "lr": group["lr"] * (1 + float(noise) * 1e-3)})


class SeedsWhatIsShared(Momentum):
    def __init__(self, params, **options):
        torch.manual_seed(42)
        super().__init__(params, **options)


class SeedsInEachStep(Momentum):
    def update(self, param, group):
        torch.default_generator.manual_seed(42)
        super().update(param, group)


class CounterOfTheClass(Momentum):
    steps: ClassVar[list[int]] = [0]

    def update(self, param, group):
        self.steps[0] += 1
        super().update(param, {**group, "lr": group["lr"] / (1 + self.steps[0] * 1e-4)})


class CounterThatEachResets(CounterOfTheClass):
    steps: ClassVar[list[int]] = [0]

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.steps[0] = 0


class GradientChanged(Momentum):
    def average(self, param, group):
        param.grad.add_(param, alpha=group["weight_decay"])
        return super().average(param, group)


class ClosureIgnored(Momentum):
    def step(self, closure=None):
        super().step()


class ClosureWithoutItsLoss(Momentum):
    def step(self, closure=None):
        super().step(closure)


class ClosureUnderNoGrad(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        super().step()
        return loss


class RateOfTheFirstGroup(Momentum):
    def update(self, param, group):
        super().update(param, {**group, "lr": self.param_groups[0]["lr"]})


class RateAtConstruction(Momentum):
    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.param_groups[0]["kept"] = self.param_groups[0]["lr"]

    def add_param_group(self, group):
        super().add_param_group(group)
        self.param_groups[-1]["kept"] = self.param_groups[-1]["lr"]

    def update(self, param, group):
        super().update(param, {**group, "lr": group["kept"]})


class TensorReadOnce(Momentum):
    def add_param_group(self, group):
        super().add_param_group(group)
        rate = self.param_groups[-1]["lr"]
        self.param_groups[-1]["kept"] = float(rate) if isinstance(rate, torch.Tensor) else None

    def update(self, param, group):
        super().update(param, {**group, "lr": group["lr"] if group["kept"] is None else group["kept"]})


class TensorChanged(Momentum):
    def update(self, param, group):
        super().update(param, group)
        group["lr"] *= 0.9 if isinstance(group["lr"], torch.Tensor) else 1


class MomentumAtConstruction(Momentum):
    def update(self, param, group):
        super().update(param, {**group, "momentum": self.defaults["momentum"]})


class NoGradientCrashes(Momentum):
    def update(self, param, group):
        param.grad.abs()
        super().update(param, group)


class DecaysWhatHasNoGradient(Momentum):
    def update(self, param, group):
        if param.grad is None:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        super().update(param, group)


class EmptyStepCrashes(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        max(param.numel() for group in self.param_groups for param in group["params"] if param.grad is not None)
        return loss


class SinglePrecision(Momentum):
    def update(self, param, group):
        super().update(param, group)
        if param.dtype == torch.float64:
            param.copy_(param.float())


class Upcast(Momentum):
    def update(self, param, group):
        super().update(param, group)
        param.data = param.data.to(torch.promote_types(param.dtype, torch.float32))


class NoWayBack(Momentum):
    weight = 1e-3

    def train(self):
        self.training = True

    def eval(self):
        self.training = False
        self.move(self.weight)

    def move(self, weight):
        for param, state in self.state.items():
            param.data.lerp_(state["average"], weight)


class RoundedWayBack(NoWayBack):
    """As Schedule-Free has it."""

    weight = 0.3

    def train(self):
        if not self.__dict__.get("training", True):
            self.move(1 - 1 / (1 - self.weight))
        super().train()


class EvaluationIsTraining(Momentum):
    def train(self):
        pass

    def eval(self):
        pass


class WrongSign(Momentum):
    def average(self, param, group):
        return -super().average(param, group)


class CopyIsShared(Momentum):
    def __deepcopy__(self, memo):
        twin = type(self)([torch.nn.Parameter(torch.zeros(1))])
        twin.param_groups = [
            {**group, "params": [memo[id(param)] for param in group["params"]]} for group in self.param_groups
        ]
        for param, state in self.state.items():
            twin.state[memo[id(param)]] = state
        return twin


class KeepsTheLoss(Momentum):
    def step(self, closure=None):
        self.last = super().step(closure)
        return self.last


class KeepsTheGraph(Momentum):
    def average(self, param, group):
        with torch.enable_grad():
            self.state[param]["newest"] = param.grad * 1.0
        return super().average(param, group)


class SparseAsDense(Momentum):
    def update(self, param, group):
        if param.grad is not None and param.grad.is_sparse:
            param.grad = param.grad.coalesce().to_dense().sign()
        super().update(param, group)


class MatricesAlone(Momentum):
    def update(self, param, group):
        if param.dim() > 2:
            raise ValueError("matrices alone")
        super().update(param, group)


class DividesByTheGradient(Momentum):
    def average(self, param, group):
        norm = param.grad.norm()
        return super().average(param, group) * (norm / norm)


class ZeroGradIgnoresItsArgument(Momentum):
    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none=False)


class TakesAnything(Momentum):
    def __init__(self, params, lr=0.05, **_):
        super().__init__(params, lr=lr)


class LateGroupIsForgotten(Momentum):
    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.param_groups[0]["known"] = len(self.param_groups)

    @torch.no_grad()
    def step(self, closure=None):
        groups = self.param_groups
        self.param_groups = groups[: groups[0]["known"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups


class ScaleIsForgotten(Momentum):
    _step_supports_amp_scaling = True


class RateInAnAttribute(Momentum):
    def __init__(self, params, lr=0.05):
        torch.optim.Optimizer.__init__(self, params, {"momentum": 0.9, "weight_decay": 0.0})
        self.lr = lr

    def update(self, param, group):
        super().update(param, {**group, "lr": self.lr})


class ForgetsAGroup(Momentum):
    def __init__(self, groups, **options):
        super().__init__(groups[:1], **options)


def weights_and_the_rest(model):
    params = [param for param in model.parameters() if param.requires_grad]
    groups = [[param for param in params if param.dim() > 1], [param for param in params if param.dim() <= 1]]
    return [{"params": group} for group in groups if group]


def biases_twice(model):
    params = [param for param in model.parameters() if param.requires_grad]
    return [{"params": params}, {"params": [param for param in params if param.dim() == 1][:1]}]


def weights_alone(model):
    return weights_and_the_rest(model)[:1]


def row(factory, **says):
    said = "".join(f"-{name}" for name in says)
    return OptimizerSpec(f"{factory.__name__}{said}", factory, **says)


QUADRATIC, LOGISTIC, VALLEY = (
    "converges on a quadratic", "converges on logistic regression", "descends Rosenbrock's valley",
)  # fmt: skip
RESUMES, SCHEDULERS = "resumes bit for bit from its state_dict", "runs and resumes under all of torch's schedulers"
COPIES = {"is copied by deepcopy", "is copied by pickle"}
REPEATS, ALONE = "repeats bit for bit with a seed", "is not disturbed by another one beside it"
GENERATORS, CLOSURE = "leaves the global generators to others", "calls a closure and returns its loss"
MODES, UNUSED = "gives back its training weights after an evaluation", "leaves parameters without gradients alone"
EDGES, EMPTY = "does not break where gradients are zero, minute or huge", "takes a step without any gradient"
GROUPS, RATE = "has each parameter in one of its groups", "follows the learning rate in its groups"
OWN_RATES, SHAPES = "takes groups with learning rates of their own", "trains parameters of any shape"
MADE, LATE, GRAPH = "is made as its row says", "takes a group that is added later", "frees the graph of the loss"

# Each fault with the check that is meant for it, and those that cannot but find it too.
PLANTED = [
    (row(WrongSign), QUADRATIC, {LOGISTIC, VALLEY}),
    (row(StateInAnAttribute), RESUMES, {SCHEDULERS, *COPIES}),
    (row(StateById), RESUMES, {SCHEDULERS, *COPIES}),
    (row(StateThatIsNoTensor), RESUMES, set()),
    (row(RandomOfPython), REPEATS, {ALONE, RESUMES, SCHEDULERS, *COPIES}),
    (row(RandomOfTheClock), REPEATS, {ALONE, RESUMES, SCHEDULERS, *COPIES}),
    (row(CounterOfTheClass), REPEATS, {ALONE, RESUMES, SCHEDULERS, "takes GradScaler", *COPIES}),
    (row(CounterThatEachResets), ALONE, {RESUMES, SCHEDULERS, "takes GradScaler", *COPIES}),
    (row(SeedsWhatIsShared), GENERATORS, set()),
    (row(SeedsInEachStep), GENERATORS, set()),
    (row(RateAtConstruction), RATE, set()),
    (row(RateInAnAttribute), MADE, set()),
    (row(RateOfTheFirstGroup), OWN_RATES, set()),
    (row(TensorReadOnce), "takes a tensor as learning rate", set()),
    (row(TensorChanged), "takes a tensor as learning rate", set()),
    (row(MomentumAtConstruction), "takes the momentum that a scheduler writes", set()),
    (row(LateGroupIsForgotten), LATE, set()),
    (row(NoGradientCrashes), UNUSED, {EMPTY}),
    (row(DecaysWhatHasNoGradient), UNUSED, set()),
    (row(EmptyStepCrashes), EMPTY, set()),
    (row(GradientChanged), "leaves gradients as they are", set()),
    (row(MatricesAlone), SHAPES, set()),
    (row(DividesByTheGradient), EDGES, {"keeps float64", "keeps bfloat16"}),
    (row(SparseAsDense), "takes sparse gradients rightly or refuses them", set()),
    (row(ZeroGradIgnoresItsArgument), "clears gradients both ways", set()),
    (row(ScaleIsForgotten), "takes GradScaler", set()),
    (row(SinglePrecision), "keeps float64", set()),
    (row(Upcast), "keeps bfloat16", set()),
    (row(ClosureIgnored), CLOSURE, set()),
    (row(ClosureWithoutItsLoss), CLOSURE, set()),
    (row(ClosureUnderNoGrad), CLOSURE, set()),
    (row(Momentum, needs_closure=True), "costs the passes that its row counts", set()),
    (row(Momentum, evaluations_per_step=2), "costs the passes that its row counts", set()),
    (row(KeepsTheLoss), GRAPH, set()),
    (row(KeepsTheGraph, needs_create_graph=True), GRAPH, {SCHEDULERS, *COPIES}),
    (row(CopyIsShared), "is copied by deepcopy", set()),
    (row(NoWayBack, has_modes=True), MODES, set()),
    (row(RoundedWayBack, has_modes=True), MODES, {QUADRATIC, LOGISTIC}),
    (row(EvaluationIsTraining, has_modes=True), MODES, set()),
    (row(NoWayBack), MADE, set()),
    (row(Momentum, needs_hessian=True), MADE, set()),
    (row(Momentum, has_modes=True), MADE, set()),
    (row(Momentum, groups=biases_twice), GROUPS, set()),
    (row(Momentum, groups=weights_alone), GROUPS, set()),
    (row(ForgetsAGroup, groups=weights_and_the_rest), GROUPS, set()),
    (row(TakesAnything), "refuses wrong arguments", set()),
]


# A fault of one step shows in all of them, but these take longest.
LONG = {QUADRATIC, LOGISTIC, VALLEY, SCHEDULERS, "runs on a network of 99,000 parameters"}
EVERY = {check.name for check in CHECKS}


def failed(spec, left_out=frozenset()):
    """Return the outcomes of the checks that fail, as `examine` gives them, by name."""
    found = {}
    for check in CHECKS:
        outcome = check(spec) if check.name not in left_out else None
        if outcome is not None and outcome.verdict is Verdict.FAIL:
            found[check.name] = outcome
            if check.decides:
                break
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "meant", "others"), PLANTED, ids=lambda value: getattr(value, "key", ""))
def test_planted_fault_is_found_by_the_check_that_is_meant_for_it(spec, meant, others, nightly):
    """By night no other check finds it either."""
    found = failed(spec, frozenset() if nightly else EVERY - {meant, *others})
    assert meant in found
    assert set(found) <= {meant, *others}
    assert found[meant].reason
    assert found[meant].remedy


@pytest.mark.slow
def test_without_a_fault_nothing_is_found():
    assert [outcome.check for outcome in examine(row(Momentum)) if outcome.verdict is Verdict.FAIL] == []


@pytest.mark.slow
def test_what_a_fault_says_names_the_line_of_the_optimizers_own():
    outcome = failed(row(NoGradientCrashes), LONG)[UNUSED]
    assert "raised AttributeError: 'NoneType' object has no attribute 'abs'" in outcome.reason
    assert f"({__file__}:" in outcome.reason


@pytest.mark.slow
def test_checks_leave_the_generators_of_the_process_as_they_were():
    before = torch.get_rng_state(), random.getstate()
    with patch("torch.cuda.manual_seed_all") as seeded:  # which torch.manual_seed calls, with a GPU or without
        list(examine(row(Momentum)))
    seeded.assert_not_called()
    failed(row(SeedsInEachStep), LONG)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_only_what_tuning_does_not_need_says_who_does():
    assert all(check.otherwise for check in CHECKS if check.needed is not True)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
