"""What a workload's own ``evaluate`` returns, made out as a loss and the metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn

from search_spaces.errors import UserError
from studies.workloads._base import HeldOut, Workload
from studies.workloads._load import seeded
from studies.workloads.user_errors import definition

SEEDS: Mapping[HeldOut, int] = {"validation": 0, "test": 1}
"""What the global generators are seeded with, whichever epoch or trial: so values compare."""


@torch.no_grad()
def evaluated(workload: Workload, model: nn.Module, data: Any, split: HeldOut) -> tuple[float | None, float]:
    """Return the loss, or None where it is not told, and the metric of a workload with ``evaluate``.

    Args:
        workload: Whose evaluation.
        model: Is put into evaluation mode.
        data: What ``load`` returned, on the model's device.
        split: What to evaluate on.

    Raises:
        UserError: If it returned something else.
    """
    assert workload.evaluate is not None
    name = workload.metric.name
    model.eval()
    with seeded(SEEDS[split]):
        given: object = workload.evaluate(model, data, split)
    told: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {name: given}
    if name not in told or not told.keys() <= {"loss", name}:
        keys = ", ".join(map(repr, told)) or "nothing"
        raise _refused(workload, f"a mapping with {keys}")
    for key, value in told.items():
        if not isinstance(value, SupportsFloat) or (isinstance(value, Tensor) and value.numel() != 1):
            of = f" for {key!r}" if isinstance(given, Mapping) else ""
            what = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise _refused(workload, f"{'nothing (None)' if value is None else what}{of}")
    loss = told.get("loss")
    return None if loss is None else float(loss), float(told[name])


def _refused(workload: Workload, returned: str) -> UserError:
    name = workload.metric.name
    return UserError(
        f"workload {workload.name}: evaluate returned {returned}; it returns the metric as a number, or "
        f"{{'loss': ..., {name!r}: ...}}{definition(workload.evaluate, workload.place)}"
    )
