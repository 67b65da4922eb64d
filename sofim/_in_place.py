"""SOFIM's step, written in place: the numbers of `sofim_update`, in as few calls and passes as we can.

Small tensors cost the calls they take, so that here they share them; large ones cost their memory traffic, so that each
is summed while it is still in the cache. Except in `step_each`, tensors of one list share a device and a dtype, float32
or float64. Each function takes the tensors of one Fisher block and the options of their parameter group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

from sofim._fused import can_fuse, fused_step
from sofim._update import along_averages, along_gradients, change, new_average, projection, step_scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from sofim._update import Hyperparameter

# On CPU, in entries. Up to the first a tensor costs its calls, above the second its memory traffic; up to the third a
# dot product of random float32 numbers is right to 1e-5.
_TINY_TENSOR = 1 << 12
_LONG_TENSOR = 1 << 16
_DOT_PRODUCT = 1 << 20
# Subclasses may mean anything by a storage, a product or a sum: a DTensor's local part is not the tensor.
_PLAIN = frozenset({Tensor, torch.nn.Parameter})


def fast_path(params: list[Tensor], group: dict[str, Any]) -> Callable[..., None] | None:
    """Return the function that steps such parameters with few calls, if there is one."""
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
    along_gradient = group["direction"] == "gradient"
    if on_cpu and not along_gradient:
        return _step_on_host
    if group["foreach"] is False or len({param.device for param in params}) > 1:
        return None
    return _step_along_gradients if along_gradient else _step_on_device


def step_each(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weights: list[float], group: dict[str, Any]
) -> None:
    """Step tensor by tensor, with the parts of `sofim_update`: any dtypes and devices, no value read on the host."""
    along_gradient, maximize = group["direction"] == "gradient", group["maximize"]
    lr, rho = scalar(group["lr"]), group["rho"]
    rests = []
    for param, grad, average, weight in zip(params, grads, averages, weights, strict=True):
        delta = change(average, grad, param, group["weight_decay"], maximize)
        average.copy_(new_average(average, delta, weight))
        if along_gradient:
            rests.append(delta * (1.0 - weight))
    moved = (
        along_gradients(params, averages, rests, lr, rho, maximize)
        if along_gradient
        else along_averages(params, averages, lr, rho, maximize)
    )
    for param, new in zip(params, moved, strict=True):
        param.copy_(new)


def _step_on_host(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, group: dict[str, Any]
) -> None:
    """Step along the average on CPU: a scale that is a Python number needs no temporary tensors."""
    if group["fused"] and can_fuse() and fused_step(params, grads, averages, weight, group):
        return
    sign = 1.0 if group["maximize"] else -1.0
    decay = -sign * group["weight_decay"]
    square_norm = _average_on_host(params, grads, averages, weight, decay, foreach=group["foreach"] is not False)
    scale = step_scale(square_norm, float(group["lr"]), group["rho"])
    # Backwards, since the averages written last are still in the cache.
    torch._foreach_add_(params[::-1], averages[::-1], alpha=sign * scale)


def _step_on_device(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, group: dict[str, Any]
) -> None:
    """Step along the average elsewhere: the scale stays a tensor on the device, and the host never waits for it."""
    sign = 1.0 if group["maximize"] else -1.0
    torch._foreach_lerp_(averages, grads, weight)
    if group["weight_decay"] != 0.0:
        torch._foreach_add_(averages, params, alpha=-sign * weight * group["weight_decay"])
    square_norm = torch.stack(torch._foreach_norm(averages)).square().sum()
    scale = step_scale(square_norm, scalar(group["lr"]), group["rho"])
    torch._foreach_add_(params, torch._foreach_mul(averages, sign * scale))


def _step_along_gradients(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, group: dict[str, Any]
) -> None:
    """Step as `along_gradients` says: on CPU with Python numbers, elsewhere with tensors that nothing reads."""
    on_cpu = params[0].is_cpu
    sign = 1.0 if group["maximize"] else -1.0
    lr = float(group["lr"]) if on_cpu else scalar(group["lr"])
    inner_product: Callable[..., Any] = _inner_product_on_host if on_cpu else _inner_product_on_device
    # g − M̂_{t−1}, which is (g − M̂_t) / (1 − w)
    rests = list(torch._foreach_sub(grads, averages))
    if group["weight_decay"] != 0.0:
        torch._foreach_add_(rests, params, alpha=-sign * group["weight_decay"])
    torch._foreach_add_(averages, rests, alpha=weight)
    square_norm = inner_product(averages, averages)
    parallel = 0.0
    for _ in range(2):
        part = projection(inner_product(averages, rests), square_norm)
        _add(rests, averages, -part)
        parallel = parallel + part
    _add(params, rests, sign * (1.0 - weight) * lr / group["rho"])
    _add(params, averages, sign * step_scale(square_norm, lr, group["rho"]) * (1.0 + (1.0 - weight) * parallel))


def _add(tensors: list[Tensor], others: list[Tensor], factor: Hyperparameter) -> None:
    """Add factor times the others in place; a factor that is a tensor is not read."""
    if isinstance(factor, Tensor):
        torch._foreach_add_(tensors, torch._foreach_mul(others, factor))
    else:
        torch._foreach_add_(tensors, others, alpha=factor)


def scalar(lr: Hyperparameter) -> Hyperparameter:
    """Return a learning rate that is a 1-element tensor as a 0-dim one."""
    return lr.squeeze() if isinstance(lr, Tensor) else lr


def _average_on_host(
    params: list[Tensor],
    grads: list[Tensor],
    averages: list[Tensor],
    weight: float,
    decay: float,
    *,
    foreach: bool,
) -> float:
    """M̂ ← M̂ + w (g − M̂) + w λ p on CPU.

    The L2 term is added to the average rather than to the gradient, which would be mutated or copied.

    Args:
        params: Parameters p.
        grads: Gradients g, of the same shapes.
        averages: M̂, of the same shapes; overwritten.
        weight: W.
        decay: λ of the L2 term.
        foreach: Whether short tensors share calls.

    Returns:
        ‖M̂‖² over all of them.
    """
    longest = _LONG_TENSOR if foreach else -1
    square_norm = 0.0
    tiny: list[Tensor] = []
    middling: list[Tensor] = []
    long: list[int] = []
    for index, average in enumerate(averages):
        size = average.numel()
        if size > longest:
            long.append(index)
        else:
            (tiny if size <= _TINY_TENSOR else middling).append(average)
    for index in long:
        averages[index].lerp_(grads[index], weight)
        if decay != 0.0:
            averages[index].add_(params[index], alpha=weight * decay)
        square_norm += _square_norm(averages[index])
    if long:
        params, grads, averages = (_without(long, tensors) for tensors in (params, grads, averages))
    if averages:
        torch._foreach_lerp_(averages, grads, weight)
        if decay != 0.0:
            torch._foreach_add_(averages, params, alpha=weight * decay)
    for average in middling:
        square_norm += _square_norm(average)
    if tiny:
        # A copy of the tiny ones in one piece is cheaper than a call for each.
        square_norm += _square_norm(_flatten_dense_tensors(tiny))  # type: ignore[no-untyped-call]
    return square_norm


def _without(indices: list[int], tensors: list[Tensor]) -> list[Tensor]:
    left_out = set(indices)
    return [tensor for index, tensor in enumerate(tensors) if index not in left_out]


def _inner_product_on_device(first: list[Tensor], second: list[Tensor]) -> Tensor:
    return torch.stack([product.sum() for product in torch._foreach_mul(first, second)]).sum()


def _inner_product_on_host(first: list[Tensor], second: list[Tensor]) -> float:
    return sum(_dot(one, other) for one, other in zip(first, second, strict=True))


def _square_norm(tensor: Tensor) -> float:
    """Return ‖tensor‖² on CPU."""
    return _dot(tensor, tensor)


def _dot(first: Tensor, second: Tensor) -> float:
    """Return an inner product on CPU, in pieces: a float32 sum over many millions of entries is wrong by 1e-4."""
    one, other = first.reshape(-1), second.reshape(-1)
    size = one.numel()
    if size <= _DOT_PRODUCT:
        return torch.dot(one, other).item()
    starts = range(0, size, _DOT_PRODUCT)
    return sum(torch.dot(one[at : at + _DOT_PRODUCT], other[at : at + _DOT_PRODUCT]).item() for at in starts)
