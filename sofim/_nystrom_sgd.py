"""Nyström-SGD: stochastic gradient descent preconditioned by a low-rank sketch of the Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from sofim._checks import (
    check_count,
    check_learning_rate,
    check_not_negative,
    check_positive,
    check_real,
    check_whole,
    num_processes,
    raise_sparse_gradient,
)
from sofim._curvature import check_differentiable, gradients_with_graphs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch.optim.optimizer import ParamsT


def nystrom_factor(columns: Tensor, core: Tensor) -> tuple[Tensor, Tensor]:
    """Factor of the Nyström approximation, with its own Gram matrix made diagonal.

    Z Zᵀ = C |W|⁺ Cᵀ with W = U Σ Vᵀ and |W| = U Σ Uᵀ; Z = C U_r Σ_r^{-1/2}. Z is turned by the eigenvectors of ZᵀZ,
    which leaves Z Zᵀ as it is and makes ZᵀZ = diag(s), so that Woodbury's inner inverse is a division.

    Args:
        columns: Cᵀ, the sampled columns of H as rows, shape (m, d).
        core: W, their sampled rows, shape (m, m).

    Returns:
        Zᵀ, shape (r, d), and s, shape (r,) in float64, r ≤ m being the numerical rank of W.
    """
    left, singular, _ = torch.linalg.svd(core.double())
    # A slice of the largest, so that an empty matrix has rank 0 too.
    tolerance = core.shape[0] * torch.finfo(columns.dtype).eps * singular[:1]
    rank = int((singular > tolerance).sum())
    mixing = (left[:, :rank] * singular[:rank].rsqrt()).T.to(columns.dtype)
    factor = mixing @ columns
    # Sums in float16 overflow at 65504.
    wide = factor.to(torch.promote_types(factor.dtype, torch.float32))
    gram = (wide @ wide.T).double()
    if not gram.isfinite().all():
        # As if there were no columns, which the step then does without.
        factor, gram = factor[:0], gram[:0, :0]
    spectrum, turn = torch.linalg.eigh(gram)
    return turn.T.to(columns.dtype) @ factor, spectrum.clamp(min=0.0)


class NystromSGD(torch.optim.Optimizer):
    """Stochastic gradient descent preconditioned by a Nyström approximation of the Hessian.

    Every `update_period` steps: C = H[:, Ω] (d × m), W = C[Ω, :] = U Σ Vᵀ, Z = C U_r Σ_r^{-1/2}
    Every step: p ← p − η (Z Zᵀ + ρ I)⁻¹ g = p − (η/ρ) (g − Z (ρ I + ZᵀZ)⁻¹ Zᵀ g)

    Ω holds m of the d coordinates, drawn without replacement. A column of H is the gradient of one entry of the
    gradient: one Hessian-vector product with a unit vector. The training loop asks `refresh_due` and, when it is true,
    calls `refresh(loss)` before `loss.backward()`. Source: arXiv 2110.08577, with (Z Zᵀ + ρ I)⁻¹ by Woodbury.

    Differs from the paper: H is that of a minibatch and W may be indefinite, as Hessians of networks are. The singular
    value decomposition makes it |W|, so that Z Zᵀ stays positive semi-definite and a direction of negative curvature
    is descended with the step that its size asks for, where the inverse of W itself would make g climb it.

    The L2 term is in the gradient and not in H. State: a (r, numel) tensor `sketch` a parameter, O(d · m) in all.
    A column with an entry that is not finite is left out, and its row of W with it; if none remains the step is
    (η/ρ) g until the next refresh, and a loss that has gone bad is left to the training loop to see. A parameter
    without a gradient is not moved and counts as a zero gradient to the others; one that required none at the refresh
    is stepped by (η/ρ) g.

    Under DistributedDataParallel, `refresh` draws the same Ω in every process of torch's default group and averages the
    columns over them, as the gradients are, so that every process must call it. It takes whole parameters: sharded ones
    (`DTensor`, FSDP1, ZeroRedundancyOptimizer) are refused.

    Args:
        params: Parameters of real floating-point type, in one group.
        lr: Learning rate η ≥ 0; 1 is the regularized Newton step.
        rho: Regularization ρ > 0, in the unit of the Hessian.
        rank: M ≥ 1, the number of sampled columns, that is of Hessian-vector products of a refresh; the number of
            parameters if that is less.
        update_period: K ≥ 1, in steps: how long a sketch is used.
        weight_decay: λ ≥ 0 of the L2 term: λ p is added to the gradient.
        maximize: Go up the objective instead of down.
        seed: Of the generator that draws Ω; None takes `torch.initial_seed()`. The global generator is left alone.

    Raises:
        ValueError: A hyperparameter is out of its range, there is a second group, or a parameter is complex or sharded.
        RuntimeError: In `step`: there was no refresh yet, or a gradient is sparse.

    >>> p = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> optimizer = NystromSGD([p], lr=1.0, rho=1e-3, rank=2)
    >>> loss = (torch.tensor([1.0, 100.0]) * p.square()).sum() / 2
    >>> optimizer.refresh_due, optimizer.refresh(loss)
    (True, 3)
    >>> loss.backward()
    >>> optimizer.step()
    >>> bool(p.norm() < 2e-3)
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        *,
        rho: float = 0.1,
        rank: int = 10,
        update_period: int = 100,
        weight_decay: float = 0.0,
        maximize: bool = False,
        seed: int | None = None,
    ) -> None:
        generator = torch.Generator().manual_seed(torch.initial_seed() if seed is None else seed)
        defaults: dict[str, Any] = {
            "lr": lr,
            "rho": rho,
            "rank": rank,
            "update_period": update_period,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        _check_options(defaults)
        super().__init__(params, defaults)
        # In the group, where state_dict, pickle and deepcopy find it. Replaced as a whole, never written in place.
        group = self.param_groups[0]
        group["generator_state"] = generator.get_state()
        group["spectrum"] = None
        group["steps_since_refresh"] = 0

    @_disable_dynamo
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the one parameter group; a second is an error, since the sketch is of all parameters together.

        Args:
            param_group: `params` and options.

        Raises:
            ValueError: As for the class; the optimizer is then as it was.
        """
        super().add_param_group(param_group)
        try:
            if len(self.param_groups) > 1:
                raise ValueError("NystromSGD takes one parameter group: its sketch is of all parameters together")
            _check_options(self.param_groups[0])
            check_real("NystromSGD", self.param_groups[0]["params"])
            _check_not_sharded(self.param_groups[0]["params"])
        except ValueError:
            del self.param_groups[-1]
            raise

    @property
    def refresh_due(self) -> bool:
        """Whether `refresh` should come before the next step: no sketch yet, or used `update_period` times."""
        group = self.param_groups[0]
        return group["spectrum"] is None or group["steps_since_refresh"] >= group["update_period"]

    def refresh(self, loss: Tensor) -> int:
        """Sketch the Hessian of a loss anew.

        The graph of the loss is kept, so that `loss.backward()` can follow; the gradients in `.grad` are not touched.

        Args:
            loss: 0-dim tensor with its graph, without the L2 term.

        Returns:
            What it cost in forward-backward passes: one for the gradient and one for each Hessian-vector product.

        Raises:
            RuntimeError: The loss has no graph, a gradient is sparse, or a function of the model or the loss cannot be
                differentiated twice.
        """
        group = self.param_groups[0]
        params = [param for param in group["params"] if param.requires_grad]
        if not params:
            group["spectrum"], group["steps_since_refresh"] = [], 0
            return 0
        size = sum(param.numel() for param in params)
        generator = torch.Generator()
        generator.set_state(group["generator_state"].cpu())
        coordinates = torch.randperm(size, generator=generator, device="cpu")[: group["rank"]]
        group["generator_state"] = generator.get_state()

        num_columns = len(coordinates)
        together = num_processes() > 1 and num_columns > 0
        if together:
            coordinates = _of_first_process(coordinates, params[0].device)
        columns = _hessian_columns(loss, params, coordinates)
        # One device and one dtype for the small matrices; the sketch goes back to each parameter's own.
        flat = torch.cat([column.to(columns[0].device) for column in columns], dim=1)
        if together:
            torch.distributed.all_reduce(flat)
            flat /= num_processes()
        finite = flat.isfinite().all(dim=1)
        flat, coordinates = flat[finite], coordinates.to(flat.device)[finite]
        factor, spectrum = nystrom_factor(flat, flat[:, coordinates])
        # A parameter frozen since the last refresh keeps no part of the old sketch: it would not match the new.
        for param in group["params"]:
            self.state.pop(param, None)
        start = 0
        for param in params:
            piece = factor[:, start : start + param.numel()]
            self.state[param]["sketch"] = piece.to(device=param.device, dtype=param.dtype, copy=True)
            start += param.numel()
        group["spectrum"] = spectrum.tolist()
        group["steps_since_refresh"] = 0
        return 1 + num_columns

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient.

        Args:
            closure: Recomputes the loss and the gradients and returns the loss.

        Returns:
            What the closure returned; None without one.

        Raises:
            RuntimeError: There was no `refresh` yet, or a gradient is sparse. Nothing is changed then.
        """
        group = self.param_groups[0]
        if group["spectrum"] is None:
            raise RuntimeError("NystromSGD has no sketch of the Hessian yet: call refresh(loss) before loss.backward()")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        lr = group["lr"].reshape(()) if isinstance(group["lr"], Tensor) else group["lr"]
        params = [param for param in group["params"] if param.grad is not None]
        grads = [_regularized_gradient(param, group["weight_decay"], group["maximize"]) for param in params]
        sketches = [self.state[param].get("sketch") if param in self.state else None for param in params]
        inner = _inner_solution(grads, sketches, group["spectrum"], group["rho"])
        for param, grad, sketch in zip(params, grads, sketches, strict=True):
            direction = grad
            if sketch is not None and inner is not None:
                correction = _wide(sketch).T @ inner.to(device=sketch.device)
                direction = (_wide(grad) - correction.view_as(grad)).to(grad.dtype)
            # Not alpha=: with lr as a tensor that would be read on the host.
            param.sub_(direction * (lr / group["rho"]))
        group["steps_since_refresh"] += 1
        return loss


def _check_options(options: dict[str, Any]) -> None:
    check_learning_rate(options["lr"])
    check_positive("rho", options["rho"])
    check_not_negative("weight_decay", options["weight_decay"])
    check_count("rank", options["rank"])
    check_count("update_period", options["update_period"])


def _check_not_sharded(params: list[Tensor]) -> None:
    check_whole("NystromSGD", params)
    if any(hasattr(param, "device_mesh") for param in params):
        raise ValueError(
            "NystromSGD needs whole parameters, and a DTensor gives each process a part of them; "
            "take DistributedDataParallel, or SOFIM"
        )


def _of_first_process(coordinates: Tensor, device: torch.device) -> Tensor:
    coordinates = coordinates.to(device)
    torch.distributed.broadcast(coordinates, src=0)
    return coordinates.cpu()


def _hessian_columns(loss: Tensor, params: list[Tensor], coordinates: Tensor) -> list[Tensor]:
    """Columns of the Hessian, one a coordinate, as one (m, numel) tensor for each parameter.

    A single entry of the gradient is differentiated, rather than its product with a unit vector of d entries.
    """
    with torch.enable_grad():
        grads = gradients_with_graphs(loss, params)
    for grad in grads:
        if grad is not None and grad.layout is not torch.strided:
            raise_sparse_gradient("NystromSGD", grad)
    check_differentiable([grad for grad in grads if grad is not None and grad.requires_grad])
    columns = [param.new_zeros(len(coordinates), param.numel()) for param in params]
    ends = torch.tensor([param.numel() for param in params], device="cpu").cumsum(0)
    for row, coordinate in enumerate(coordinates.tolist()):
        index = int(torch.searchsorted(ends, coordinate, right=True))
        grad = grads[index]
        # A gradient that is missing, or that depends on no parameter, has a zero column.
        if grad is None or not grad.requires_grad:
            continue
        entry = grad.reshape(-1)[coordinate - int(ends[index])]
        for column, piece in zip(
            columns, torch.autograd.grad(entry, params, retain_graph=True, allow_unused=True), strict=True
        ):
            if piece is not None:
                column[row] = piece.reshape(-1)
    return columns


def _regularized_gradient(param: Tensor, weight_decay: float, maximize: bool) -> Tensor:
    grad = param.grad
    assert grad is not None
    if grad.layout is not torch.strided:
        raise_sparse_gradient("NystromSGD", grad)
    if maximize:
        grad = -grad
    return grad.add(param, alpha=weight_decay) if weight_decay != 0.0 else grad


def _inner_solution(
    grads: list[Tensor], sketches: list[Tensor | None], spectrum: list[float], rho: float
) -> Tensor | None:
    """(ρ I + ZᵀZ)⁻¹ Zᵀ g, shape (r,); None where there is no sketch to multiply with."""
    products = [
        _wide(sketch) @ _wide(grad).reshape(-1)
        for grad, sketch in zip(grads, sketches, strict=True)
        if sketch is not None
    ]
    if not products or not spectrum:
        return None
    total = torch.stack([product.to(products[0].device) for product in products]).sum(dim=0)
    return total / (rho + total.new_tensor(spectrum))


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor in float32 where it has fewer bits: sums of products overflow half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
