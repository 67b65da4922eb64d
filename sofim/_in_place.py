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
_TINY_TENSOR = 1 << 14
_LONG_TENSOR = 1 << 16
_DOT_PRODUCT = 1 << 20


def average_on_host(
    params: list[Tensor],
    grads: list[Tensor],
    averages: list[Tensor],
    weights: list[float],
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
        weights: w of each.
        decay: λ of the L2 term.
        foreach: Whether short tensors share calls.

    Returns:
        ‖M̂‖² over all of them.
    """
    longest = _LONG_TENSOR if foreach and weights.count(weights[0]) == len(weights) else -1
    square_norm = 0.0
    short_params, short_grads, short_averages = [], [], []
    for param, grad, average, weight in zip(params, grads, averages, weights, strict=True):
        if average.numel() <= longest:
            short_params.append(param)
            short_grads.append(grad)
            short_averages.append(average)
        else:
            average.lerp_(grad, weight)
            if decay != 0.0:
                average.add_(param, alpha=weight * decay)
            square_norm += _square_norm(average)
    if short_averages:
        torch._foreach_lerp_(short_averages, short_grads, weights[0])
        if decay != 0.0:
            torch._foreach_add_(short_averages, short_params, alpha=weights[0] * decay)
        square_norm += _short_square_norm(short_averages)
    return square_norm


def average_on_device(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weights: list[float], decay: float
) -> Tensor:
    """As `average_on_host`, on any one device.

    Returns:
        ‖M̂‖², a 0-dim tensor on that device, which nothing has read.
    """
    if weights.count(weights[0]) == len(weights):
        torch._foreach_lerp_(averages, grads, weights[0])
        if decay != 0.0:
            torch._foreach_add_(averages, params, alpha=weights[0] * decay)
    else:
        for param, grad, average, weight in zip(params, grads, averages, weights, strict=True):
            average.lerp_(grad, weight)
            if decay != 0.0:
                average.add_(param, alpha=weight * decay)
    return torch.stack(torch._foreach_norm(averages)).square().sum()


def _short_square_norm(averages: list[Tensor]) -> float:
    """Σ ‖average‖² of tensors of which the tiny ones are cheaper to copy together than to call for each."""
    square_norm = 0.0
    tiny = []
    for average in averages:
        if average.numel() <= _TINY_TENSOR:
            tiny.append(average)
        else:
            square_norm += _square_norm(average)
    if tiny:
        flat: Tensor = _flatten_dense_tensors(tiny)  # type: ignore[no-untyped-call]
        square_norm += torch.dot(flat, flat).item()
    return square_norm


def _square_norm(average: Tensor) -> float:
    """‖average‖², in pieces, since a float32 dot product of many millions of entries is wrong by 1e-4."""
    flat = average.reshape(-1)
    if flat.numel() <= _DOT_PRODUCT:
        return torch.dot(flat, flat).item()
    pieces = [flat[start : start + _DOT_PRODUCT] for start in range(0, flat.numel(), _DOT_PRODUCT)]
    return sum(torch.dot(piece, piece).item() for piece in pieces)
