"""SOFIM: a natural-gradient step with the rank-one Fisher estimate of the averaged gradient.

The mathematics is in `sofim_update` and the small functions that it is made of; `SOFIM` keeps the books and has a
faster way of writing the same numbers in place where the tensors allow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, overload

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from sofim._checks import check_real, check_sofim_options, check_whole, with_gradients
from sofim._in_place import average_on_device, average_on_host
from sofim._sharded import over_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from torch.optim.optimizer import ParamsT

Hyperparameter = float | Tensor
_Number = TypeVar("_Number", float, Tensor)
_DECOUPLED = "decoupled_weight_decay"
# Subclasses may mean anything by a storage, a product or a sum: a DTensor's local part is not the tensor.
_PLAIN = frozenset({Tensor, torch.nn.Parameter})


@overload
def averaging_weight(step: int, beta: float) -> float: ...


@overload
def averaging_weight(step: int | Tensor, beta: Hyperparameter) -> Hyperparameter: ...


def averaging_weight(step: int | Tensor, beta: Hyperparameter) -> Hyperparameter:
    """Weight of the newest gradient in the bias-corrected average, (1 − β) / (1 − βᵗ).

    With this weight M̂_t = M̂_{t−1} + w_t (g_t − M̂_{t−1}) is the paper's M_t / (1 − βᵗ), without a second tensor.

    Args:
        step: T, the number of gradients averaged, the newest included; at least 1.
        beta: β in [0, 1).

    Returns:
        The weight, in (0, 1]; a tensor where an argument is one.

    >>> averaging_weight(1, 0.9), round(averaging_weight(1000, 0.9), 6)
    (1.0, 0.1)
    """
    return (1.0 - beta) / (1.0 - beta**step)


def step_scale(square_norm: _Number, lr: _Number | float, rho: _Number | float) -> _Number:
    """Factor of M̂ in the step, η / (ρ + ‖M̂‖²).

    Args:
        square_norm: ‖M̂‖² over all tensors of one Fisher block.
        lr: Learning rate η.
        rho: Regularization ρ, in the unit of a squared gradient.
    """
    return lr / (rho + square_norm)


def sofim_update(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    averages: Sequence[Tensor],
    step: int | Tensor,
    *,
    lr: Hyperparameter,
    beta: Hyperparameter,
    rho: Hyperparameter,
    weight_decay: Hyperparameter = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """One SOFIM step on one Fisher block, as a pure function.

    M̂_t = M̂_{t−1} + w_t (g_t − M̂_{t−1}),  w_t = (1 − β) / (1 − βᵗ)
    p_t = p_{t−1} − η M̂_t / (ρ + ‖M̂_t‖²)

    Nothing is written in place and no value is read on the host, so that it runs under `torch.func.vmap`, there also
    with a different hyperparameter for each model, and under `torch.compile`. The norm is over all the tensors
    together, where they are sharded (`DTensor`) over all their ranks. Sums are taken in float32 at least; the results
    have the dtypes of the arguments.

    Args:
        params: Parameters, real tensors of any shapes.
        grads: Their gradients, of the same shapes.
        averages: M̂_{t−1}, of the same shapes; zeros before the first step.
        step: T, counted from 1: the number of this step.
        lr: Learning rate η, number or 0-dim tensor (as are all the hyperparameters).
        beta: Decay β of the average, in [0, 1).
        rho: Regularization ρ > 0, in the unit of a squared gradient.
        weight_decay: λ of the L2 term; λ p is added to the gradient.
        decoupled_weight_decay: Multiply p by 1 − η λ instead.
        maximize: Go up the objective instead of down.

    Returns:
        New parameters and new averages M̂_t, lists of tensors shaped like `params`.

    >>> params, averages = sofim_update(
    ...     [torch.ones(2)], [torch.tensor([3.0, 4.0])], [torch.zeros(2)], 1, lr=1.0, beta=0.9, rho=25.0
    ... )
    >>> params[0], averages[0]
    (tensor([0.9400, 0.9200]), tensor([3., 4.]))
    """
    check_real("sofim_update", params)
    weight = averaging_weight(step, beta)
    averages = [
        _new_average(average, grad, param, weight, 0.0 if decoupled_weight_decay else weight_decay, maximize)
        for average, grad, param in zip(averages, grads, params, strict=True)
    ]
    scale = _scale_tensor(averages, lr, rho)
    if decoupled_weight_decay:
        params = [(_wide(param) * (1.0 - lr * weight_decay)).to(param.dtype) for param in params]
    return [_new_param(param, average, scale, maximize) for param, average in zip(params, averages, strict=True)], (
        averages
    )


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 at least: float16 overflows at 65504 and bfloat16 sums nothing well."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _new_average(
    average: Tensor,
    grad: Tensor,
    param: Tensor,
    weight: Hyperparameter,
    weight_decay: Hyperparameter,
    maximize: bool,
) -> Tensor:
    old, target = _wide(average), _wide(grad)
    if isinstance(weight_decay, Tensor) or weight_decay != 0.0:
        # M̂ averages the gradient as it is given, so that the L2 term turns round where the step does.
        target = target + _wide(param) * (-weight_decay if maximize else weight_decay)
    return (old + weight * (target - old)).to(average.dtype)


def _scale_tensor(averages: Sequence[Tensor], lr: Hyperparameter, rho: Hyperparameter) -> Tensor:
    device = averages[0].device
    square_norms = [_wide(average).square().sum() for average in averages]
    if not all(type(square_norm) is Tensor for square_norm in square_norms):
        square_norms = over_ranks(square_norms)
    return step_scale(torch.stack([square_norm.to(device) for square_norm in square_norms]).sum(), lr, rho)


def _new_param(param: Tensor, average: Tensor, scale: Tensor, maximize: bool) -> Tensor:
    step = _wide(average) * scale.to(average.device)
    return (_wide(param) + (step if maximize else -step)).to(param.dtype)


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
    or decoupled (arXiv 1711.05101), and `maximize` are additions: F is block-diagonal over groups, one norm for each;
    one group is the paper's.

    The state of a parameter is one tensor of its shape and dtype, `average` (M̂), and the Python number `step`.
    On CPU the norm comes to the host; elsewhere nothing does, so that a CUDA stream never waits.
    Where ‖M̂‖² overflows float32 (‖M̂‖ > 1.8e19; float64: 1.3e154) the step is zero; it would be under η · 1e-19.

    In several processes: under DistributedDataParallel, FSDP2 (`fully_shard`) and tensor parallelism (`DTensor`) the
    step is that of one process, with one all-reduce of a number for each layout. FSDP1 and ZeroRedundancyOptimizer give
    each process a part of the parameters, of which the norm would be, and are refused. Pipeline stages, and wrappers
    that leave no trace in their tensors (DeepSpeed's ZeRO), make each process's part a Fisher block of its own.

    Schedulers that cycle the momentum (`OneCycleLR`, `CyclicLR`) cycle β: in a parameter group `momentum` is another
    name of `beta`, and a step takes whichever was set since the last one. With a β that changes M̂ stays a weighted
    mean of the gradients.

    Args:
        params: Parameters, named parameters, or dicts that define parameter groups. Real floating-point tensors.
        lr: Learning rate η, at least 0, number or 1-element tensor. Of the unit of the loss: along a step the linear
            model of the loss falls by η ‖M̂‖² / (ρ + ‖M̂‖²), never by more than η.
        beta: Decay β of the average, in [0, 1); it reaches back about 1 / (1 − β) steps.
        rho: Regularization ρ > 0 of the Fisher matrix, in the unit of a squared gradient norm.
        weight_decay: λ ≥ 0 of the L2 term: λ p is added to the gradient, as in `torch.optim.SGD`.
        decoupled_weight_decay: Multiply p by 1 − η λ before the step instead, as `torch.optim.AdamW`; M̂ sees no decay.
        maximize: Go up the objective instead of down.
        foreach: False updates tensor by tensor, with one tensor of temporary memory at most; None and True update all
            tensors of a group by few calls where they share a device and are float32 or float64.

    Raises:
        ValueError: A hyperparameter is out of its range, or a parameter is complex or a process's part (see above).
        RuntimeError: In `step`: a gradient is sparse.

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
        foreach: bool | None = None,
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
            "foreach": foreach,
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
        except ValueError:
            del self.param_groups[-1]
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # What was stored by an earlier version knows one name.
        for options in (self.defaults, *self.param_groups):
            options.update(
                {**dict.fromkeys(("momentum", "settled_beta"), options["beta"]), _DECOUPLED: False} | options
            )

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
                param.mul_(1.0 - _scalar(group["lr"]) * group["weight_decay"])
            group = {**group, "weight_decay": 0.0}
        same_age = steps.count(steps[0]) == len(steps)
        path = _fast_path(params, group["foreach"]) if same_age else None
        if path is None:
            _step_each(params, grads, averages, [averaging_weight(step, beta) for step in steps], group)
        else:
            path(params, grads, averages, averaging_weight(steps[0], beta), group)

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


def _settle_beta(group: dict[str, Any]) -> float:
    """β of the next step, which has two names in a group: `momentum` is where schedulers look for it and set it.

    `settled_beta` is what both were when they were last alike, so that the one that was set since is known.
    """
    name = "momentum" if group["momentum"] != group["settled_beta"] else "beta"
    beta: float = group[name]
    if beta != group["settled_beta"]:
        group["beta"] = group["momentum"] = group["settled_beta"] = beta
    return beta


def _fast_path(params: list[Tensor], foreach: bool | None) -> Callable[..., None] | None:
    """Return the function that writes the step in place, if there is one for such parameters."""
    # Asked here, in a frame that compiles whole. The compiler makes better kernels from the plain formula than from
    # calls that are fast in themselves.
    if torch.compiler.is_compiling():
        return None
    dtype, on_cpu = params[0].dtype, params[0].is_cpu
    for param in params:
        if param.dtype is not dtype or param.is_cpu is not on_cpu or type(param) not in _PLAIN:
            return None
    if dtype.itemsize < 4:
        return None
    if on_cpu:
        return _step_on_host
    if foreach is False or len({param.device for param in params}) > 1:
        return None
    return _step_on_device


def _step_each(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weights: list[float], group: dict[str, Any]
) -> None:
    """Tensor by tensor, from the parts of `sofim_update`: any dtypes and devices, no value read on the host."""
    for param, grad, average, weight in zip(params, grads, averages, weights, strict=True):
        average.copy_(_new_average(average, grad, param, weight, group["weight_decay"], group["maximize"]))
    scale = _scale_tensor(averages, _scalar(group["lr"]), group["rho"])
    for param, average in zip(params, averages, strict=True):
        param.copy_(_new_param(param, average, scale, group["maximize"]))


def _step_on_host(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, group: dict[str, Any]
) -> None:
    """On CPU: a scale that is a Python number needs no temporary tensors."""
    sign = 1.0 if group["maximize"] else -1.0
    decay = -sign * group["weight_decay"]
    square_norm = average_on_host(params, grads, averages, weight, decay, foreach=group["foreach"] is not False)
    scale = step_scale(square_norm, float(group["lr"]), group["rho"])
    # Backwards, since the averages written last are still in the cache.
    torch._foreach_add_(params[::-1], averages[::-1], alpha=sign * scale)


def _step_on_device(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, group: dict[str, Any]
) -> None:
    """Elsewhere: the scale stays a tensor on the device, and the host never waits for it."""
    sign = 1.0 if group["maximize"] else -1.0
    square_norm = average_on_device(params, grads, averages, weight, -sign * group["weight_decay"])
    scale = step_scale(square_norm, _scalar(group["lr"]), group["rho"])
    torch._foreach_add_(params, torch._foreach_mul(averages, sign * scale))


def _scalar(lr: Hyperparameter) -> Hyperparameter:
    return lr.squeeze() if isinstance(lr, Tensor) else lr
