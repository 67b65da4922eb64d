"""AdaHessian of pytorch_optimizer, with a Hessian that may be zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_optimizer
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_DELAYED_ERROR = "torch::autograd::Error"


class AdaHessian(pytorch_optimizer.AdaHessian):
    """The library's, except that a gradient that depends on no parameter has no curvature.

    Where the loss is linear in a parameter, in pieces (hinge, absolute error, a network of ReLUs) or at all, autograd
    keeps no graph of its gradient, and the library's Hessian-vector product raises.
    """

    # The library sets these on the instance, where pickle and deepcopy of an Optimizer lose them.
    update_period = 1
    num_samples = 1
    distribution = "rademacher"
    maximize = False
    foreach = None

    @staticmethod
    @torch.no_grad()
    def compute_hutchinson_hessian(
        param_groups: list[dict[str, Any]],
        state: dict[Tensor, dict[str, Tensor]],
        num_samples: int = 1,
        alpha: float = 1.0,
        distribution: str = "rademacher",
    ) -> None:
        """Add D = z ⊙ (H z), z of ±1, to `state[p]["hessian"]` of every parameter p that has a gradient.

        Args:
            param_groups: Of the optimizer.
            state: Of the optimizer.
            num_samples: One.
            alpha: Factor of D.
            distribution: Rademacher's.

        Raises:
            RuntimeError: A function of the model or the loss cannot be differentiated twice.
        """
        assert num_samples == 1
        assert distribution == "rademacher"
        params = [
            param
            for group in param_groups
            for param in group["params"]
            if param.requires_grad and param.grad is not None and not param.grad.is_sparse
        ]
        # Drawn for all of them, so that the numbers do not depend on which have curvature.
        probes = [torch.randint_like(param, 0, 2) * 2.0 - 1.0 for param in params]
        curved = [(param.grad, probe) for param, probe in zip(params, probes, strict=True) if param.grad.requires_grad]
        if not curved:
            return
        grads, directions = zip(*curved, strict=True)
        _check_differentiable(grads)
        products = torch.autograd.grad(grads, params, grad_outputs=directions, allow_unused=True)
        for param, probe, product in zip(params, probes, products, strict=True):
            if product is not None:
                state[param]["hessian"].addcmul_(product, probe, value=alpha)


def _check_differentiable(grads: Sequence[Tensor]) -> None:
    """Raise RuntimeError where autograd kept an error instead of a derivative.

    The way to it leads to no parameter, so that the product passes it by: what is unknown would be taken for zero.
    """
    seen: set[Any] = {grad.grad_fn for grad in grads}
    todo = [*seen]
    while todo:
        node = todo.pop()
        if node is None:
            continue
        if node.name() == _DELAYED_ERROR:
            raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
        new = {function for function, _ in node.next_functions} - seen
        seen |= new
        todo += new
