"""Targets: how each came about is told, and what was measured is what the row has."""

from __future__ import annotations

import tomllib

import pytest

from benchmarks.targets import BASELINES, campaign, easier, outcome, stored
from studies.campaign.reading import load_file
from studies.campaign.resolve import resolve_campaign
from studies.ledger import open_confirmation, open_search
from studies.storage.database import close_storage, open_storage
from studies.workloads import WORKLOADS
from studies.workloads._targets import TARGETS, in_words, target_origins
from tests.studies.ledger.test_renamed_campaign import work_off

ROWS = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
MEASURED = {
    "target": 0.97, "metric": "accuracy", "best": ["sgd"], "baselines": ["adamw", "sgd"], "trials": 9, "seeds": 5,
    "medians": {"adamw": 0.96, "sgd": 0.9705}, "date": "2026-11-27", "machine": "2 cores", "versions": {"torch": "2"},
}  # fmt: skip


def test_every_target_says_how_it_came_about():
    assert list(target_origins()) == list(WORKLOADS)
    for name, row in ROWS.items():
        if "baselines" in row:
            assert WORKLOADS[name].target == row["target"], name
            assert WORKLOADS[name].metric.name == row["metric"], name
            assert set(row["medians"]) == set(row["baselines"]), name
            assert set(row["best"]) <= set(row["baselines"]), name
            assert len({row["medians"][key] for key in row["best"]}) == 1, name


def test_figures_of_data_that_no_embedded_set_holds_are_published():
    published = {name for name, told in target_origins().items() if told.startswith("a published figure: ")}
    assert published == {name for name in WORKLOADS if name.startswith(("cifar", "svhn"))}


def test_of_equal_baselines_all_are_named():
    tied = {**MEASURED, "best": ["adamw", "sgd"]}
    assert in_words(tied).startswith(
        "measured: the median of 5 fresh seeds of adamw and of sgd, the best of adamw, sgd "
    )


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


@pytest.mark.slow
def test_the_target_is_the_median_of_the_best_baseline_on_fresh_seeds(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "one.toml").write_text(campaign("digits-mlp", 1))
    resolved = resolve_campaign(load_file(tmp_path / "one.toml", {"epochs": 1}), test=True)
    plan, url = resolved.plan.stored(), f"sqlite:///{tmp_path}/one.db"
    with open_search(url, plan, resolved.study_plans(), {}) as ledger:
        work_off(ledger, resolved)
    with open_confirmation(url, plan, resolved.study_plans(), {}, seeds=3) as ledger:
        work_off(ledger, resolved)
    found, opened = outcome("digits-mlp", url), open_storage(url)
    runs = {
        key: [run.value for run in opened.get_all_trials(opened.get_study_id_from_name(f"{study}/confirm"))]
        for key, study in ((key, f"targets-digits-mlp/digits-mlp/{key}") for key in BASELINES)
    }
    close_storage(opened)
    medians = {key: sorted(values)[1] for key, values in runs.items()}
    assert found["medians"] == pytest.approx(medians)
    assert found["best"] == sorted(key for key, median in medians.items() if median == max(medians.values()))
    assert max(medians.values()) - 1e-3 < found["target"] <= max(medians.values())
    assert (found["seeds"], found["trials"], found["metric"]) == (3, 1, "accuracy")


@pytest.mark.parametrize(
    ("value", "sign", "rounded"), [(0.97659, 1.0, 0.9765), (0.97651, -1.0, 0.9766), (0.0, -1.0, 0)]
)
def test_a_target_is_rounded_to_the_easier_side(value, sign, rounded):
    assert easier(value, sign) == rounded
