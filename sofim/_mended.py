"""Optimizers of pytorch_optimizer, with what all of the library's need to be copied and scheduled."""

from __future__ import annotations

from typing import Any

import pytorch_optimizer
import torch
from torch import Tensor

from sofim._matrices import is_matrix

_ESTIMATED = ("d", "d_max", "d_numerator", "d_de_nom", "d_hat", "step")  # of a group of Prodigy, alike in all
_COEFFICIENTS = ((3.4445, -4.7750, 2.0315),)  # Jordan's, of the iteration that makes a matrix nearly orthogonal


class Mended:
    """A base before the library's: copies keep their options, and a tensor as learning rate is a number to the step."""

    param_groups: list[dict[str, Any]]

    # The library sets these on the instance, where pickle and deepcopy of an Optimizer lose them.
    maximize: Any = False
    foreach: Any = None
    _compiled_step_foreach: Any = None

    def step(self, *arguments: Any, **options: Any) -> Any:
        """Update all parameters that have a gradient, and return what the closure does.

        Args:
            arguments: Of the library's class: a closure that computes the loss and its gradients.
            options: Of the library's class.
        """
        rates = [group["lr"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["lr"] = float(group["lr"])  # parts of the library scale a tensor in place, step after step
            return _without_hooks(super().step)(self, *arguments, **options)  # type: ignore[misc]  # the library's
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


def _without_hooks(step: Any) -> Any:
    """Return a bound step as a function without the hooks that torch puts around it once its own class was made.

    They are around the step of the subclass too, and would run twice.
    """
    function = step.__func__
    return function.__wrapped__ if getattr(function, "hooked", False) else function


class Spending(Mended):
    """A base before those of the library's that write into the gradients: these stay as they are."""

    def step(self, *arguments: Any, **options: Any) -> Any:
        """Update all parameters that have a gradient, and return what the closure does; see `Mended`."""
        closure, loss = arguments[0] if arguments else options.pop("closure", None), None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [(param, param.grad) for group in self.param_groups for param in group["params"]]
        try:
            with torch.enable_grad():  # of a gradient with a graph the Hessian may be taken
                for param, grad in gradients:
                    param.grad = None if grad is None else grad.clone()
            super().step(None, *arguments[1:], **options)
        finally:
            for param, grad in gradients:
                param.grad = grad
        return loss


class Lion(Mended, pytorch_optimizer.Lion):
    """The library's."""


class AdEMAMix(Mended, pytorch_optimizer.AdEMAMix):
    """The library's."""


class Muon(Spending, pytorch_optimizer.Muon):
    """Muon and AdamW, each on groups of its own.

    Args:
        params: Parameters, or groups. A group says by `use_muon` for which of the two it is; of one that does not,
            matrices go to Muon and all else to AdamW.
        **defaults: Of the groups; see `sofim.factories.muon`.
    """

    def __init__(self, params: Any, **defaults: Any) -> None:
        fixed = {
            "weight_decouple": True,
            "ns_steps": 5,
            "ns_coeffs": _COEFFICIENTS,
            "ns_method": "newton_schulz",
            "ns_reset_steps": (2,),
            "use_adjusted_lr": True,
        }
        torch.optim.Optimizer.__init__(self, params, {**defaults, **fixed})  # the library's takes dicts alone

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group for Muon or AdamW, or one for each where it does not say for which it is.

        Without a learning rate of its own, or where it does not say, AdamW's is `adamw_lr_ratio` of Muon's.
        """
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        rate, is_said = param_group.get("lr", self.defaults["lr"]), "use_muon" in param_group
        if is_said:
            shares = {bool(param_group["use_muon"]): params}
        else:
            shares = {kind: [param for param in params if is_matrix(_tensor(param)) == kind] for kind in (True, False)}
            shares = {kind: share for kind, share in shares.items() if share} or {False: params}
        for use_muon, share in shares.items():
            group = {**param_group, "params": share, "use_muon": use_muon}
            if not use_muon:
                group.setdefault("betas", self.defaults["betas"])
                if not (is_said and "lr" in param_group):
                    group["lr"] = rate * self.defaults["adamw_lr_ratio"]
            super().add_param_group(group)


def _tensor(param: Any) -> Tensor:
    """Return a parameter that may come with its name."""
    found: Tensor = param[1] if isinstance(param, tuple) else param
    return found


class ScheduleFreeAdamW(Spending, pytorch_optimizer.ScheduleFreeAdamW):
    """The library's."""


class Prodigy(Spending, pytorch_optimizer.Prodigy):
    """The library's, which has one learning rate, and one estimate d, for all parameters: those of the first group."""

    _compiled_update_foreach = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, which has the learning rate of the others, and takes over what they have estimated.

        Raises:
            ValueError: It has another.
        """
        super().add_param_group(param_group)
        first, new = self.param_groups[0], self.param_groups[-1]
        if new["lr"] != first["lr"]:
            del self.param_groups[-1]
            raise ValueError("all parameter groups of Prodigy have one learning rate lr")
        new |= {name: first[name] for name in _ESTIMATED if name in first}
