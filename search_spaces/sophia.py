"""Sophia-H."""

from __future__ import annotations

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter
from search_spaces._ranges import BATCH_SIZE, DECOUPLED_DECAY, MOMENTUM, SECOND_MOMENT, UPDATE_PERIOD, starting_at
from search_spaces.adam import betas_arguments

SPACE = SearchSpace(
    optimizer="sophia",
    decays=("decoupled",),
    build=betas_arguments,
    declared={
        "lr": Parameter.log(
            3e-5,
            3e-2,
            default=1e-3,
            reason="As many decades as Adam's, about the authors' 2e-4 to 8e-4 and the 1e-3 that ResNets are run with.",
        ),
        "gamma": Parameter.log(
            1e-3,
            1.0,
            default=1e-2,
            rank=2,
            reason="The authors' 0.01 and 0.05, a decade on each side: it sets the share of entries that is clipped.",
        ),
        "beta1": starting_at(MOMENTUM, 0.96, "the authors'"),
        "beta2": starting_at(SECOND_MOMENT, 0.99, "the authors'"),
        "update_period": UPDATE_PERIOD,
        "weight_decay": DECOUPLED_DECAY,
        "batch_size": BATCH_SIZE,
    },
)
