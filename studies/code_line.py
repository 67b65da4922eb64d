"""A line of Python that makes an optimizer, for people to paste."""

from __future__ import annotations

from collections.abc import Mapping

_MADE_BY = {
    "sofim": ("from sofim import SOFIM", "SOFIM"),
    "nystrom-sgd": ("from sofim import NystromSGD", "NystromSGD"),
    "sgd": ("import torch", "torch.optim.SGD"),
    "adam": ("import torch", "torch.optim.Adam"),
    "adamw": ("import torch", "torch.optim.AdamW"),
    "lbfgs": ("import torch", "torch.optim.LBFGS"),
}


def code_line(optimizer: str, arguments: Mapping[str, object]) -> tuple[str, str]:
    """The import and the expression that make an optimizer for a ``model``.

    Args:
        optimizer: its key in ``sofim.OPTIMIZERS``.
        arguments: its factory's keyword arguments; ``batch_size``, which is no argument of an optimizer, is left out.

    Returns:
        The import, and the expression.

    >>> code_line("sofim", {"lr": 0.1, "beta": 0.9, "rho": 0.5, "batch_size": 64})[1]
    'SOFIM(model.parameters(), lr=0.1, beta=0.9, rho=0.5)'
    """
    imported, name = _MADE_BY.get(optimizer, ("from sofim import OPTIMIZERS", f'OPTIMIZERS["{optimizer}"].factory'))
    told = [f"{key}={value!r}" for key, value in arguments.items() if key != "batch_size"]
    return imported, f"{name}({', '.join(['model.parameters()', *told])})"
