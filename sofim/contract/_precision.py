"""Whether an optimizer keeps the precision of its parameters."""

from __future__ import annotations

import math

import torch
from torch import nn

from sofim.contract._outcome import Fault
from sofim.contract._training import Subject, Training, batches, cross_entropy, network


def keeps_double(subject: Subject) -> None:
    """Train in float64, from zeros: what is left of a rounding to float32 would show."""
    run = _trained(subject, torch.float64)
    for param in run.parameters():
        moved = param[param != 0]
        if len(moved) and torch.equal(moved, moved.float().double()):
            raise Fault("parameters of float64 are rounded to float32")


def keeps_bfloat16(subject: Subject) -> None:
    """Train in bfloat16."""
    _trained(subject, torch.bfloat16)


def _trained(subject: Subject, dtype: torch.dtype) -> Training:
    model = network().to(dtype)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            nn.init.zeros_(layer.get_parameter("bias"))
        nn.init.zeros_(model[2].get_parameter("weight"))
    run = Training(subject, model)
    for batch in batches(3):
        loss = run.step(lambda batch=batch: cross_entropy(model, batch))  # type: ignore[misc]
        for param in model.parameters():
            if param.dtype != dtype:
                raise Fault(f"parameters of {_name(dtype)} become {_name(param.dtype)}")
        if not math.isfinite(loss):
            raise Fault(f"it diverges in {_name(dtype)}")
    if not bool(model[2].get_parameter("bias").any()):
        raise Fault(f"parameters of {_name(dtype)} are not trained")
    return run


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
