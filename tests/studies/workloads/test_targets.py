"""Targets: how each came about is told, and what was measured is what the row has."""

from __future__ import annotations

import tomllib

import pytest

from benchmarks.targets import easier, stored
from studies.workloads import WORKLOADS
from studies.workloads._targets import TARGETS, in_words, target_origins

ROWS = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
MEASURED = {
    "target": 0.97, "metric": "accuracy", "best": "sgd", "baselines": ["adamw", "sgd"], "trials": 9, "seeds": 5,
    "medians": {"adamw": 0.96, "sgd": 0.9705}, "date": "2026-11-27", "machine": "2 cores", "versions": {"torch": "2"},
}  # fmt: skip


def test_every_target_says_how_it_came_about():
    assert list(target_origins()) == list(WORKLOADS)
    for name, row in ROWS.items():
        if "baselines" in row:
            assert WORKLOADS[name].target == row["target"], name
            assert WORKLOADS[name].metric.name == row["metric"], name
            assert set(row["medians"]) == set(row["baselines"]), name
            assert row["best"] in row["baselines"], name


def test_figures_of_data_that_no_embedded_set_holds_are_published():
    published = {name for name, told in target_origins().items() if told.startswith("a published figure: ")}
    assert published == {name for name in WORKLOADS if name.startswith(("cifar", "svhn"))}


def test_a_measured_target_replaces_the_table_and_nothing_else():
    before = TARGETS.read_text(encoding="utf-8")
    after = tomllib.loads(stored(before, "digits-mlp", MEASURED))
    assert after == {**ROWS, "digits-mlp": MEASURED}
    assert stored(stored(before, "digits-mlp", MEASURED), "digits-mlp", MEASURED) == stored(
        before, "digits-mlp", MEASURED
    )
    assert tomllib.loads(stored(before, "new", MEASURED)) == {**ROWS, "new": MEASURED}
    assert in_words(MEASURED) == (
        "measured: the median of 5 fresh seeds of sgd, the best of adamw, sgd after 9 trials each, 2026-11-27"
    )


@pytest.mark.parametrize(
    ("value", "sign", "rounded"), [(0.97659, 1.0, 0.9765), (0.97651, -1.0, 0.9766), (0.0, -1.0, 0)]
)
def test_a_target_is_rounded_to_the_easier_side(value, sign, rounded):
    assert easier(value, sign) == rounded
