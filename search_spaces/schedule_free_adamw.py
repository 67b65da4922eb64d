"""Schedule-Free AdamW: AdamW's space, and how its average weighs the steps."""

from __future__ import annotations

from dataclasses import replace

from search_spaces._base import SearchSpace
from search_spaces._parameter import Interval, Parameter
from search_spaces.adam import betas_arguments
from search_spaces.adamw import SPACE as ADAMW

SPACE = SearchSpace(
    optimizer="schedule-free-adamw",
    decays=("decoupled",),
    build=betas_arguments,
    declared={
        **ADAMW.declared,
        "lr": replace(
            ADAMW.declared["lr"],
            default=2.5e-3,
            accepts=Interval(0.0, 1e150, open_low=True),  # whose square weighs the average
            reason="AdamW's range; 2.5e-3 is AlgoPerf's winning setting, whose authors advise 1 to 10 times AdamW's.",
        ),
        "beta1": replace(ADAMW.declared["beta1"], accepts=Interval(1e-6, 1.0, open_high=True)),
        "r": Parameter.linear(
            0.0,
            1.0,
            default=0.0,
            rank=4,
            accepts=Interval(0.0, 10.0),
            reason="From the paper's 0, which weighs all steps alike, past AlgoPerf's 0.75.",
        ),
    },
)
