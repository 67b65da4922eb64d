"""AdamW: Adam's space and decoupled weight decay."""

from __future__ import annotations

from search_spaces._base import SearchSpace
from search_spaces._ranges import DECOUPLED_DECAY
from search_spaces.adam import SPACE as ADAM
from search_spaces.adam import betas_arguments

SPACE = SearchSpace(
    optimizer="adamw",
    decays=("decoupled",),
    build=betas_arguments,
    declared={**ADAM.declared, "weight_decay": DECOUPLED_DECAY},
)
