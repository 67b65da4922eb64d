"""Hessian-vector products, also where a loss has no curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_DELAYED_ERROR = "torch::autograd::Error"


def hessian_products(
    grads: Sequence[Tensor | None], params: Sequence[Tensor], vectors: Sequence[Tensor], *, keep_graph: bool = True
) -> Sequence[Tensor | None]:
    """Return H z, a tensor like each parameter; `None` where the gradients do not depend on it.

    Where the loss is linear in a parameter, in pieces (hinge, absolute error, a network of ReLUs) or at all, autograd
    keeps no graph of its gradient, and the product of the whole would raise.

    Args:
        grads: Of `params`, with their graphs.
        params: Parameters.
        vectors: z, a tensor like each parameter.
        keep_graph: Whether a backward pass is to follow.

    Raises:
        RuntimeError: A function of the model or the loss cannot be differentiated twice.
    """
    curved = [(g, z) for g, z in zip(grads, vectors, strict=True) if g is not None and g.requires_grad]
    if not curved:
        return [None] * len(params)
    outputs, directions = zip(*curved, strict=True)
    check_differentiable(outputs)
    return torch.autograd.grad(outputs, params, grad_outputs=directions, retain_graph=keep_graph, allow_unused=True)


def gradients_with_graphs(loss: Tensor, params: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Return the gradients of a loss with their graphs, `None` where it does not depend on a parameter.

    That of the loss itself, 1, is one that requires a gradient: so autograd keeps its error where the function that
    comes last cannot be differentiated twice, see `check_differentiable`.
    """
    one = torch.ones_like(loss, requires_grad=True)
    return torch.autograd.grad(loss, list(params), grad_outputs=one, create_graph=True, allow_unused=True)


def backward_with_graphs(loss: Tensor) -> None:
    """Put the gradients of a loss, with their graphs, into ``.grad``; see `gradients_with_graphs`."""
    torch.autograd.backward(loss, torch.ones_like(loss, requires_grad=True), create_graph=True)


def check_differentiable(grads: Sequence[Tensor]) -> None:
    """Raise RuntimeError where autograd kept an error instead of a derivative.

    The way to it leads to no parameter, so that the product passes it by: what is unknown would be taken for zero.
    """
    seen: set[Any] = {grad.grad_fn for grad in grads}
    todo = [*seen]
    while todo:
        node = todo.pop()
        if node is None:
            continue
        if node.name() == _DELAYED_ERROR:
            raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
        new = {function for function, _ in node.next_functions} - seen
        seen |= new
        todo += new
