"""Prodigy: AdamW's space, with a factor of the step that it estimates in place of a learning rate."""

from __future__ import annotations

from search_spaces._base import SearchSpace
from search_spaces._parameter import Interval, Parameter
from search_spaces.adam import betas_arguments
from search_spaces.adamw import SPACE as ADAMW

SPACE = SearchSpace(
    optimizer="prodigy",
    decays=("decoupled",),
    build=betas_arguments,
    declared={
        "lr": Parameter.log(
            0.1,
            10.0,
            default=1.0,
            accepts=Interval(0.0, 1e12, open_low=True),
            reason="Fixed to 1, as by its authors: the schedule alone moves it; see d_coef.",
        ),
        "d_coef": Parameter.log(
            0.1,
            10.0,
            default=1.0,
            accepts=Interval(0.0, 1e12, open_low=True),
            reason="Authors advise 0.5 to 2, and 1; a decade either way, since it is all that is left of a rate.",
        ),
        **{name: parameter for name, parameter in ADAMW.declared.items() if name != "lr"},
    },
    fixed={"lr": 1.0},
)
