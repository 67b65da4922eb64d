"""Campaigns that make every study several times, to see how much the search itself varies."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.comparison import compare
from analysis.load import curves, read, repeated, studies
from analysis.report import folder
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import campaign, end, open_ledger
from tests.support.probe_home import settle

URL = "sqlite:///sofim.db"
SEARCHED = {
    "fake/digits-mlp/sofim": [0.5, 0.6, 0.7],
    "fake/digits-mlp/sofim/replicate-2": [0.7, 0.6, 0.9],
    "fake/digits-mlp/sofim/replicate-3": [0.6, 0.7, 0.8],
    "fake/digits-mlp/sgd": [0.25, 0.5, 0.25],
    "fake/digits-mlp/sgd/replicate-2": [0.5, 0.25, 0.25],
    "fake/digits-mlp/sgd/replicate-3": [0.5, 0.25, 0.75],
}


@pytest.fixture
def searched(tmp_path: Path, monkeypatch):
    """A campaign of three replicates that has been searched; the trials as they were given out."""
    monkeypatch.chdir(tmp_path)
    made = campaign(workloads=["digits-mlp"], trials=3, replicates=3, sampler="tpe")
    left = {name: list(values) for name, values in SEARCHED.items()}
    given = []
    with open_ledger(URL, made) as ledger:
        while (assignment := ledger.ask()) is not None:
            given.append(assignment)
            end(ledger, assignment, left[assignment.study].pop(0))
    assert not any(left.values())
    return given


def test_replicates_repeat_the_search_with_other_random_numbers_the_same_for_every_optimizer(searched):
    seeds: dict[str, set[int]] = {}
    for assignment in searched:
        seeds.setdefault(assignment.study, set()).add(assignment.seed)
    for replicate in ("", "/replicate-2", "/replicate-3"):
        assert seeds[f"fake/digits-mlp/sofim{replicate}"] == seeds[f"fake/digits-mlp/sgd{replicate}"], "rule 1"
    assert seeds["fake/digits-mlp/sofim"] == {0}, "the first replicate is the study itself"
    assert len(set.union(*seeds.values())) == 3
    firsts = {assignment.study: assignment.number for assignment in reversed(searched)}  # the default configuration
    later = [str(a.arguments) for a in searched if a.number != firsts[a.study]]
    assert len(later) == len(set(later)) == 12


@pytest.mark.slow
def test_the_budget_curve_is_the_mean_over_replicates_and_nothing_else_counts_them(searched):
    storage = open_storage(URL, create=False)
    found = studies(storage, "fake")
    assert [study.name for study in found] == ["fake/digits-mlp/sofim", "fake/digits-mlp/sgd"]
    assert len(studies(storage, "fake", replicates=True)) == 6
    compared = compare(
        found, read(storage, found), curves(storage, found, confirmed=True), np.random.default_rng(0),
        repeated(storage, found),
    )  # fmt: skip
    close_storage(storage)
    table = compared.tables["budget_curve"].set_index(["study", "k"])
    assert set(table["method"]) == {"mean of 3 replicates"}
    sofim = table.loc["fake/digits-mlp/sofim"]
    # the best of the first k: 0.5 0.6 0.7, 0.7 0.7 0.9 and 0.6 0.7 0.8
    assert sofim["expected_best"].tolist() == pytest.approx([0.6, 2 / 3, 0.8])
    # Student's t with two degrees of freedom, 4.3027, times 0.1 / √3
    assert sofim["high"].tolist()[2] == pytest.approx(0.8 + 4.302653 * 0.1 / 3**0.5)
    board = compared.tables["leaderboard"].set_index("optimizer")
    assert board.loc["sofim", "tuned"] == 0.7, "the first study's winner is the winner"
    assert board.loc["sofim", "trials"] == 3
    assert set(compared.tables["answer"]["decides"]) == {"validation accuracy, best of the first search"}
    assert "mean of 3 replicates of the search" in compared.methods


def printed(done: tuple[int, str, str]) -> str:
    code, out, err = done
    assert (code, err) == (0, "")
    return out


@pytest.mark.slow
def test_status_shows_each_replicate_and_the_leaderboard_the_best_of_them(sofim, searched):
    rows = [line.split() for line in printed(sofim("status", "fake")).splitlines()]
    labels = [" ".join(w for w in words[:2] if not w.startswith("━")) for words in rows if words]
    assert [label for label in labels if label.startswith(("sofim", "sgd"))] == [
        "sofim", "sofim #2", "sofim #3", "sgd", "sgd #2", "sgd #3",
    ]  # fmt: skip
    assert "6 studies" in printed(sofim("list"))
    board = printed(sofim("launch", "fake"))
    assert re.search(r"1 +sofim +0.9 +2 of 3 .* 9 complete", board)
    assert re.search(r"2 +sgd +0.75 +3 of 3 .* 9 complete", board)


@pytest.mark.slow
def test_a_replicate_has_a_report_of_its_own(sofim, searched):
    name = "fake/digits-mlp/sofim/replicate-2"
    assert "too few" in printed(sofim("report", "--study", name)).lower()
    page = (Path("reports") / folder(name) / "index.html").read_text()
    assert "sofim on digits-mlp, replicate 2" in page


def test_a_dry_run_says_how_large_a_difference_so_many_searches_find(sofim):
    fields = 'name = "mine"\nworkloads = ["breast-cancer-logreg"]\ntrials = 5\n'
    Path("mine.toml").write_text(f'{fields}optimizers = ["sgd", "adam"]\n')
    several = " ".join(printed(sofim("launch", "mine.toml", "--replicates", "5", "--dry-run")).split())
    assert "1 comparison over 5 searches of each: a difference of 2.1 standard deviations of a search" in several
    assert "; over 10 searches, one of 1.4." in several
    assert "comparison over" not in printed(sofim("launch", "mine.toml", "--dry-run")), "one search compares none"


def test_a_dry_run_counts_replicates(sofim):
    Path("mine.toml").write_text(
        'name = "mine"\nworkloads = ["breast-cancer-logreg"]\noptimizers = ["sgd"]\ntrials = 5\nreplicates = 3\n'
    )
    alone = printed(sofim("launch", "mine.toml", "--dry-run"))
    assert "3 × 5" in alone
    assert "comparison" not in alone, "there is no pair"
    assert not Path("sofim.db").exists()


@pytest.mark.nightly
@pytest.mark.cluster
def test_replicates_are_trained_and_each_winner_is_confirmed(tmp_path, sofim, one_ray):
    one_ray.use(tmp_path)
    home = settle(tmp_path, "confirm_workload:xor", trials=2)
    with (home / "probe.toml").open("a") as file:
        file.write("replicates = 2\n")
    printed(sofim("launch", "probe.toml", "--confirm", "--cpus-per-trial", "2"))
    storage = open_storage(f"sqlite:///{home}/sofim.db", create=False)
    names = {study.study_name for study in storage.get_all_studies()}
    frames = repeated(storage, studies(storage, "probe"))
    close_storage(storage)
    assert sum(name.endswith("/confirm") for name in names) == 4
    assert sum(name.endswith("replicate-2/confirm") for name in names) == 2
    for own, other in frames.values():
        assert own["outcome"].tolist() == other["outcome"].tolist() == ["complete"] * 2
        assert not set(own["seed"]) & set(other["seed"])
        assert not set(map(str, own["params"])) & set(map(str, other["params"]))
