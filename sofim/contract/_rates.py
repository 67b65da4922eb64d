"""Whether an optimizer takes learning rate, momentum and parameters from its groups, step by step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import lr_scheduler

from sofim.contract._outcome import Fault, NotApplicable, raised
from sofim.contract._training import Batch, Subject, Training, batches, copied, near, network, parameters_of, same

_REFUSALS = (ValueError, TypeError, NotImplementedError, RuntimeError)
_Made = TypeVar("_Made")


def follows_its_groups(subject: Subject) -> None:
    """Change `group["lr"]` between two steps, as the product's schedules do: all parameters must end elsewhere."""
    ends = []
    for factor in (1.0, 0.1):
        run = Training(subject)
        learning_rates(run.optimizer)
        run.train(batches(2))
        for group in run.optimizer.param_groups:
            group["lr"] *= factor
        run.train(batches(4))
        ends.append(run.parameters())
    names = [name for name, _ in network().named_parameters()]
    deaf = [name for name, one, other in zip(names, *ends, strict=True) if torch.equal(one, other)]
    if deaf:
        raise Fault(
            f"a learning rate that is changed after 2 steps changes no step of {'all' if len(deaf) == 4 else deaf}"
        )


def learning_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return that of each group."""
    for group in optimizer.param_groups:
        if "lr" not in group:
            raise Fault("a group has no 'lr'", 'pass {"lr": lr, …} as defaults to torch.optim.Optimizer.__init__')
    return [group["lr"] for group in optimizer.param_groups]


def has_groups(subject: Subject) -> None:
    """Halve each group, and give the second halves a tenth of the learning rate."""
    rates = learning_rates(subject.optimizer(network()))
    ends = []
    for factor in (1.0, 0.1):
        model = network()
        groups, second = [], []
        for group, rate in zip(_groups(subject, model), rates, strict=True):
            middle = (len(group["params"]) + 1) // 2
            second += group["params"][middle:]
            groups += [
                {**group, "params": group["params"][:middle]},
                {**group, "params": group["params"][middle:], "lr": rate * factor},
            ]
        groups = [group for group in groups if group["params"]]
        run = _with_several(lambda model=model, groups=groups: Training(subject, model, groups=groups))  # type: ignore[misc]
        run.train(batches(3))
        ends.append(copied(second))
    if any(torch.equal(one, other) for one, other in zip(*ends, strict=True)):
        raise Fault("a group's own learning rate is not that of its steps")


def joins_late(subject: Subject) -> None:
    """Add a group of parameters after two steps."""
    run, late = Training(subject), nn.Linear(4, 3)
    run.train(batches(2))
    before = copied(late.parameters())
    options = {key: value for key, value in _groups(subject, network())[-1].items() if key != "params"}

    def go_on() -> None:
        run.optimizer.add_param_group({**options, "params": list(late.parameters())})
        for inputs, targets in batches(2):
            run.step(lambda i=inputs, t=targets: nn.functional.cross_entropy(run.model(i) + late(i), t))  # type: ignore[misc]

    _with_several(go_on)
    if any(torch.equal(old, new) for old, new in zip(before, late.parameters(), strict=True)):
        raise Fault("the parameters of a group that is added after 2 steps are not trained")


def _groups(subject: Subject, model: nn.Module) -> list[dict[str, Any]]:
    """Return the groups of a model as dicts with a list of parameters each."""
    given = parameters_of(subject.spec, model)
    groups = given if isinstance(given[0], dict) else [{"params": given}]
    return [{**group, "params": list(group["params"])} for group in groups]


def _with_several(make: Callable[[], _Made]) -> _Made:
    """Return what is made with several groups, unless the optimizer takes one alone and says so."""
    try:
        return make()
    except (*_REFUSALS, AssertionError) as error:
        if "group" in str(error):
            raise NotApplicable(f"takes one group: {raised(error)}") from error
        raise


def _with_momentum(optimizer: torch.optim.Optimizer) -> bool:
    return any(key in optimizer.defaults for key in ("momentum", "betas"))


# Schedulers with what they cannot do without, and their defaults otherwise.
_Schedule = Callable[[torch.optim.Optimizer], Any]
_SCHEDULES: dict[str, _Schedule] = {
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
    "MultiplicativeLR": lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda _: 0.9),
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 5]),
    "ConstantLR": lr_scheduler.ConstantLR,
    "LinearLR": lr_scheduler.LinearLR,
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "PolynomialLR": lr_scheduler.PolynomialLR,
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=20, cycle_momentum=_with_momentum(optimizer)
    ),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(
        optimizer, base_lr=0.01, max_lr=0.1, step_size_up=5, cycle_momentum=_with_momentum(optimizer)
    ),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=1),
    "ChainedScheduler": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)], [4]
    ),
    "SWALR": lambda optimizer: torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.01),
}


def takes_schedulers(subject: Subject) -> None:
    """Train under each scheduler of torch, and go on in the middle with new objects."""
    data = batches(8)
    for name, schedule in _SCHEDULES.items():
        try:
            run, late = _interrupted(subject, schedule, data)
        except Exception as error:
            raise Fault(f"under {name} it {raised(error)}") from error
        if not all(bool(param.isfinite().all()) for param in run.parameters()):
            raise Fault(f"under {name} it diverges")
        if not same(run.parameters(), late.parameters()):
            raise Fault(f"under {name} a run that goes on from its state_dict ends elsewhere")


def _interrupted(subject: Subject, schedule: _Schedule, data: list[Batch]) -> tuple[Training, Training]:
    """Return a run, and one that went on from the state in its middle."""
    run, late = Training(subject), Training(subject)
    scheduler, late_scheduler = schedule(run.optimizer), schedule(late.optimizer)
    _scheduled(run, scheduler, data[: len(data) // 2])
    late.model.load_state_dict(copy.deepcopy(run.model.state_dict()))
    late.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
    late_scheduler.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    late.random_state = run.random_state
    for one, other in ((run, scheduler), (late, late_scheduler)):
        _scheduled(one, other, data[len(data) // 2 :])
    return run, late


def takes_momentum(subject: Subject) -> None:
    """Take the same learning rates, once with a momentum that moves and once with one that does not."""
    if not _with_momentum(subject.optimizer(network())):
        raise NotApplicable("has neither momentum nor betas among its options")
    ends = []
    for highest in (0.95, 0.5):
        run = Training(subject)
        scheduler = lr_scheduler.OneCycleLR(
            run.optimizer, max_lr=0.1, total_steps=20, base_momentum=0.5, max_momentum=highest
        )
        _scheduled(run, scheduler, batches(8))
        ends.append(run.parameters())
    if same(*ends):
        raise Fault("the momentum that OneCycleLR writes into its groups is not that of its steps")


def takes_a_tensor(subject: Subject) -> None:
    """Take one step with a number and with a tensor, and the next ones with and without a schedule of the tensor."""
    [rate, *_] = learning_rates(subject.optimizer(network()))
    number, rate_given = Training(subject, lr=float(rate)), torch.tensor(float(rate))
    try:
        fixed, moved = (Training(subject, lr=rate_given.clone()) for _ in range(2))
    except _REFUSALS as error:
        raise NotApplicable(f"refuses a tensor: {raised(error)}") from error
    first, *data = batches(6)
    for run in (number, fixed, moved):
        run.train([first])
    if not near(number.parameters(), fixed.parameters()):
        raise Fault("with a tensor a step is another than with the same number")
    fixed.train(data)
    if learning_rates(fixed.optimizer)[0] != rate_given:
        raise Fault("steps change the tensor", "compute with a copy of group['lr'], or refuse a tensor in __init__")
    _scheduled(moved, lr_scheduler.StepLR(moved.optimizer, 1), data)
    if same(fixed.parameters(), moved.parameters()):
        raise Fault("a schedule of the tensor changes no step")


def _scheduled(run: Training, scheduler: Any, data: list[Batch]) -> None:
    for batch in data:
        [loss] = run.train([batch])
        scheduler.step(*([loss] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
