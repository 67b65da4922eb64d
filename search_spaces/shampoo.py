"""Shampoo with Adam's step length: the space of SOAP, whose arguments it has."""

from __future__ import annotations

import dataclasses

from search_spaces._ranges import starting_at
from search_spaces.adam import LEARNING_RATE
from search_spaces.soap import SPACE as SOAP

SPACE = dataclasses.replace(
    SOAP,
    optimizer="shampoo",
    declared={**SOAP.declared, "lr": starting_at(LEARNING_RATE, 2e-3, "Modded-NanoGPT's 1.8e-3, rounded to")},
)
