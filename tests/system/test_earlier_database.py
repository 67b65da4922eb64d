"""A campaign that an earlier version tuned, confirmed and reported: read to the same numbers, and gone on with.

``quickstart.db.xz`` is its database, ``quickstart-read.zip`` what that version made of it: the tables of its report
(of the three long ones every 50th row) and its export. ``half.db.xz`` is of a search that was killed.
"""

from __future__ import annotations

import io
import lzma
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import optuna
import pandas as pd
import pytest
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from analysis import report
from analysis.load import studies
from studies.storage.database import close_storage, open_storage

DATA = Path(__file__).parents[1] / "data"
READ = zipfile.ZipFile(DATA / "quickstart-read.zip")
TABLES = sorted(name for name in READ.namelist() if name.endswith(".csv"))
LONG = ("convergence.csv", "map.csv", "partial_dependence.csv")
NOTHING_LEFT = "Nothing left to run: every trial of quickstart is in the storage."

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "sofim.db"
    path.write_bytes(lzma.decompress((DATA / "quickstart.db.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def tables(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, pd.DataFrame]:
    """Those of its report today; its figures are left out, which take longer than all else."""

    def draw_nothing(_figure: Figure, file: io.IOBase, format: str, **_options: object) -> None:
        file.write('<svg viewBox="0 0 1 1"></svg>' if format == "svg" else b"")

    out, before = tmp_path_factory.mktemp("report"), database.read_bytes()
    storage = open_storage(f"sqlite:///{database}", read_only=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", draw_nothing)
        try:
            report.write(
                storage,
                studies(storage, "quickstart"),
                out,
                title="quickstart",
                source="sqlite:///sofim.db",
                options=report.Options(workers=1),
            )
        finally:
            close_storage(storage)
    assert database.read_bytes() == before, "what reads writes nothing"
    return {path.name: as_kept(path) for path in (out / "tables").iterdir()}


def as_kept(file: Path) -> pd.DataFrame:
    first, *rows = file.read_text().splitlines(keepends=True)
    return pd.read_csv(io.StringIO("".join([first, *(rows[::50] if file.name in LONG else rows)])))


def test_the_report_has_the_same_tables(tables) -> None:
    assert sorted(tables) == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_report_has_the_same_numbers(tables, name) -> None:
    with READ.open(name) as file:
        earlier = pd.read_csv(file)
    # the last digits may be rounded otherwise by another processor
    pd.testing.assert_frame_equal(tables[name], earlier, rtol=1e-6, atol=1e-9)


@pytest.fixture
def stored(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFIM_STORAGE", f"sqlite:///{database}")
    return database


def test_what_is_exported_is_the_same(stored, sofim) -> None:
    before = stored.read_bytes()
    code, out, err = sofim("export", "quickstart")
    assert (code, err) == (0, "")
    earlier, now = tomllib.loads(READ.read("export.toml").decode()), tomllib.loads(out)
    assert now["made"].pop("date")
    assert earlier["made"].pop("date")
    assert now == earlier
    assert stored.read_bytes() == before


def test_it_is_finished_and_nothing_is_left_to_run_or_to_confirm(stored, sofim) -> None:
    code, out, err = sofim("status", "quickstart")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "quickstart: finished"
    assert sum("30/30" in line for line in lines) == 14
    assert "breast-cancer-logreg, confirmation runs of winners: " in out
    assert "lbfgs 2 complete, 1 diverged" in out
    code, out, err = sofim("launch", "quickstart")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == NOTHING_LEFT
    code, out, err = sofim("confirm", "quickstart", "--seeds", "3")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Nothing left to run: the 42 confirmation runs of quickstart are in the storage."


def trials_of(database: Path) -> dict[str, list[FrozenTrial]]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    try:
        return {study.study_name: storage.get_all_trials(study._study_id) for study in storage.get_all_studies()}
    finally:
        close_storage(storage)


@pytest.mark.cluster
def test_it_goes_on_with_more_trials_and_more_confirmation_runs(
    database, tmp_path, monkeypatch, sofim, one_ray
) -> None:
    """All that is there stays as it is; what is new is like it."""
    one_ray.use(tmp_path)
    mine = tmp_path / "sofim.db"
    mine.write_bytes(database.read_bytes())
    monkeypatch.setenv("SOFIM_STORAGE", f"sqlite:///{mine}")
    before = trials_of(mine)
    for command in (("confirm", "quickstart", "--seeds", "4"), ("launch", "quickstart", "--extend", "--trials", "31")):
        code, _, err = sofim(*command)
        assert (code, err) == (0, "")
    after = trials_of(mine)
    assert list(after) == list(before)
    for name, trials in after.items():
        there, new = trials[: len(before[name])], trials[len(before[name]) :]
        assert there == before[name], name
        assert len(new) == 1, name
        assert new[0].state in (TrialState.COMPLETE, TrialState.PRUNED), (name, new[0].user_attrs)
        assert new[0].params.keys() == there[0].params.keys()
        assert new[0].user_attrs.keys() >= {"seed", "seconds", "history", "gradient_evaluations", "diverged", "device"}
        assert new[0].user_attrs["history"].keys() == there[0].user_attrs["history"].keys()
        if name.endswith("/confirm"):
            assert new[0].params == there[0].params
            assert new[0].user_attrs["seed"] not in [trial.user_attrs["seed"] for trial in there]
    _, out, _ = sofim("status", "quickstart")
    assert out.startswith("quickstart: finished\n")
    assert out.count("31/31") == 14


@pytest.mark.cluster
def test_a_search_whose_driver_was_killed_goes_on_to_the_exact_number(tmp_path, monkeypatch, sofim, one_ray) -> None:
    one_ray.use(tmp_path)
    mine = tmp_path / "sofim.db"
    mine.write_bytes(lzma.decompress((DATA / "half.db.xz").read_bytes()))
    monkeypatch.setenv("SOFIM_STORAGE", f"sqlite:///{mine}")
    before = trials_of(mine)
    assert sum(trial.state == TrialState.RUNNING for trials in before.values() for trial in trials) == 2
    code, _, err = sofim("launch", "quickstart", "--name", "half", "--trials", "12")
    assert (code, err) == (0, "")
    for name, trials in trials_of(mine).items():
        there, new = trials[: len(before[name])], trials[len(before[name]) :]
        retried = {trial.user_attrs.get("retry_of"): trial for trial in new}
        for earlier, now in zip(before[name], there, strict=True):
            if earlier.state == TrialState.RUNNING:
                assert (now.state, now.user_attrs["failure"]) == (TrialState.FAIL, "driver lost")
                assert retried[now.number].params == now.params
                assert retried[now.number].user_attrs["seed"] == now.user_attrs["seed"]
            else:
                assert now == earlier
        assert sum(trial.user_attrs.get("failure") != "driver lost" for trial in trials) == 12
