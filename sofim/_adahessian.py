"""AdaHessian of pytorch_optimizer, with a Hessian that may be zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_optimizer
import torch

from sofim._curvature import hessian_products
from sofim._mended import Spending

if TYPE_CHECKING:
    from torch import Tensor


class AdaHessian(Spending, pytorch_optimizer.AdaHessian):
    """The library's, except that a gradient that depends on no parameter has no curvature, where it raises."""

    # The library sets these on the instance, as what Mended has.
    update_period = 1
    num_samples = 1
    distribution = "rademacher"

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
        products = hessian_products([param.grad for param in params], params, probes, keep_graph=False)
        for param, probe, product in zip(params, probes, products, strict=True):
            if product is not None:
                state[param]["hessian"].addcmul_(product, probe, value=alpha)
