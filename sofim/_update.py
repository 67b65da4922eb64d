"""The mathematics of SOFIM's step, as pure functions of tensors: nothing is written in place, no value is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar, overload

import torch
from torch import Tensor

from sofim._checks import check_real, check_sofim_forms
from sofim._sharded import over_ranks

Hyperparameter = float | Tensor
Direction = Literal["momentum", "gradient"]
Blocks = Literal["group", "tensor"]
_Number = TypeVar("_Number", float, Tensor)
_SMALLEST = 1.2e-38  # of float32, numbers below which have fewer digits


@overload
def averaging_weight(step: int, beta: float) -> float: ...


@overload
def averaging_weight(step: int | Tensor, beta: Hyperparameter) -> Hyperparameter: ...


def averaging_weight(step: int | Tensor, beta: Hyperparameter) -> Hyperparameter:
    """Return the weight of the newest gradient in the bias-corrected average, (1 − β) / (1 − βᵗ).

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
    """Return the factor of M̂ in the step along it, η / (ρ + ‖M̂‖²).

    Args:
        square_norm: ‖M̂‖² over all tensors of one Fisher block.
        lr: Learning rate η.
        rho: Regularization ρ, in the unit of a squared gradient.
    """
    return lr / (rho + square_norm)


def projection(inner_product: _Number, square_norm: _Number) -> _Number:
    """Return the coefficient of M̂ in the part of a vector that is parallel to M̂; 0 where M̂ is 0.

    Args:
        inner_product: Of the vector and M̂, over all tensors of one Fisher block.
        square_norm: ‖M̂‖², over the same.
    """
    return inner_product / (square_norm + _SMALLEST)


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
    direction: Direction = "momentum",
    blocks: Blocks = "group",
) -> tuple[list[Tensor], list[Tensor]]:
    """Return what one SOFIM step makes of parameters and averages, as a pure function.

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
        direction: Step along F_t⁻¹ M̂_t, or along F_t⁻¹ g_t (see `SOFIM`).
        blocks: One Fisher block of all the tensors, or one of each.

    Returns:
        New parameters and new averages M̂_t, lists of tensors shaped like `params`.

    Raises:
        ValueError: A parameter is complex, or `direction` or `blocks` is none of the above.

    >>> params, averages = sofim_update(
    ...     [torch.ones(2)], [torch.tensor([3.0, 4.0])], [torch.zeros(2)], 1, lr=1.0, beta=0.9, rho=25.0
    ... )
    >>> params[0], averages[0]
    (tensor([0.9400, 0.9200]), tensor([3., 4.]))
    """
    check_real("sofim_update", params)
    check_sofim_forms(direction, blocks)
    weight = averaging_weight(step, beta)
    decay = 0.0 if decoupled_weight_decay else weight_decay
    changes = [
        change(average, grad, param, decay, maximize)
        for average, grad, param in zip(averages, grads, params, strict=True)
    ]
    averages = [new_average(average, delta, weight) for average, delta in zip(averages, changes, strict=True)]
    if decoupled_weight_decay:
        params = [(_wide(param) * (1.0 - lr * weight_decay)).to(param.dtype) for param in params]
    num_blocks = len(averages) if blocks == "tensor" else 1
    moved: list[Tensor] = []
    for index in range(num_blocks):
        block = slice(index, None, num_blocks)
        if direction == "gradient":
            rests = [delta * (1.0 - weight) for delta in changes[block]]
            moved += along_gradients(params[block], averages[block], rests, lr, rho, maximize)
        else:
            moved += along_averages(params[block], averages[block], lr, rho, maximize)
    return moved, averages


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 at least: float16 overflows at 65504 and bfloat16 sums nothing well."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def change(average: Tensor, grad: Tensor, param: Tensor, weight_decay: Hyperparameter, maximize: bool) -> Tensor:
    """Return g_t − M̂_{t−1} in float32 at least, where g_t holds the L2 term."""
    target = _wide(grad)
    if isinstance(weight_decay, Tensor) or weight_decay != 0.0:
        # M̂ averages the gradient as it is given, so that the L2 term turns round where the step does.
        target = target + _wide(param) * (-weight_decay if maximize else weight_decay)
    return target - _wide(average)


def new_average(average: Tensor, delta: Tensor, weight: Hyperparameter) -> Tensor:
    """Return M̂_t = M̂_{t−1} + w δ, in the dtype of M̂_{t−1}."""
    return (_wide(average) + weight * delta).to(average.dtype)


def along_averages(
    params: Sequence[Tensor], averages: Sequence[Tensor], lr: Hyperparameter, rho: Hyperparameter, maximize: bool
) -> Iterator[Tensor]:
    """Yield p ∓ η F⁻¹ M̂ = p ∓ η M̂ / (ρ + ‖M̂‖²) of one Fisher block, tensor by tensor."""
    scale = step_scale(_inner_product(averages, averages), lr, rho)
    for param, average in zip(params, averages, strict=True):
        yield _stepped(param, _wide(average) * scale.to(average.device), maximize)


def along_gradients(
    params: Sequence[Tensor],
    averages: Sequence[Tensor],
    rests: Sequence[Tensor],
    lr: Hyperparameter,
    rho: Hyperparameter,
    maximize: bool,
) -> Iterator[Tensor]:
    """Yield p ∓ η F⁻¹ g, tensor by tensor, of one Fisher block, for a gradient g = M̂ + e.

    With e = γ M̂ + r, r ⟂ M̂, it is F⁻¹ g = (1 + γ) M̂ / (ρ + ‖M̂‖²) + r / ρ, a sum of two orthogonal vectors, in which
    nothing cancels; Sherman–Morrison's difference (g − M̂ (M̂·g) / (ρ + ‖M̂‖²)) / ρ loses a digit for each power of ten
    in ‖M̂‖²/ρ. r is made orthogonal twice, since what the first time leaves of M̂ would be divided by ρ alone.

    Args:
        params: Parameters p.
        averages: M̂, of the same shapes.
        rests: The vector e, of the same shapes.
        lr: Learning rate η.
        rho: Regularization ρ.
        maximize: Add the step.
    """
    square_norm = _inner_product(averages, averages)
    parallel = torch.zeros_like(square_norm)
    for _ in range(2):
        part = projection(_inner_product(averages, rests), square_norm)
        rests = [rest - _wide(average) * part.to(average.device) for rest, average in zip(rests, averages, strict=True)]
        parallel = parallel + part
    scale = step_scale(square_norm, lr, rho) * (1.0 + parallel)
    rest_scale = step_scale(torch.zeros_like(square_norm), lr, rho)
    for param, average, rest in zip(params, averages, rests, strict=True):
        step = _wide(average) * scale.to(average.device) + rest * rest_scale.to(rest.device)
        yield _stepped(param, step, maximize)


def _inner_product(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the inner product of two lists of tensors, 0-dim, on the device of the first."""
    device = first[0].device
    products = [(_wide(one) * _wide(other)).sum() for one, other in zip(first, second, strict=True)]
    if not all(type(product) is Tensor for product in products):
        products = over_ranks(products)
    return torch.stack([product.to(device) for product in products]).sum()


def _stepped(param: Tensor, step: Tensor, maximize: bool) -> Tensor:
    return (_wide(param) + (step if maximize else -step)).to(param.dtype)
