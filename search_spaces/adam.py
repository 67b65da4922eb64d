"""Adam without weight decay."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter, Value
from search_spaces._ranges import BATCH_SIZE, EPSILON, MOMENTUM, SECOND_MOMENT


def betas_arguments(values: Mapping[str, Value]) -> dict[str, object]:
    """Return arguments in which ``beta1`` and ``beta2`` have become the pair ``betas``.

    >>> betas_arguments({"lr": 0.1, "beta1": 0.9, "beta2": 0.99})
    {'lr': 0.1, 'betas': (0.9, 0.99)}
    """
    rest = {name: value for name, value in values.items() if name not in ("beta1", "beta2")}
    return {**rest, "betas": (values["beta1"], values["beta2"])}


LEARNING_RATE = Parameter.log(
    1e-4,
    1e-1,
    default=1e-3,
    reason=(
        "AlgoPerf's 1e-4 to 1e-2 for AdamW, a decade wider above: small and convex workloads take larger steps, and so "
        "does a large ε."
    ),
)

# No weight decay: Adam is then the subset of AdamW's space that a well-tuned AdamW must not lose to.
SPACE = SearchSpace(
    optimizer="adam",
    build=betas_arguments,
    declared={
        "lr": LEARNING_RATE,
        "beta1": MOMENTUM,
        "beta2": SECOND_MOMENT,
        "eps": EPSILON,
        "batch_size": BATCH_SIZE,
    },
)
