"""How the targets of the project's workloads came about: ``targets.toml``, which ``benchmarks/targets.py`` writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import number_of

TARGETS = Path(__file__).with_name("targets.toml")


def target_origins() -> dict[str, str]:
    """Return how each target came about, in words, by workload."""
    rows = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
    return {name: in_words(row) for name, row in rows.items()}


def in_words(row: Mapping[str, Any]) -> str:
    """Return how a target came about.

    Args:
        row: Of ``targets.toml``: ``published`` or ``chosen`` with the reason, or what ``benchmarks/targets.py`` wrote.

    >>> in_words({"published": "of a paper"})
    'a published figure: of a paper'
    """
    for kind, said in (("published", "a published figure"), ("chosen", "chosen by hand")):
        if kind in row:
            return f"{said}: {row[kind]}"
    best, baselines = " and of ".join(row["best"]), ", ".join(row["baselines"])
    return (
        f"measured: the median of {number_of(row['seeds'], 'fresh seed')} of {best}, the best of {baselines} "
        f"after {number_of(row['trials'], 'trial')} each, {row['date']}"
    )
