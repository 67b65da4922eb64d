"""AdaHessian."""

from __future__ import annotations

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter
from search_spaces._ranges import BATCH_SIZE, DECOUPLED_DECAY, EPSILON, MOMENTUM, SECOND_MOMENT, starting_at
from search_spaces.adam import betas_arguments

# The Hessian's update period and power are not in the space: pytorch_optimizer's bias correction is right for a period
# of 1 alone, and the authors use power 1 throughout.
SPACE = SearchSpace(
    optimizer="adahessian",
    decays=("decoupled", "coupled"),
    build=betas_arguments,
    declared={
        "lr": Parameter.log(
            1e-3,
            1.0,
            default=0.15,
            reason=(
                "The authors' 0.15 with some two decades below and almost one above; as wide as Adam's and AdamW's."
            ),
        ),
        "beta1": MOMENTUM,
        "beta2": SECOND_MOMENT,
        "eps": starting_at(EPSILON, 1e-4, "the authors'"),
        "weight_decay": DECOUPLED_DECAY,
        "batch_size": BATCH_SIZE,
    },
)
