"""Muon for matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from search_spaces._base import SearchSpace
from search_spaces._parameter import NOT_NEGATIVE, Parameter, Value
from search_spaces._ranges import BATCH_SIZE, DECOUPLED_DECAY, EPSILON, MOMENTUM, SECOND_MOMENT
from search_spaces.adam import LEARNING_RATE, betas_arguments


def muon_arguments(values: Mapping[str, Value]) -> dict[str, object]:
    """Return arguments in which ``beta1`` and ``beta2`` are a pair and ``nesterov`` is true or false."""
    return {**betas_arguments(values), "nesterov": bool(values["nesterov"])}


SPACE = SearchSpace(
    optimizer="muon",
    decays=("decoupled",),
    build=muon_arguments,
    declared={
        "lr": replace(
            LEARNING_RATE,
            default=3e-3,
            reason=(
                "AdamW's range, since steps are scaled to the size of AdamW's (arXiv 2502.16982); 3e-3 is between "
                "Jordan's 3.6e-3 and AlgoPerf's 2.6e-3, at the width of their networks."
            ),
        ),
        "momentum": replace(MOMENTUM, default=0.95),
        "adamw_lr_ratio": Parameter.log(
            0.03,
            10.0,
            default=1.0,
            rank=2,
            accepts=NOT_NEGATIVE,
            reason=(
                "AdamW's rate by Muon's: 1 in arXiv 2502.16982, 0.08 in Jordan's and 0.14 and 3.9 in AlgoPerf's "
                "settings, at the width of their networks."
            ),
        ),
        "weight_decay": DECOUPLED_DECAY,
        "batch_size": BATCH_SIZE,
        "beta1": replace(
            MOMENTUM, rank=4, reason="AdamW's own; as momentum's, but of the smaller part of the weights."
        ),
        "beta2": replace(
            SECOND_MOMENT,
            low=0.8,
            default=0.95,
            reason="AdamW's own: the range of the others, widened to AlgoPerf's 0.863; 0.95 is Jordan's.",
        ),
        "eps": EPSILON,
        "nesterov": Parameter.categorical(
            [False, True],
            default=True,
            rank=4,
            reason="Fixed to true, as by its authors; nesterov = [false, true] searches both.",
        ),
    },
    fixed={"nesterov": True},
)
