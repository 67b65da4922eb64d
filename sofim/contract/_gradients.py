"""What an optimizer does with gradients: missing, zero, sparse, scaled, and those that are not its own to change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from sofim.contract._outcome import Fault, NotApplicable, raised
from sofim.contract._training import (
    Subject,
    Training,
    batches,
    copied,
    cross_entropy,
    held_by,
    near,
    network,
    refresh_if_due,
    same,
)


class _Partly(nn.Module):
    """A network, with parameters that no gradient reaches and such as require none."""

    def __init__(self, trained: nn.Module) -> None:
        super().__init__()
        self.trained = trained
        self.unused = nn.Linear(3, 2)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return cast("Tensor", self.trained(inputs))


def leaves_the_unused(subject: Subject) -> None:
    """Train a model some parameters of which have no gradient, with weight decay where there is such an option."""
    model = _Partly(network())
    run = Training(subject, model, **decaying(subject, 0.1))
    before, trained = copied(model.unused.parameters()), copied(model.trained.parameters())
    losses = run.train(batches(5))
    if not same(before, list(model.unused.parameters())):
        raise Fault("parameters without a gradient are changed")
    if not torch.equal(model.frozen, torch.ones(2)):
        raise Fault("parameters that require no gradient are changed")
    if any(torch.equal(old, new) for old, new in zip(trained, model.trained.parameters(), strict=True)):
        raise Fault("parameters beside such as have no gradient are not trained")
    if not all(map(math.isfinite, losses)):
        raise Fault("it diverges beside parameters without a gradient")


def decaying(subject: Subject, weight_decay: float) -> dict[str, object]:
    """Return the argument that sets weight decay, where all groups have one."""
    groups = subject.optimizer(network()).param_groups
    return {"weight_decay": weight_decay} if all("weight_decay" in group for group in groups) else {}


def survives_an_empty_step(subject: Subject) -> None:
    """Take a step though no parameter has a gradient."""
    if subject.spec.needs_hessian:
        raise NotApplicable("needs the curvature of a loss")
    model = network()
    optimizer = subject.optimizer(model)
    before = copied(model.parameters())
    if subject.spec.needs_closure:
        optimizer.step(lambda: torch.tensor(1.0))  # type: ignore[arg-type, return-value]
    else:
        optimizer.step()
    if not same(before, list(model.parameters())):
        raise Fault("a step without any gradient changes parameters")


def spares_gradients(subject: Subject) -> None:
    """Compare each gradient after a step with what the backward pass had written."""
    model = network()
    run = Training(subject, model, **decaying(subject, 0.1))
    seen: dict[int, Tensor] = {}

    def note(param: Tensor) -> None:
        assert param.grad is not None
        seen[id(param)] = param.grad.detach().clone()

    for param in model.parameters():
        param.register_post_accumulate_grad_hook(note)  # type: ignore[no-untyped-call]
    for batch in batches(3):
        run.train([batch])
        # The last gradient of each is the one still in place.
        if any(param.grad is None or not torch.equal(param.grad, seen[id(param)]) for param in model.parameters()):
            raise Fault("a step changes the gradients")


def clears_gradients(subject: Subject) -> None:
    """Clear gradients both ways."""
    run = Training(subject)
    for to_none in (True, False):
        run.train(batches(2))
        run.optimizer.zero_grad(set_to_none=to_none)
        left = [param.grad for param in held_by(run.optimizer)]
        if to_none and any(grad is not None for grad in left):
            raise Fault("zero_grad(set_to_none=True) leaves gradients")
        if not to_none and any(grad is None or bool(grad.any()) or grad.requires_grad for grad in left):
            raise Fault("zero_grad(set_to_none=False) leaves gradients that are no zeros")


def takes_sparse_gradients_or_not(subject: Subject) -> str | None:
    """Train an embedding with sparse gradients and with dense ones."""
    indices = [torch.tensor([0, 1, 2, 1]), torch.tensor([2, 0, 0, 1]), torch.tensor([1, 2, 0, 2])]
    ends = []
    for sparse in (False, True):
        torch.default_generator.manual_seed(1)
        model = nn.Embedding(3, 2, sparse=sparse)
        run = Training(subject, model)
        for batch in indices:
            try:
                run.step(lambda batch=batch, model=model: (model(batch) - 1).square().sum())  # type: ignore[misc]
            except Exception as error:
                if sparse:
                    return f"refused: {type(error).__name__}"
                raise
        ends.append(run.parameters())
    if not near(*ends):
        raise Fault("sparse gradients give other parameters than the same ones dense")
    return None


def takes_a_scaler(subject: Subject) -> None:
    """Train with `torch.amp.GradScaler` and without; a step with an infinite gradient must be left out."""
    if subject.spec.needs_closure:
        raise NotApplicable("GradScaler takes no closure")
    if subject.spec.needs_create_graph:
        raise NotApplicable("its curvature would be that of the scaled loss")
    plain, run = Training(subject), Training(subject)
    data = batches(5)
    plain.train(data)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for batch in data:
        _scaled_step(subject, run, scaler, cross_entropy(run.model, batch))
    if not near(plain.parameters(), run.parameters()):
        raise Fault("with GradScaler the parameters are others than without")
    before = run.parameters()
    _scaled_step(subject, run, scaler, cross_entropy(run.model, data[0]) * math.inf)
    if not same(before, run.parameters()):
        raise Fault("a step whose gradients overflowed is taken")


def _scaled_step(subject: Subject, run: Training, scaler: torch.amp.GradScaler, loss: Tensor) -> None:
    run.optimizer.zero_grad()
    if math.isfinite(loss.detach()):
        with run.drawing():
            refresh_if_due(subject.spec, run.optimizer, loss)
    torch.autograd.backward(scaler.scale(loss))
    scaler.step(run.optimizer)
    scaler.update()


class _Shapes(nn.Module):
    """Parameters of none to four dimensions."""

    def __init__(self) -> None:
        super().__init__()
        torch.default_generator.manual_seed(1)
        self.volume, self.plane = nn.Conv2d(1, 3, 2), nn.Conv1d(3, 4, 2)
        self.matrix = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.scale * self.matrix(self.plane(self.volume(images).flatten(2)).tanh().mean(2)))


def takes_all_shapes(subject: Subject) -> None:
    """Train a convolution, a matrix, vectors and a scalar."""
    model = _Shapes()
    run, before = Training(subject, model), copied(model.parameters())
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        images = torch.randn(8, 1, 4, 4, generator=generator)
        run.step(lambda images=images: (model(images) - 1).square().mean())  # type: ignore[misc]
    for (name, param), old in zip(model.named_parameters(), before, strict=True):
        if torch.equal(param, old):
            raise Fault(f"a parameter of shape {tuple(param.shape)} ({name}) is not trained")
        if param.shape != old.shape:
            raise Fault(f"a parameter of shape {tuple(old.shape)} gets the shape {tuple(param.shape)}")


_Edge = Callable[[nn.ModuleList, Tensor, Tensor], Tensor]


def _hinge(layers: nn.ModuleList, inputs: Tensor, targets: Tensor) -> Tensor:
    return cast("Tensor", (1 - layers[0](inputs).squeeze(1) * (targets * 2.0 - 1)).clamp(min=0).mean())


_MOVES: dict[str, _Edge] = {
    # linear in pieces
    "a hinge": _hinge,
    "an absolute error": lambda layers, inputs, targets: (layers[0](inputs).squeeze(1) - targets).abs().mean(),
    "a sum of outputs": lambda layers, inputs, _: layers[0](inputs).mean(),
    # linear in some parameters and curved in others
    "a linear branch": lambda layers, inputs, targets: (
        _hinge(layers, inputs, targets) + layers[1](inputs).square().mean()
    ),
    "linear in the last layer": lambda layers, inputs, _: layers[2](layers[1](inputs).tanh()).mean(),
}
_RESTS: dict[str, _Edge] = {
    "constant": lambda layers, inputs, _: 0.0 * layers[0](inputs).mean(),
    "perfect already": lambda layers, inputs, _: (layers[0](inputs) * 0.0).square().mean(),
}
_RUNS: dict[str, _Edge] = {
    "minute": lambda layers, inputs, _: 1e-30 * layers[0](inputs).square().mean(),
    "huge": lambda layers, inputs, _: 1e30 * layers[0](inputs).square().mean(),
}


def survives_edges(subject: Subject) -> None:
    """Train on losses at the edges of the mathematics: it may diverge, but not break.

    A run that diverges is judged by its loss; an exception would be a failure of the optimizer's own.
    """
    for precision in (torch.float32, torch.float64):
        data = [(inputs.to(precision), (targets > 1).to(precision)) for inputs, targets in batches(3)]
        for edge, loss_function in (_MOVES | _RESTS | _RUNS).items():
            layers = _layers_of(loss_function, *data[0])
            run, before = Training(subject, layers), copied(layers.parameters())
            decays = any(group[key] for group in run.optimizer.param_groups for key in group if "decay" in key)
            for given in data:
                try:
                    loss = run.step(lambda given=given, f=loss_function, layers=layers: f(layers, *given))  # type: ignore[misc]
                except Exception as error:
                    raise Fault(f"on a loss that is {edge} it {raised(error)}") from error
                if not math.isfinite(loss):
                    break
            moved = not same(before, list(layers.parameters()))
            if edge in _MOVES and not moved:
                raise Fault(f"a loss that is {edge} trains nothing")
            if edge in _RESTS and moved and not decays:
                raise Fault(f"a loss that is {edge}, with gradients of zero, changes parameters")


def _layers_of(loss_function: _Edge, inputs: Tensor, targets: Tensor) -> nn.ModuleList:
    """Return layers in the precision of the inputs, of which those that the loss has no use for are not trained."""
    torch.default_generator.manual_seed(1)
    layers = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 3), nn.Linear(3, 1)]).to(inputs.dtype)
    params = list(layers.parameters())
    grads = torch.autograd.grad(loss_function(layers, inputs, targets), params, allow_unused=True)
    for param, grad in zip(params, grads, strict=True):
        param.requires_grad_(grad is not None)
    return layers
