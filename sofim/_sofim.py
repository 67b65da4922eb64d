"""SOFIM: a natural-gradient step with the rank-one Fisher estimate of the averaged gradient.

The mathematics is in `sofim_update`; `SOFIM` keeps the books, and the same numbers are written in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from sofim._checks import check_real, check_sofim_options, check_whole, with_gradients
from sofim._fused import check_fused
from sofim._in_place import fast_path, scalar, step_each
from sofim._update import averaging_weight

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch.optim.optimizer import ParamsT

    from sofim._update import Blocks, Direction, Hyperparameter

_DECOUPLED = "decoupled_weight_decay"


class SOFIM(torch.optim.Optimizer):
    """Stochastic optimization with the regularized Fisher information matrix.

    M_t = β M_{t−1} + (1 − β) g_t,  M̂_t = M_t / (1 − βᵗ),  F_t = M̂_t M̂_tᵀ + ρ I
    p_t = p_{t−1} − η F_t⁻¹ M̂_t = p_{t−1} − η M̂_t / (ρ + ‖M̂_t‖²)

    Far below the knee ‖M̂‖ = √ρ this is SGD with momentum and learning rate η/ρ; far above it is a step of length
    η/‖M̂‖; at the knee the step is longest, η / (2√ρ). Source: Sen, Qin, Gayathri C, Raghu Kishore N, Chen and Raman,
    arXiv 2403.02833: the update of F by Sherman–Morrison.

    Differs from the paper: the inverse is applied in its closed form, one division. It is the same number, but the
    paper's difference of two terms has lost all its digits in float32 at ‖M̂‖²/ρ = 1e8. The average is kept with its
    bias correction applied, which is the same number again while β is constant. Each parameter counts its own
    gradients, so that one that joins late is corrected for its own age. Parameter groups, weight decay, in the gradient
    or decoupled (arXiv 1711.05101), `blocks` and `maximize` are additions: F is block-diagonal over groups, one norm
    for each, and with `blocks="tensor"` over tensors; one group is the paper's.

    `direction="gradient"` applies the same inverse to the newest gradient instead of to the average:
    p_t = p_{t−1} − η F_t⁻¹ g_t,  F_t⁻¹ g_t = (g_t − M̂_t (M̂_tᵀ g_t) / (ρ + ‖M̂_t‖²)) / ρ
    It is parallel to neither. F is positive definite, so that this step always descends, which one along the average
    need not, but its length is not bounded: across M̂ it is η/ρ times the gradient, along M̂ η / (ρ + ‖M̂‖²) times. Far
    below the knee it is SGD without momentum. The two are one on the first step. Which publication has which: F⁻¹ M̂
    is the seed paper's, and that of the code published with DP-FedSOFIM (arXiv 2601.09166). FedSift, which adapts the
    third version of that paper and says that it does not reproduce its code, applies the inverse to the newest
    gradient, with M_t in place of M̂_t. Here it is a sum of two orthogonal vectors, in which no digits cancel.

    The state of a parameter is one tensor of its shape and dtype, `average` (M̂), and the Python number `step`.
    On CPU the norm comes to the host; elsewhere nothing does, so that a CUDA stream never waits.
    Where ‖M̂‖² overflows float32 (‖M̂‖ > 1.8e19; float64: 1.3e154) the step along the average is zero; it would be
    under η · 1e-19. That of `direction="gradient"` is not a number there.

    In several processes: under DistributedDataParallel, FSDP2 (`fully_shard`) and tensor parallelism (`DTensor`) the
    step is that of one process, with one all-reduce of a number for each layout in a Fisher block (along gradients:
    three). FSDP1 and ZeroRedundancyOptimizer give
    each process a part of the parameters, of which the norm would be, and are refused. Pipeline stages, and wrappers
    that leave no trace in their tensors (DeepSpeed's ZeRO), make each process's part a Fisher block of its own.

    Schedulers that cycle the momentum (`OneCycleLR`, `CyclicLR`) cycle β: in a parameter group `momentum` is another
    name of `beta`, and a step takes whichever was set since the last one. With a β that changes M̂ stays a weighted
    mean of the gradients.

    Args:
        params: Parameters, named parameters, or dicts that define parameter groups. Real floating-point tensors.
        lr: Learning rate η, at least 0, number or 1-element tensor. Of the unit of the loss: along a step the linear
            model of the loss falls by η ‖M̂‖² / (ρ + ‖M̂‖²), never by more than η for each Fisher block.
        beta: Decay β of the average, in [0, 1); it reaches back about 1 / (1 − β) steps.
        rho: Regularization ρ > 0 of the Fisher matrix, in the unit of a squared gradient norm.
        weight_decay: λ ≥ 0 of the L2 term: λ p is added to the gradient, as in `torch.optim.SGD`.
        decoupled_weight_decay: Multiply p by 1 − η λ before the step instead, as `torch.optim.AdamW`; M̂ sees no decay.
        maximize: Go up the objective instead of down.
        direction: "momentum" steps along F⁻¹ M̂, "gradient" along F⁻¹ g (see above).
        blocks: "group" has a Fisher block, a norm, for all tensors of a parameter group, "tensor" one for each of them,
            at the cost of a few calls for each.
        foreach: False updates tensor by tensor, with one tensor of temporary memory at most, along gradients with one
            for each; None and True update all tensors of a group by few calls where they share a device and are float32
            or float64.
        fused: True steps along the average in two passes that the machine's C++ compiler (`c++`, or what CXX names)
            makes once, in about a second: the same numbers to rounding, for float32 and float64 on CPU. Tensors that
            lie in memory otherwise than their gradients take the plain step. Nothing is compiled without it. A
            checkpoint of a fused optimizer goes on where there is no compiler, and says so.

    Raises:
        ValueError: A hyperparameter is out of its range, a parameter is complex or a process's part (see above), or
            such parameters cannot be fused.
        RuntimeError: `fused` without a C++ compiler. In `step`: a gradient is sparse.

    >>> p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SOFIM([p], lr=1.0, rho=25.0)
    >>> p.square().sum().div(2).backward()
    >>> optimizer.step()
    >>> p.data
    tensor([2.9400, 3.9200])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Hyperparameter = 0.1,
        *,
        beta: float = 0.9,
        rho: float = 0.5,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        direction: Direction = "momentum",
        blocks: Blocks = "group",
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
            "beta": beta,
            "momentum": beta,
            "settled_beta": beta,
            "rho": rho,
            "weight_decay": weight_decay,
            _DECOUPLED: decoupled_weight_decay,
            "maximize": maximize,
            "direction": direction,
            "blocks": blocks,
            "foreach": foreach,
            "fused": fused,
        }
        check_sofim_options(defaults)
        super().__init__(params, defaults)

    @_disable_dynamo
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, which is a Fisher block of its own.

        Args:
            param_group: `params` and the options that differ from the optimizer's.

        Raises:
            ValueError: As for the class; the optimizer is then as it was.
        """
        super().add_param_group(param_group)
        try:
            _settle_beta(self.param_groups[-1])
            check_sofim_options(self.param_groups[-1])
            check_real("SOFIM", self.param_groups[-1]["params"])
            check_whole("SOFIM", self.param_groups[-1]["params"])
            if self.param_groups[-1]["fused"]:
                check_fused(self.param_groups[-1]["params"], self.param_groups[-1]["direction"])
        except (ValueError, RuntimeError):
            del self.param_groups[-1]
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # What was stored by an earlier version knows one name of β, and one form of the step.
        for options in (self.defaults, *self.param_groups):
            names = dict.fromkeys(("momentum", "settled_beta"), options["beta"])
            form = {_DECOUPLED: False, "direction": "momentum", "blocks": "group", "fused": None}
            options.update({**names, **form} | options)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient.

        Args:
            closure: Recomputes the loss and the gradients and returns the loss.

        Returns:
            What the closure returned; None without one.

        Raises:
            RuntimeError: A gradient is sparse. The group it belongs to is then as it was.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # torch.no_grad does the same and takes 2 µs of a step that may take 100.
        grad_enabled = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        try:
            for group in self.param_groups:
                self._step_group(group)
        finally:
            torch.set_grad_enabled(grad_enabled)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        params, grads = with_gradients("SOFIM", group["params"])
        if not params:
            return
        averages, steps, beta = self._advance(params, group)
        if group[_DECOUPLED] and group["weight_decay"] != 0.0:
            for param in params:
                param.mul_(1.0 - scalar(group["lr"]) * group["weight_decay"])
            group = {**group, "weight_decay": 0.0}
        num_blocks = len(params) if group["blocks"] == "tensor" else 1
        for index in range(num_blocks):
            block = slice(index, None, num_blocks)
            _step_block(params[block], grads[block], averages[block], steps[block], beta, group)

    # Numbers that a compiled graph reads from where they are kept would be compiled anew at every step.
    @_disable_dynamo
    def _advance(self, params: list[Tensor], group: dict[str, Any]) -> tuple[list[Tensor], list[int], float]:
        """Count the step; return the averages, how many gradients each holds, the coming one included, and β."""
        averages, steps = [], []
        for param in params:
            state = self.state[param]
            if not state:
                # Again, since FSDP1 may be wrapped around parameters that an optimizer has.
                check_whole("SOFIM", [param])
                state["step"] = 0
                state["average"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["step"] += 1
            averages.append(state["average"])
            steps.append(state["step"])
        return averages, steps, _settle_beta(group)


def _step_block(
    params: list[Tensor],
    grads: list[Tensor],
    averages: list[Tensor],
    steps: list[int],
    beta: float,
    group: dict[str, Any],
) -> None:
    same_age = steps.count(steps[0]) == len(steps)
    path = fast_path(params, group) if same_age else None
    if path is None:
        step_each(params, grads, averages, [averaging_weight(step, beta) for step in steps], group)
    else:
        path(params, grads, averages, averaging_weight(steps[0], beta), group)


def _settle_beta(group: dict[str, Any]) -> float:
    """Return β of the next step, which has two names in a group: `momentum` is where schedulers look for it and set it.

    `settled_beta` is what both were when they were last alike, so that the one that was set since is known.
    """
    name = "momentum" if group["momentum"] != group["settled_beta"] else "beta"
    beta: float = group[name]
    if beta != group["settled_beta"]:
        group["beta"] = group["momentum"] = group["settled_beta"] = beta
    return beta
