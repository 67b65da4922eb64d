"""Lion."""

from __future__ import annotations

from search_spaces._base import SearchSpace
from search_spaces._parameter import NOT_NEGATIVE, Parameter
from search_spaces._ranges import BATCH_SIZE, MOMENTUM, SECOND_MOMENT, starting_at
from search_spaces.adam import betas_arguments

SPACE = SearchSpace(
    optimizer="lion",
    decays=("decoupled",),
    build=betas_arguments,
    declared={
        "lr": Parameter.log(
            1e-5,
            1e-2,
            default=3e-4,
            reason="A tenth of Adam's 1e-4 to 1e-1: the authors take three to ten times less than for AdamW.",
        ),
        "beta1": MOMENTUM,
        "beta2": starting_at(SECOND_MOMENT, 0.99, "the authors'"),
        "weight_decay": Parameter.log(
            1e-4,
            10.0,
            default=0.1,
            rank=3,
            accepts=NOT_NEGATIVE,
            reason=(
                "Ten times AdamW's 1e-5 to 1, so that the product with the learning rate spans the same: the authors "
                "take three to ten times more than for AdamW, AlgoPerf's submission 0.5."
            ),
        ),
        "batch_size": BATCH_SIZE,
    },
)
