"""Range checks of hyperparameters, made when an optimizer or a parameter group is built. NaN fails each of them.

Also checks of what an optimizer is given, and of the library that it comes from.
"""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


def check_learning_rate(lr: float | Tensor) -> None:
    """Raise ValueError unless 0 ≤ lr < ∞, a number or a tensor of one element."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"lr as a tensor must have one element, not {lr.numel()}")
    check_not_negative("lr", float(lr))


def check_not_negative(name: str, value: float) -> None:
    """Raise ValueError unless 0 ≤ value < ∞."""
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, not {value}")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless 0 < value < ∞."""
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be finite and above 0, not {value}")


def check_decay(name: str, value: float) -> None:
    """Raise ValueError unless 0 ≤ value < 1."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1), not {value}")


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless value is a whole number of at least 1."""
    if not (math.isfinite(value) and value == int(value) and value >= 1):
        raise ValueError(f"{name} must be a whole number and at least 1, not {value}")


@contextmanager
def brought_by_extra() -> Iterator[None]:
    """Say that the extra brings the library that is imported in this context, where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed; pip install 'sofim-studies[studies]'"
        raise ModuleNotFoundError(message, name=error.name) from None


def check_real(optimizer: str, params: Iterable[Tensor]) -> None:
    """Raise ValueError if a parameter is complex."""
    if any(param.is_complex() for param in params):
        raise ValueError(f"{optimizer} takes real parameters; pass torch.view_as_real of a complex one")


def check_whole(optimizer: str, params: Iterable[Tensor]) -> None:
    """Raise ValueError if each process has a part of the parameters, and the parts do not say of what.

    FSDP1 marks what it has flattened. ZeRO marks nothing: it is found as the caller that makes an optimizer of a part.
    """
    if num_processes() == 1:
        return
    if any(getattr(param, "_fsdp_flattened", False) for param in params):
        sharder = "FullyShardedDataParallel (FSDP1)"
    elif _is_made_by_zero():
        sharder = "ZeroRedundancyOptimizer"
    else:
        return
    raise ValueError(
        f"{optimizer} needs whole parameters, and {sharder} gives each process a part of them; "
        "take DistributedDataParallel, or fully_shard (FSDP2) with SOFIM"
    )


def num_processes() -> int:
    """Return how many processes train together, by torch's default process group; 1 without one."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _is_made_by_zero() -> bool:
    module = sys.modules.get("torch.distributed.optim.zero_redundancy_optimizer")
    frame = sys._getframe() if module is not None else None
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), module.ZeroRedundancyOptimizer):  # type: ignore[union-attr]
            return True
        frame = frame.f_back
    return False


def raise_sparse_gradient(optimizer: str, grad: Tensor) -> NoReturn:
    """Raise RuntimeError that says what is wrong with a gradient that is not strided.

    The test itself stands where it is needed: a call for each gradient of each step would show in the step time.
    """
    raise RuntimeError(f"{optimizer} does not support sparse or nested gradients; got one of layout {grad.layout}")


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ValueError unless value is one of those known."""
    if value not in known:
        raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, not {value!r}")


def check_sofim_forms(direction: object, blocks: object) -> None:
    """Raise ValueError unless they say along what `SOFIM` steps and what a Fisher block is."""
    check_choice("direction", direction, ("momentum", "gradient"))
    check_choice("blocks", blocks, ("group", "tensor"))


def check_sofim_options(options: dict[str, Any]) -> None:
    """Check the options of a parameter group of `SOFIM`."""
    check_sofim_forms(options["direction"], options["blocks"])
    check_learning_rate(options["lr"])
    check_decay("beta", options["beta"])
    check_positive("rho", options["rho"])
    check_not_negative("weight_decay", options["weight_decay"])


def with_gradients(optimizer: str, params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters that have a gradient, and the gradients, all checked before anything is changed."""
    kept, grads = [], []
    strided = torch.strided
    for param in params:
        grad = param.grad
        if grad is not None:
            # Complex gradients belong to complex parameters, which add_param_group refuses.
            if grad.layout is not strided:
                raise_sparse_gradient(optimizer, grad)
            kept.append(param)
            grads.append(grad)
    return kept, grads
