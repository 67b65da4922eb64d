"""SOFIM: in its own arguments, and in the coordinates in which its two regimes separate."""

from __future__ import annotations

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
