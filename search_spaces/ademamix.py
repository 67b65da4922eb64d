"""AdEMAMix: the space of AdamW, and the slow average."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from search_spaces._parameter import NOT_NEGATIVE, Parameter, Value
from search_spaces.adam import betas_arguments
from search_spaces.adamw import SPACE as ADAMW


def three_betas_arguments(values: Mapping[str, Value]) -> dict[str, object]:
    """Return arguments in which ``beta1``, ``beta2`` and ``beta3`` have become the triple ``betas``.

    >>> three_betas_arguments({"beta1": 0.9, "beta2": 0.99, "beta3": 0.999})
    {'betas': (0.9, 0.99, 0.999)}
    """
    arguments = betas_arguments({name: value for name, value in values.items() if name != "beta3"})
    return {**arguments, "betas": (values["beta1"], values["beta2"], values["beta3"])}


SPACE = dataclasses.replace(
    ADAMW,
    optimizer="ademamix",
    build=three_betas_arguments,
    declared={
        **ADAMW.declared,
        "alpha": Parameter.log(
            0.1,
            20.0,
            default=5.0,
            rank=3,
            accepts=NOT_NEGATIVE,
            reason="The authors' 4 to 10 with room on both sides; at the low end it is nearly AdamW.",
        ),
        "beta3": Parameter.one_minus_log(
            0.99,
            0.9999,
            default=0.999,
            rank=3,
            reason=(
                "The authors' 0.9999, for runs of 100,000 steps and more, at the upper end: runs of some hundred steps "
                "never fill so slow an average."
            ),
        ),
    },
)
