"""docs/atlas says what its database holds: the table, and the sentences that people will quote."""

from __future__ import annotations

import lzma
from pathlib import Path

import pandas as pd
import pytest

from analysis.atlas import kinds
from analysis.comparison.pairwise import comparisons
from analysis.comparison.searches import level
from analysis.comparison.workload_runs import WorkloadRuns, contests
from analysis.load import read, studies
from analysis.text import percent
from studies.storage.database import close_storage, open_storage

ATLAS = Path(__file__).parents[3] / "docs" / "atlas"
OPTIMIZERS = ("sofim", "sgd", "adamw", "muon", "sofim-gradient", "sofim-tensor")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[WorkloadRuns]:
    database = tmp_path_factory.mktemp("atlas") / "atlas.db"
    database.write_bytes(lzma.decompress((ATLAS / "atlas.db.xz").read_bytes()))
    storage = open_storage(f"sqlite:///{database}", create=False)
    try:
        own = studies(storage, "atlas", replicates=True)
        frames = read(storage, own)
    finally:
        close_storage(storage)
    return contests(own, frames.trials, frames.confirmations, frames.curves)


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join((ATLAS / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.slow
def test_the_table_is_that_of_the_database(found: list[WorkloadRuns], page: str) -> None:
    for contest in found:
        means = {study.optimizer: level(contest, study).value for study in contest.studies}
        best = (max if contest.direction == "maximize" else min)(means.values())
        shown = [f"{means[name]:.3g}" for name in OPTIMIZERS]
        cells = [f"**{text}**" if means[name] == best else text for name, text in zip(OPTIMIZERS, shown, strict=True)]
        arrow = "↑" if contest.direction == "maximize" else "↓"
        assert f"| `{contest.workload}`, {contest.label} {arrow} | {' | '.join(cells)} |" in page


def test_what_is_said_of_pairs_is_of_the_database(found: list[WorkloadRuns], page: str) -> None:
    table = kinds.by_kind(found, comparisons(found), "sofim").set_index(["kind", "baseline"])
    said = {
        (kinds.ALL, "muon"),
        (kinds.ALL, "adamw"),
        (kinds.BEYOND_IMAGES, "adamw"),
        ("image", "adamw"),
        (kinds.ALL, "sgd"),
    }
    for key in said:
        row: pd.Series = table.loc[key]
        assert percent(row["chance"], row["chance_low"], row["chance_high"]) in page, key
    assert table.loc[(kinds.ALL, "sgd"), "chance_cancelled"], "the page says what becomes of it"
    worse = {name for name, _ in table.loc[(kinds.ALL, "muon"), "worse_on"]}
    assert worse == {"digits-vit", "poisson-pinn"}
