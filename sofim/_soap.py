"""SOAP of pytorch_optimizer, and on its statistics the Shampoo that won AlgoPerf."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_optimizer
import torch

from sofim._mended import Mended

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

RIDGE = 1e-6
"""Smallest eigenvalue of Shampoo's statistics in shares of the largest: below it float32 has rounding errors alone."""


class SOAP(Mended, pytorch_optimizer.SOAP):
    """The library's, except that statistics that are not finite make the parameters NaN, where it raises."""

    data_format = "channels_first"  # set on the instance by the library, as what Mended has

    @classmethod
    def get_orthogonal_matrix(cls, mat: Any) -> list[Any]:
        """Return what each dimension of a gradient is multiplied with; an empty list where there are no statistics.

        Args:
            mat: Statistics of each dimension: a matrix (d, d), or an empty list.
        """
        order = sum(len(statistics) > 0 for statistics in mat)
        return [
            []
            if len(statistics) == 0
            else cls._matrix(statistics, order)
            if statistics.isfinite().all()
            else torch.full_like(statistics, math.nan)
            for statistics in mat
        ]

    @staticmethod
    def _matrix(statistics: Tensor, _order: int) -> Tensor:
        matrices: Any = [statistics]  # the library's hint says a tensor
        matrix: Tensor = pytorch_optimizer.SOAP.get_orthogonal_matrix(matrices)[0]
        return matrix


class Shampoo(SOAP):
    """Shampoo with averaged statistics and the step length of Adam, see `sofim.factories.shampoo`."""

    @staticmethod
    def _matrix(statistics: Tensor, order: int) -> Tensor:
        values, vectors = torch.linalg.eigh(statistics.to(torch.promote_types(statistics.dtype, torch.float32)))
        floor = (RIDGE * values[-1]).clamp(min=torch.finfo(values.dtype).tiny)
        root: Tensor = (vectors * values.maximum(floor).pow(-0.5 / order)) @ vectors.T
        return root.to(statistics.dtype)

    def get_orthogonal_matrix_qr(self, state: dict[str, Any], *_: object) -> list[Any]:
        """Return the matrices anew: inverse roots, unlike eigenvectors, have no predecessors to go on from."""
        return self.get_orthogonal_matrix(state["GG"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient, and return what the closure does.

        Args:
            closure: Computes the loss and its gradients.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.init_group(group)
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, self.state[param], group)
        return loss

    def _update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state["step"] = step = state.get("step", 0) + 1
        if step > 1:  # the first gradient is in the statistics since `init_group`
            self.update_pre_conditioner(grad, state, step, max_precondition_dim=group["max_precondition_dim"])
        average, squares = state["exp_avg"], state["exp_avg_sq"]
        average.lerp_(grad, 1 - beta1)
        squares.lerp_(grad.square(), 1 - beta2)
        update = (average / (1 - beta1**step)) / (squares / (1 - beta2**step)).sqrt_().add_(group["eps"])
        if step >= group["precondition_frequency"] and any(len(root) > 0 for root in state["Q"]):
            length = torch.linalg.vector_norm(update)
            update = self.project(average, state)
            update *= length / torch.linalg.vector_norm(update).clamp(min=torch.finfo(update.dtype).tiny)
        lr = float(group["lr"])
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(update, alpha=-lr)
