"""From a model to the optimizer of a row: each parameter that is trained in one group, each group with its rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from search_spaces.errors import UserError, number_of
from studies.workloads.user_errors import blaming

if TYPE_CHECKING:
    import torch

    from sofim.registry import OptimizerSpec


def make_optimizer(spec: OptimizerSpec, model: nn.Module, arguments: Mapping[str, object]) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that require a gradient, in the groups that the row makes of the model.

    Args:
        spec: The row.
        model: What is trained.
        arguments: Of the row's factory.

    Raises:
        UserError: The row's groups are not each such parameter once.
    """
    return spec.factory(trained(spec, model), **arguments)


def rates(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, schedule: str) -> list[float]:
    """Return the learning rate of each group, which a schedule multiplies.

    Raises:
        UserError: A group has none.
    """
    without = [place for place, group in enumerate(optimizer.param_groups, 1) if group.get("lr") is None]
    if without:
        of = number_of(len(optimizer.param_groups), "parameter group")
        raise UserError(
            f"optimizer {spec.key}: group {without[0]} of its {of} has no learning rate lr for schedule "
            f'{schedule!r} to multiply: give it one, or use schedule = "constant" without a warm-up'
        )
    return [group["lr"] for group in optimizer.param_groups]


def trained(spec: OptimizerSpec, model: nn.Module) -> list[nn.Parameter] | list[dict[str, Any]]:
    """Return the parameters that require a gradient, or the groups that the row makes of the model.

    Raises:
        UserError: The row's groups are not each such parameter once.
    """
    if spec.groups is None:
        return [parameter for parameter in model.parameters() if parameter.requires_grad]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    frozen = {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
    with blaming(f"optimizer {spec.key}: its function of parameter groups", spec.groups):
        groups = [{**group, "params": _members(group["params"])} for group in spec.groups(model)]
    given = [{**group, "params": [p for p in group["params"] if id(p) not in frozen]} for group in groups]
    counts = Counter(id(parameter) for group in given for parameter in group["params"])
    wrong = {
        "leaves out": [name for key, name in names.items() if key not in frozen and not counts[key]],
        "gives more than once:": [names.get(key, "a parameter") for key, count in counts.items() if count > 1],
        "gives what the model has not:": [number_of(len(counts.keys() - names.keys()), "parameter")]
        if counts.keys() - names.keys()
        else [],
    }
    for verb, which in wrong.items():
        if which:
            more = f" and {len(which) - 1} more" if len(which) > 1 else ""
            raise UserError(
                f"optimizer {spec.key}: its function of parameter groups {verb} {which[0]}{more}; each parameter of "
                "the model that requires a gradient belongs in one group"
            )
    return [group for group in given if group["params"]]


def _members(params: object) -> Sequence[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)  # type: ignore[call-overload]
