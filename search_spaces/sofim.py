"""SOFIM and its forms: in their own arguments, and in the coordinates in which their two regimes separate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from search_spaces._base import SearchSpace
from search_spaces._parameter import Interval, Parameter, Value
from search_spaces._ranges import BATCH_SIZE, COUPLED_DECAY, MOMENTUM

# rho is the knee squared, and both must be representable in float32.
_SQUARE_IN_FLOAT32 = Interval(1e-18, 1e18)


def effective_arguments(values: Mapping[str, Value]) -> dict[str, object]:
    """Return SOFIM's arguments: lr = a c² and rho = c² for the effective learning rate a = η/ρ and the knee c = √ρ.

    >>> effective_arguments({"effective_lr": 0.5, "knee": 2.0, "beta": 0.9})
    {'lr': 2.0, 'rho': 4.0, 'beta': 0.9}
    """
    rest = {name: value for name, value in values.items() if name not in ("effective_lr", "knee")}
    rho = float(values["knee"]) ** 2
    return {"lr": float(values["effective_lr"]) * rho, "rho": rho, **rest}


EFFECTIVE = SearchSpace(
    optimizer="sofim",
    parameterization="effective",
    decays=("coupled", "decoupled"),
    build=effective_arguments,
    declared={
        "effective_lr": Parameter.log(
            1e-3,
            1e2,
            default=0.2,
            accepts=_SQUARE_IN_FLOAT32,
            reason=(
                "η/ρ, the learning rate below the knee, where SOFIM is momentum SGD with lr / (1 − momentum) = η/ρ: "
                "at momentum 0.9 the space of sgd spans 1e-2 to 50 there, and this a little more."
            ),
        ),
        "knee": Parameter.log(
            1e-3**0.5,
            10.0**0.5,
            default=0.5**0.5,
            accepts=_SQUARE_IN_FLOAT32,
            rank=2,
            reason=(
                "√ρ, the gradient norm of the longest step, η/(2√ρ): the root of the default space's range of ρ. "
                "Gradient norms of our workloads start inside it and end below."
            ),
        ),
        "beta": MOMENTUM,
        "weight_decay": COUPLED_DECAY,
        "batch_size": BATCH_SIZE,
    },
)

SPACE = SearchSpace(
    optimizer="sofim",
    alternatives={"effective": EFFECTIVE},
    decays=("coupled", "decoupled"),
    declared={
        "lr": Parameter.log(
            1e-3,
            10.0,
            default=0.1,
            reason=(
                "One step is predicted to lower the loss by at most lr, which bounds it from above; two decades "
                "around DP-FedSOFIM's 0.1 contain its grid 0.05 to 5, and at the largest rho they contain momentum "
                "SGD up to lr / (1 − momentum) = 1."
            ),
        ),
        "rho": Parameter.log(
            1e-3,
            10.0,
            default=0.5,
            rank=2,
            reason=(
                "Compares with the squared gradient norm of all parameters: the paper tried 0.1, 0.5 and 1, "
                "DP-FedSOFIM 0.01 to 10; a decade below for gradients that shrink as training ends."
            ),
        ),
        "beta": MOMENTUM,
        "weight_decay": COUPLED_DECAY,
        "batch_size": BATCH_SIZE,
    },
)


def _form(optimizer: str, reasons: Mapping[str, str]) -> SearchSpace:
    """Return SOFIM's space for another form of it: the same ranges, so that the forms are compared on equal terms.

    Args:
        optimizer: Key of the form.
        reasons: By parameter, why its range is right there, where SOFIM's reason is not.
    """

    def of(space: SearchSpace) -> SearchSpace:
        known = reasons.keys() & space.declared.keys()
        changed = {name: dataclasses.replace(space.declared[name], reason=reasons[name]) for name in known}
        alternatives = {name: of(other) for name, other in space.alternatives.items()}
        return dataclasses.replace(
            space, optimizer=optimizer, declared={**space.declared, **changed}, alternatives=alternatives
        )

    return of(SPACE)


GRADIENT = _form(
    "sofim-gradient",
    {
        "lr": "The range of sofim, which contains FedSift's choices 1e-3 to 5; the two are one on the first step.",
        "rho": "The range of sofim, which contains FedSift's choices 0.01 to 10, but not its 20.",
        "effective_lr": (
            "The range of sofim's η/ρ: across the average this is SGD without momentum with that learning rate."
        ),
        "knee": "The range of sofim's √ρ: gradients along an average longer than it are damped.",
    },
)

TENSOR = _form(
    "sofim-tensor",
    {
        "lr": "The range of sofim, though here one step lowers the loss by at most lr for each tensor.",
        "rho": "The range of sofim, though here it compares with the squared gradient norm of one tensor.",
        "knee": "The range of sofim's √ρ, though here it compares with the gradient norm of one tensor.",
    },
)
