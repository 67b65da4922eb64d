"""A campaign of protocol 1, searched, confirmed and reported by an earlier version: it is read, and not gone on with.

``quickstart.db.xz`` is its database, ``quickstart-read.csv`` what that version's leaderboard said of it. ``half.db.xz``
is of a search that was killed.
"""

from __future__ import annotations

import ast
import lzma
import re
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from optuna.storages import RDBStorage

from analysis import report
from analysis.dashboard import AnnotationService, NoteContext
from analysis.drawn import drawn_counts
from analysis.load import read, studies
from analysis.schema import COUNTED
from analysis.study import Study
from studies.storage.database import close_storage, open_storage
from tests.support.report_studies import draw_nothing

DATA = Path(__file__).parents[1] / "data"
SAID = pd.read_csv(DATA / "quickstart-read.csv", index_col="study")

pytestmark = pytest.mark.slow


def unpacked(name: str, folder: Path) -> Path:
    path = folder / "sofim.db"
    path.write_bytes(lzma.decompress((DATA / name).read_bytes()))
    return path


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """It is byte for byte what it was afterwards, and nothing lies beside it."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    path = unpacked("quickstart.db.xz", folder)
    before = path.read_bytes()
    monkeypatch.setenv("SOFIM_STORAGE", f"sqlite:///{path}")
    yield path
    assert path.read_bytes() == before
    assert [file.name for file in folder.iterdir()] == ["sofim.db"]


@pytest.fixture
def storage(database: Path) -> Iterator[RDBStorage]:
    opened = open_storage(f"sqlite:///{database}", read_only=True)
    assert isinstance(opened, RDBStorage)
    yield opened
    close_storage(opened)


@pytest.fixture
def searched(storage: RDBStorage) -> list[Study]:
    return studies(storage, "quickstart")


def test_its_trials_and_runs_are_read_as_they_were(storage, searched) -> None:
    frames = read(storage, searched)
    assert {study.name for study in searched} == set(SAID.index)
    assert drawn_counts(frames.trials) is None
    for study in searched:
        said, own = SAID.loc[study.name], frames.trials[frames.trials["study"] == study.name]
        counts = own["outcome"].value_counts()
        assert len(own[own["outcome"].isin(COUNTED)]) == said["trials"]
        assert all(counts.get(word, 0) == said[word] for word in COUNTED)
        winner = own.set_index("number").loc[said["number"]]
        assert winner["value"] == pytest.approx(said["tuned"], rel=1e-9)
        assert winner["params"] == ast.literal_eval(said["params"])
        runs = frames.confirmations[frames.confirmations["study"] == study.name]
        assert len(runs) == said["runs"]
        through = runs[runs["outcome"] == "complete"]
        assert (runs["confirms"] == said["number"]).all()
        assert len(through) == said["runs_complete"]
        if len(through) == len(runs):
            assert through["value"].mean() == pytest.approx(said["validation"], rel=1e-9)


@pytest.mark.nightly
def test_its_report_names_the_protocol_and_does_not_say_who_drew_its_trials(
    storage, searched, tmp_path, monkeypatch
) -> None:
    draw_nothing(monkeypatch)
    options = report.Options(workers=1, num_refits=2)
    report.write(storage, searched[:4], tmp_path / "out", title="quickstart", source="there", options=options)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "protocol 1" in page
    assert "how many of the trials the model drew is not known" in page
    methods = (tmp_path / "out" / "methods.md").read_text()
    assert "protocol 1" in methods
    assert "how many of the trials the model drew is not known" in methods


def test_status_list_and_export_show_it(database, sofim) -> None:
    code, out, err = sofim("status", "quickstart")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "quickstart: finished"
    assert sum("30/30" in line for line in out.splitlines()) == 14
    assert "breast-cancer-logreg, confirmation runs of winners: " in out
    assert "lbfgs 2 complete, 1 diverged" in out
    code, out, err = sofim("list")
    assert (code, err) == (0, "")
    assert "quickstart" in out
    code, out, err = sofim("export", "quickstart", "--winner", "--optimizer", "sgd")
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["campaigns"]["quickstart"]["protocol"] == 1


def test_the_dashboard_shows_it(storage, searched, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("analysis.dashboard._service.FIRST_WAIT_SECONDS", 250.0)  # a busy machine refreshes late
    said: list[str] = []
    with closing(AnnotationService(storage, NoteContext((), tmp_path), said.append)) as service:
        service.touch(searched[0].study_id)
        shown = service.annotation(searched[0].study_id)
    assert said == []
    assert shown is not None
    assert "15 complete, 15 pruned" in shown.note


@pytest.mark.parametrize(
    "command",
    [
        "launch quickstart",
        "launch quickstart --seed 7",
        "confirm quickstart",
        "confirm quickstart --seeds 4",
        "evaluate quickstart --winner --optimizer sgd",
    ],
)
def test_nothing_is_added_to_it(database, sofim, command) -> None:
    """Neither is it said that nothing is left to run."""
    code, _, err = sofim(*command.split())
    assert code == 2
    remedy = (
        r"give this one another name with --name|search again, under another name: .*launch quickstart --name NAME.*"
    )
    assert re.fullmatch(
        r"sofim: campaign 'quickstart' was run under protocol 1, this is protocol 2, and their values do not compare; "
        rf"({remedy})\n",
        err,
    ), err


def test_neither_is_it_extended(database, sofim) -> None:
    code, _, err = sofim("launch", "quickstart", "--extend", "--trials", "31")
    assert code == 2
    assert err.count("\n") == 1
    assert "give this one another name with --name" in err


def test_a_search_that_was_killed_under_it_is_not_gone_on_with(tmp_path, monkeypatch, sofim) -> None:
    path = unpacked("half.db.xz", tmp_path)
    before = path.read_bytes()
    monkeypatch.setenv("SOFIM_STORAGE", f"sqlite:///{path}")
    code, _, err = sofim("launch", "quickstart", "--name", "half", "--trials", "12")
    assert code == 2
    assert err.startswith("sofim: campaign 'half' was run under protocol 1, this is protocol 2")
    assert err.count("\n") == 1
    assert path.read_bytes() == before
