"""Sophia-H: averaged gradients over an averaged diagonal of the Hessian, clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor

from sofim._checks import (
    check_count,
    check_decay,
    check_learning_rate,
    check_not_negative,
    check_positive,
    check_real,
    with_gradients,
)
from sofim._curvature import gradients_with_graphs, hessian_products

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch.optim.optimizer import ParamsT


class Sophia(torch.optim.Optimizer):
    """Sophia-H, a clipped quasi-Newton step with a Hessian diagonal that is estimated now and then.

    Every `update_period` steps: h ← β₂ h + (1 − β₂) u ⊙ (H u), u ~ N(0, I) from torch's global generator
    Every step: m_t = β₁ m_{t−1} + (1 − β₁) g_t,  p ← (1 − η λ) p − η clip(m_t / max(γ h, ε), −1, 1)

    The training loop asks `refresh_due` and, when it is true, calls `refresh(loss)` before `loss.backward()`, as with
    `NystromSGD`. Source: Liu et al., arXiv 2305.14342, algorithm 3, with its η, γ and λ. The SophiaH of
    pytorch_optimizer needs a graph of every gradient, which makes each step as dear as a refresh; its lr is η / γ and
    its p is γ, so that its weight decay is 1 / γ times as strong.

    Differs from the paper: the Hessian is that of the whole minibatch. State: two tensors like each parameter.

    Args:
        params: Parameters of real floating-point type, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0, the length of the longest step of an entry.
        betas: Decays β₁ and β₂ of the averages of gradient and Hessian diagonal, in [0, 1).
        gamma: γ > 0: the larger, the fewer entries are clipped.
        eps: ε > 0, in the unit of the Hessian: entries of less curvature step by the sign of m, or shorter.
        weight_decay: λ ≥ 0; p is multiplied by 1 − η λ in each step.
        update_period: K ≥ 1, in steps: how long an estimate is used; the first group's holds.

    Raises:
        ValueError: A hyperparameter is out of its range, or a parameter is complex.
        RuntimeError: In `step`: there was no refresh yet, or a gradient is sparse.

    >>> p = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> optimizer = Sophia([p], lr=0.5)
    >>> loss = (torch.tensor([1.0, 100.0]) * p.square()).sum() / 2
    >>> optimizer.refresh_due, optimizer.refresh(loss)
    (True, 2)
    >>> loss.backward()
    >>> optimizer.step()
    >>> p.tolist()
    [0.5, 0.5]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 6e-4,
        *,
        betas: tuple[float, float] = (0.96, 0.99),
        gamma: float = 0.01,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        update_period: int = 10,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "update_period": update_period,
            "steps_since_refresh": None,
        }
        _check_options(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group.

        Args:
            param_group: `params` and options.

        Raises:
            ValueError: As for the class; the optimizer is then as it was.
        """
        super().add_param_group(param_group)
        try:
            _check_options(self.param_groups[-1])
            check_real("Sophia", self.param_groups[-1]["params"])
        except ValueError:
            del self.param_groups[-1]
            raise

    @property
    def refresh_due(self) -> bool:
        """Whether `refresh` should come before the next step: no estimate yet, or used `update_period` times."""
        group = self.param_groups[0]
        return group["steps_since_refresh"] is None or group["steps_since_refresh"] >= group["update_period"]

    def refresh(self, loss: Tensor) -> int:
        """Estimate the diagonal of the Hessian of a loss, and average it with the earlier ones.

        The graph of the loss is kept, so that `loss.backward()` can follow; the gradients in `.grad` are not touched.

        Args:
            loss: 0-dim tensor with its graph, without the L2 term.

        Returns:
            What it cost in forward-backward passes: one for the gradient and one for the Hessian-vector product.

        Raises:
            RuntimeError: The loss has no graph, or a function of it cannot be differentiated twice.
        """
        decays = {p: group["betas"][1] for group in self.param_groups for p in group["params"] if p.requires_grad}
        if decays:
            params = list(decays)
            grads = gradients_with_graphs(loss, params)
            probes = [torch.randn_like(param) for param in params]
            products = hessian_products(grads, params, probes)
            with torch.no_grad():
                for param, probe, product in zip(params, probes, products, strict=True):
                    average = self.state[param].setdefault("hessian", torch.zeros_like(param))
                    average.mul_(decays[param])
                    if product is not None:
                        average.addcmul_(probe, product, value=1 - decays[param])
        self.param_groups[0]["steps_since_refresh"] = 0
        return 2 if decays else 0

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient.

        Args:
            closure: Computes the loss and its gradients; the diagonal is that of the last refresh.

        Returns:
            What the closure returns.

        Raises:
            RuntimeError: There was no refresh yet, or a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        first = self.param_groups[0]
        if first["steps_since_refresh"] is None:
            raise RuntimeError("Sophia has no Hessian yet: call refresh(loss) before loss.backward() when refresh_due")
        for group in self.param_groups:
            params, grads = with_gradients("Sophia", group["params"])
            if params:
                self._update(params, grads, group)
        first["steps_since_refresh"] += 1
        return loss

    def _update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        averages = [self.state[param].setdefault("average", torch.zeros_like(param)) for param in params]
        # Zero for a parameter that required no gradient at the refresh, which then steps by its sign.
        hessians = [self.state[param].setdefault("hessian", torch.zeros_like(param)) for param in params]
        lr = float(group["lr"])
        torch._foreach_lerp_(averages, grads, 1 - group["betas"][0])
        updates = torch._foreach_mul(hessians, group["gamma"])
        torch._foreach_clamp_min_(updates, group["eps"])
        updates = torch._foreach_div(averages, updates)
        torch._foreach_clamp_min_(updates, -1.0)
        torch._foreach_clamp_max_(updates, 1.0)
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_add_(params, updates, alpha=-lr)


def _check_options(options: dict[str, Any]) -> None:
    check_learning_rate(options["lr"])
    if len(options["betas"]) != 2:
        raise ValueError(f"betas must be two numbers, not {len(options['betas'])}")
    for place, beta in enumerate(options["betas"]):
        check_decay(f"betas[{place}]", beta)
    check_positive("gamma", options["gamma"])
    check_positive("eps", options["eps"])
    check_not_negative("weight_decay", options["weight_decay"])
    check_count("update_period", options["update_period"])
