"""Whether an optimizer finds a minimum, with the learning rate searched a little."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sofim.contract._outcome import Fault
from sofim.contract._rates import learning_rates
from sofim.contract._training import Subject, Training

# Of the learning rate that the factory was given or has of itself. Defaults are made for networks, and most are small.
_FACTORS = (1.0, 10.0, 100.0, 0.1, 3.0, 30.0, 0.3, 0.01, 1000.0, 0.03, 300.0, 0.003, 0.001)
_LOGISTIC_MINIMUM = 0.282336242


class _Problem(nn.Module):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.clone())


class Quadratic(_Problem):
    """A bowl of three dimensions: curvatures 0.1, 0.3 and 1, so that gradients are as large as those of networks."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([3.0, -2.0, 1.5]))

    def forward(self) -> Tensor:
        """Return the loss."""
        return (torch.tensor([0.1, 0.3, 1.0]) * (self.x - 1).square()).sum() / 2


class LogisticRegression(nn.Module):
    """80 examples of three numbers, linearly separable but for the penalty; the loss above its minimum."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self._inputs = torch.randn(80, 3, generator=generator)
        self._targets = (self._inputs @ torch.tensor([1.0, -2.0, 0.5]) > 0.3).float()
        self.weight = nn.Parameter(torch.zeros(1, 3))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self) -> Tensor:
        """Return the loss."""
        logits = nn.functional.linear(self._inputs, self.weight, self.bias).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, self._targets)
        return loss + 0.01 * self.weight.square().sum() - _LOGISTIC_MINIMUM


class Rosenbrock(_Problem):
    """Its curved valley from (−1.2, 1), divided by 100, so that gradients are as large as those of networks."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([-1.2, 1.0]))

    def forward(self) -> Tensor:
        """Return the loss."""
        x, y = self.x.unbind()
        return (1 - x).square() / 100 + (y - x.square()).square()


@dataclass(frozen=True, slots=True)
class Converges:
    """A check: after a number of steps with a learning rate that falls to nothing, a share of the loss is left.

    Args:
        problem: Makes the model, which returns its loss; the minimum is 0.
        steps: How many.
        share: Of the first loss, that may be left with one of the learning rates.
    """

    problem: Callable[[], nn.Module]
    steps: int
    share: float

    def __call__(self, subject: Subject) -> str:
        """Return the learning rate that did it."""
        start = float(self.problem()().detach())
        best, tried = math.inf, []
        for factor in _FACTORS:
            rate, left = self._run(subject, factor)
            tried.append(rate)
            if left <= self.share * start:
                return f"at learning rate {rate:.2g}"
            best = min(best, left)
        raise Fault(
            f"after {self.steps} steps the loss is {best:.3g} at best, from {start:.3g}, with learning rates from "
            f"{min(tried):.2g} to {max(tried):.2g}"
        )

    def _run(self, subject: Subject, factor: float) -> tuple[float, float]:
        """Return the learning rate and the loss at the end, infinite where it diverged."""
        run = Training(subject, self.problem())
        groups = run.optimizer.param_groups
        rates = [float(rate) * factor for rate in learning_rates(run.optimizer)]
        for step in range(self.steps):
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * (1 - step / self.steps)
            try:
                loss = run.step(run.model)
            except (RuntimeError, ArithmeticError):
                if factor == 1.0:
                    raise
                return rates[0], math.inf  # of a learning rate that nobody chose
            if not math.isfinite(loss):
                return rates[0], math.inf
        run.evaluate()
        left = float(run.model().detach())
        return rates[0], left if math.isfinite(left) else math.inf


QUADRATIC = Converges(Quadratic, steps=300, share=1e-3)
LOGISTIC = Converges(LogisticRegression, steps=300, share=1e-2)
VALLEY = Converges(Rosenbrock, steps=600, share=0.05)
