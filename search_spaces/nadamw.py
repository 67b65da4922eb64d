"""NAdamW: the space of AdamW, whose arguments it has."""

from __future__ import annotations

import dataclasses

from search_spaces.adamw import SPACE as ADAMW

SPACE = dataclasses.replace(ADAMW, optimizer="nadamw")
