"""Optimizers of pytorch_optimizer, with what all of the library's need to be copied and scheduled."""

from __future__ import annotations

from typing import Any

import pytorch_optimizer


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
            return super().step(*arguments, **options)  # type: ignore[misc]  # the library's, after this one
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


class Lion(Mended, pytorch_optimizer.Lion):
    """The library's."""


class AdEMAMix(Mended, pytorch_optimizer.AdEMAMix):
    """The library's."""
