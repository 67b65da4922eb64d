"""How an optimizer's step goes with what its row says of it: closures, passes, graphs, modes, groups, arguments."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from sofim.contract._outcome import Fault, NotApplicable
from sofim.contract._rates import learning_rates
from sofim.contract._training import (
    Subject,
    Training,
    batches,
    cross_entropy,
    held_by,
    network,
    parameters_of,
    refresh_if_due,
    same,
)

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec


class _Token:
    __slots__ = ("__weakref__",)


class _Trace:
    """What a `_Traced` value notes.

    Attributes:
        passes: Backward passes through it.
        graphs: Weak references, each of which lives as long as the graph of a loss.
    """

    def __init__(self) -> None:
        self.passes = 0
        self.graphs: list[weakref.ref[_Token]] = []


class _Traced(torch.autograd.Function):
    """The identity."""

    @staticmethod
    def forward(context: Any, values: Tensor, trace: _Trace) -> Tensor:
        context.token, context.trace = _Token(), trace
        trace.graphs.append(weakref.ref(context.token))
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        context.trace.passes += 1
        return gradient, None


class _TracedNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.trace = network(), _Trace()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = _Traced.apply(self.layers[0](inputs), self.trace)
        return cast("Tensor", self.layers[2](self.layers[1](hidden)))


def counts_its_passes(subject: Subject) -> str:
    """Count the backward passes of some steps, those of closures and refreshes apart."""
    model, spec, counted, calls = _TracedNetwork(), subject.spec, [], 0
    run = Training(subject, model)
    for batch in batches(12):

        def loss_function(batch: tuple[Tensor, Tensor] = batch) -> Tensor:
            nonlocal calls
            calls += 1
            return cross_entropy(model, batch)

        model.trace.passes = calls = 0
        if spec.needs_hessian and cast("Any", run.optimizer).refresh_due:
            run.step(loss_function)
            continue
        run.step(loss_function)
        counted.append(model.trace.passes - (calls if spec.needs_closure else 0))
    if not counted:
        raise NotApplicable("refreshes its curvature in every step")
    said = spec.evaluations_per_step
    if not min(counted) <= said <= max(counted):
        usual = Counter(counted).most_common(1)[0][0]
        raise Fault(f"a step costs {usual} passes apart from closures, and the row says evaluations_per_step={said}")
    return f"{said} a step" if not spec.needs_closure else "those of its closures"


def frees_graphs(subject: Subject) -> None:
    """Take steps as the training loop does and one with a closure: the graphs of their losses must be gone then."""
    model = _TracedNetwork()
    run = Training(subject, model)
    run.train(batches(3))
    _clear(run.optimizer)
    if _alive(model):
        raise Fault("the graph of a loss lives on after its step")
    if not subject.spec.needs_closure:
        try:
            _step_with_closure(subject.spec, run.optimizer, model)
        except Exception:
            return  # another check is for this
        _clear(run.optimizer)
        if _alive(model):
            raise Fault("the graph of a closure's loss lives on after its step")


def _alive(model: _TracedNetwork) -> bool:
    def alive() -> bool:
        return any(graph() is not None for graph in model.trace.graphs)

    if alive():
        gc.collect()  # of a cycle that somebody else is to break
    return alive()


def _clear(optimizer: torch.optim.Optimizer) -> None:
    for param in held_by(optimizer):
        param.grad = None


def _step_with_closure(
    spec: OptimizerSpec, optimizer: torch.optim.Optimizer, model: nn.Module
) -> tuple[list[float], object]:
    """Take a step with a closure and return the losses that it gave, and what the step returned."""
    [batch] = batches(1)
    losses: list[float] = []
    refresh_if_due(spec, optimizer, cross_entropy(model, batch))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model, batch)
        if spec.needs_create_graph:
            params = held_by(optimizer)
            for param, grad in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True):
                param.grad = grad
        else:
            torch.autograd.backward(loss)
        losses.append(float(loss.detach()))
        return loss.detach() if spec.needs_closure else loss

    returned = optimizer.step(closure)  # type: ignore[arg-type]  # the hint says float
    _clear(optimizer)
    return losses, returned.detach() if isinstance(returned, Tensor) else returned


def calls_closures(subject: Subject) -> None:
    """Take steps with a closure. The first may only prepare what the others use."""
    model = network()
    run = Training(subject, model)
    before = run.parameters()
    for _ in range(3):
        losses, returned = _step_with_closure(subject.spec, run.optimizer, model)
        if not losses:
            raise Fault("step(closure) does not call the closure")
        if returned is None or float(cast("Any", returned)) not in losses:
            raise Fault(f"step(closure) returns {returned!r}, not the loss that the closure gave")
    if same(before, run.parameters()):
        raise Fault("step(closure) changes no parameter")


def is_made(subject: Subject) -> str:
    """Make it of a small model's parameters."""
    optimizer = subject.made_of(parameters_of(subject.spec, network()))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise Fault(f"it is no torch.optim.Optimizer but of type {type(optimizer).__name__}", "inherit from it")
    learning_rates(optimizer)
    methods = all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))
    if methods and not subject.spec.has_modes:
        raise Fault("it has train() and eval(), and its row does not say so", "set has_modes=True in its row")
    if subject.spec.has_modes and not methods:
        raise Fault("its row says has_modes=True, and it has no train() and eval()", "set has_modes=False in its row")
    if subject.spec.needs_hessian and not (hasattr(optimizer, "refresh_due") and hasattr(optimizer, "refresh")):
        raise Fault("its row says needs_hessian=True, and it has no refresh_due and refresh(loss)")
    return type(optimizer).__name__


def keeps_its_modes(subject: Subject) -> None:
    """Evaluate between two steps, and compare weights and the steps that follow with a run that never does."""
    if not subject.spec.has_modes:
        raise NotApplicable("has no train() and eval()")
    data = batches(6)
    run, straight = Training(subject), Training(subject)
    optimizer = cast("Any", run.optimizer)
    losses = straight.train(data)
    early = run.train(data[:4])
    before = run.parameters()
    optimizer.eval()
    evaluated = run.parameters()
    optimizer.train()
    if not same(before, run.parameters()):
        furthest = max(float((one - other).abs().max()) for one, other in zip(before, run.parameters(), strict=True))
        raise Fault(f"after eval() and train() the weights are others by up to {furthest:.2g}")
    if same(before, evaluated):
        raise Fault("eval() changes no weight", "write the weights that are evaluated into the parameters in eval()")
    if early + run.train(data[4:]) != losses or not same(run.parameters(), straight.parameters()):
        raise Fault("a run that is evaluated in between takes other steps afterwards")


class _Varied(nn.Module):
    """Modules of several kinds, one weight shared by two of them, one that requires no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.first, self.norm = nn.Embedding(5, 4), nn.Linear(4, 4, bias=False), nn.LayerNorm(4)
        self.second, self.convolution, self.head = nn.Linear(4, 4), nn.Conv2d(1, 2, 3), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.first.weight.requires_grad_(False)


def groups_all_parameters(subject: Subject) -> str:
    """Make the groups of a model of several kinds of modules."""
    make = subject.spec.groups
    if make is None:
        raise NotApplicable("its row makes no groups of a model")
    model = _Varied()
    counted = Counter(id(param) for group in make(model) for param in group["params"])
    for name, param in model.named_parameters():
        count = counted[id(param)]
        if param.requires_grad and count != 1:
            raise Fault(f"the parameter {name} is in {count or 'none'} of the groups")
    held = {id(param) for param in held_by(subject.optimizer(model))}
    lost = [name for name, param in model.named_parameters() if param.requires_grad and id(param) not in held]
    if lost:
        raise Fault(f"the optimizer holds no {', '.join(lost)}, which were in the groups", "keep all groups")
    return f"{len(make(model))} groups"


def refuses_what_is_wrong(subject: Subject) -> None:
    """Make the optimizer with arguments that are none."""
    _refused(subject, "a negative learning rate", [nn.Parameter(torch.ones(2))], lr=-1.0)
    _refused(subject, "an argument that does not exist", [nn.Parameter(torch.ones(2))], no_such_argument=1)
    _refused(subject, "an empty list of parameters", [])


def _refused(subject: Subject, what: str, params: list[Any], **wrong: object) -> None:
    try:
        subject.made_of(params, **wrong)
    except Exception:
        return
    raise Fault(f"it takes {what}")
