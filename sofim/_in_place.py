"""SOFIM's average and its norm, written in place: the numbers of `sofim_update`, in as few calls and passes as we can.

Small tensors cost the calls they take, so that here they share them; large ones cost their memory traffic, so that each
is summed while it is still in the cache. Tensors of one list share a dtype, float32 or float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch._utils import _flatten_dense_tensors

if TYPE_CHECKING:
    from torch import Tensor

# On CPU, in entries. Up to the first a tensor costs its calls, above the second its memory traffic; up to the third a
# dot product of random float32 numbers is right to 1e-5.
_TINY_TENSOR = 1 << 12
_LONG_TENSOR = 1 << 16
_DOT_PRODUCT = 1 << 20


def average_on_host(
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


def average_on_device(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, decay: float
) -> Tensor:
    """As `average_on_host`, on any one device.

    Returns:
        ‖M̂‖², a 0-dim tensor on that device, which nothing has read.
    """
    torch._foreach_lerp_(averages, grads, weight)
    if decay != 0.0:
        torch._foreach_add_(averages, params, alpha=weight * decay)
    return torch.stack(torch._foreach_norm(averages)).square().sum()


def _square_norm(tensor: Tensor) -> float:
    """‖tensor‖² on CPU, in pieces, since a float32 dot product of many millions of entries is wrong by 1e-4."""
    flat = tensor.reshape(-1)
    if flat.numel() <= _DOT_PRODUCT:
        return torch.dot(flat, flat).item()
    pieces = [flat[start : start + _DOT_PRODUCT] for start in range(0, flat.numel(), _DOT_PRODUCT)]
    return sum(torch.dot(piece, piece).item() for piece in pieces)
