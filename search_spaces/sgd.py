"""SGD with momentum."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter, Value
from search_spaces._ranges import BATCH_SIZE, COUPLED_DECAY, MOMENTUM


def nesterov_arguments(values: Mapping[str, Value]) -> dict[str, object]:
    """Return torch's arguments: without momentum Nesterov's step is the plain one, and torch refuses the combination.

    >>> nesterov_arguments({"momentum": 0.0, "nesterov": True})
    {'momentum': 0.0, 'nesterov': False}
    """
    return {**values, "nesterov": bool(values["nesterov"]) and float(values["momentum"]) > 0}


SPACE = SearchSpace(
    optimizer="sgd",
    decays=("coupled",),
    build=nesterov_arguments,
    declared={
        "lr": Parameter.log(
            1e-3,
            5.0,
            default=0.05,
            reason="AlgoPerf's 2e-2 to 5 for momentum SGD, a decade wider below: momentum 0.995 multiplies it by 200.",
        ),
        "momentum": MOMENTUM,
        "nesterov": Parameter.categorical(
            [False, True],
            default=False,
            rank=4,
            reason="Fixed to false, as in the paper's baseline; nesterov = [false, true] searches both.",
        ),
        "weight_decay": COUPLED_DECAY,
        "batch_size": BATCH_SIZE,
    },
    fixed={"nesterov": False},
)
