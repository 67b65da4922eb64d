"""One optimizer step as a training loop takes it, asking the row of `OPTIMIZERS` and never the name."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from sofim import OptimizerSpec


def advance(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, loss_function: Callable[[], Tensor]) -> float:
    """Take one step and return the loss before it. Gradients are left in place, without a graph."""

    def backward(loss: Tensor) -> None:
        with warnings.catch_warnings():
            # Of the cycle between gradients and graph, which is broken below.
            warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
            loss.backward(create_graph=spec.needs_create_graph)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_function()
        backward(loss)
        return loss

    if spec.needs_closure:
        return optimizer.step(closure).item()
    optimizer.zero_grad()
    loss = loss_function()
    if spec.needs_hessian and optimizer.refresh_due:
        optimizer.refresh(loss)
    backward(loss)
    optimizer.step()
    if spec.needs_create_graph:
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = None if param.grad is None else param.grad.detach()
    return float(loss.detach())
