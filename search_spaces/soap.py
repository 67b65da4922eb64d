"""SOAP: the space of AdamW, which it is in a rotated basis, and how often that is made anew."""

from __future__ import annotations

import dataclasses

from search_spaces._ranges import MOMENTUM, SECOND_MOMENT, UPDATE_PERIOD, starting_at
from search_spaces.adam import LEARNING_RATE
from search_spaces.adamw import SPACE as ADAMW

SPACE = dataclasses.replace(
    ADAMW,
    optimizer="soap",
    declared={
        **ADAMW.declared,
        "lr": starting_at(LEARNING_RATE, 3e-3, "the authors'"),
        "beta1": starting_at(MOMENTUM, 0.95, "the authors'"),
        "beta2": starting_at(SECOND_MOMENT, 0.95, "the authors'"),
        "update_period": UPDATE_PERIOD,
    },
)
