"""The report directory: what is in it, what it says where there is little to say, and whom it trusts."""

from __future__ import annotations

import datetime
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from optuna_dashboard import get_note, save_note

from analysis import report
from analysis.load import studies, study
from analysis.report._atlas import PAGES
from search_spaces.errors import UserError
from studies.storage.database import close_storage, open_storage
from tests.support.report_studies import broken_trial, draw_nothing, make, plain_study, ridge

NOW = datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.UTC)
FEW = report.Options(num_refits=6, workers=1)
COLUMNS = {
    "importance": "study parameter first_order first_order_low first_order_high total_order total_order_low "
    "total_order_high stands_out region",
    "interactions": "study parameter_a parameter_b share share_low share_high",
    "robustness": "study parameter loss_percent best low high width unit share_of_range resolved",
    "tunability": "study parameter gain gain_low gain_high gain_percent",
    "partial_dependence": "study parameter position value predicted low high",
    "ablation": "study step parameter before after runs diverged measured measured_low measured_high gain gain_low "
    "gain_high",
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('db')}/sofim.db"
    make(url, ridge, trials=120)
    return url


@pytest.fixture
def storage(url):
    opened = open_storage(url, create=False)
    yield opened
    close_storage(opened)


def written(storage, out: Path, options: report.Options = FEW) -> report.Report:
    return report.write(
        storage, studies(storage), out, title="How sensitive?", source="sqlite:///sofim.db", options=options, now=NOW
    )


@pytest.fixture(scope="module")
def directory(url, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / "made" / "here"
    opened = open_storage(url, create=False)
    written(opened, out, report.Options(num_refits=6, workers=2))
    close_storage(opened)
    return out


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are empty files."""
    draw_nothing(monkeypatch)


class Links(HTMLParser):
    """Every address in a page, every id, and the tags that were never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "srcset", "action", "data"):
                self.addresses.append(str(value))
            if name == "id":
                self.ids.append(str(value))


def test_the_page_stands_alone_and_all_its_links_lead_somewhere(directory: Path) -> None:
    page = Links((directory / "index.html").read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids)), "an id twice: a figure would show a part of another"
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        elif not address.startswith("data:"):
            assert (directory / unquote(address)).is_file(), address
    assert not re.search(r"""(src|href|url\()=?["']?(https?:)?//""", (directory / "index.html").read_text())
    assert page.tags.count("script") == 1


def test_tables_have_the_columns_that_programs_read(directory: Path) -> None:
    for name, columns in COLUMNS.items():
        table = pd.read_csv(directory / "tables" / f"{name}.csv")
        assert [column for column in table if column in columns.split()] == columns.split()
        if name == "tunability":  # nothing was run beside the winners
            assert not len(table)
            continue
        assert set(table["study"]) == {
            f"fake/{workload}/{optimizer}"
            for workload in ("digits-mlp", "breast-cancer-logreg")
            for optimizer in ("sofim", "sgd")
        }
    exact = pd.read_csv(directory / "tables" / "importance.csv", nrows=1), COLUMNS["importance"].split()
    assert list(exact[0]) == exact[1]


def test_figures_come_as_vectors_and_as_pixels(directory: Path) -> None:
    drawings = {path.stem for path in (directory / "figures").glob("*.svg")}
    assert drawings == {path.stem for path in (directory / "figures").glob("*.png")}
    assert drawings == {path.stem for path in (directory / "figures").glob("*.pdf")}
    for figure in ("importance-all", "dependence-rho", "ridge", "local"):
        assert f"digits-mlp-sofim-{figure}" in drawings
    assert {"digits-mlp-sgd-robustness", "workloads-near-optimal-sgd-lr"} <= drawings
    for name in drawings:
        ET.parse(directory / "figures" / f"{name}.svg")
        assert (directory / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        printed = (directory / "figures" / f"{name}.pdf").read_bytes()
        assert printed.startswith(b"%PDF")
        assert b"/Type3" not in printed, "journals take no Type 3 fonts"
        assert b"/FontFile2" in printed, "fonts are in the file"
    ridge_of_sofim = (directory / "figures" / "digits-mlp-sofim-ridge.svg").read_text(encoding="utf-8")
    assert "η/ρ = 1<" in ridge_of_sofim, "the lines are named"


def test_the_summary_says_what_matters_how_much_and_how_far(directory: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", (directory / "index.html").read_text(encoding="utf-8"))
    summary = " ".join(text[text.index("In short") : text.index("All trials are counted")].split())
    assert re.search(r"lr explains \d+ % \[\d+, \d+\] of the explained variance, \d+ % \[\d+, \d+\] with", summary)
    assert re.search(r"within 5 % of the best \(\S+ at \w+ \S+\) anywhere between \S+ and \S+\.", summary)
    assert re.search(r"weight_decay.* not stand out from a parameter without effect", summary)
    assert "96 complete, 24 pruned" in text


@pytest.mark.nightly
def test_the_same_seed_gives_the_same_report_whatever_the_processes(
    storage, directory, tmp_path: Path, monkeypatch
) -> None:
    """Of figures the drawings are looked at; that their other files are the same again is in ``test_statements.py``."""

    def files(of: Path) -> dict[Path, bytes]:
        every = (path for path in of.rglob("*") if path.is_file() and path.suffix not in (".png", ".pdf"))
        return {path.relative_to(of): path.read_bytes() for path in every}

    draw_nothing(monkeypatch, "svg")
    written(storage, tmp_path / "again", report.Options(num_refits=6, workers=1))
    assert files(tmp_path / "again") == files(directory)
    draw_nothing(monkeypatch)
    other = report.write(
        storage, studies(storage)[:1], tmp_path / "other", title="", source="", options=report.Options(1, num_refits=6)
    )
    first = pd.read_csv(directory / "tables" / "importance.csv")
    mine = other.chapters[0].findings.importance
    assert not first["total_order"].head(len(mine)).equals(mine["total_order"])


def test_a_report_takes_the_place_of_an_older_one_and_of_nothing_else(tmp_path: Path, undrawn: None) -> None:
    made = unit_study("s", [i * 7 % 101 / 101 for i in range(60)], parameters=("x", "y"))
    few = unit_study("t", [i * 7 % 101 / 101 for i in range(5)])
    report.write(made._storage, [study(made._storage, "s")], tmp_path, title="", source="", options=FEW)
    assert (tmp_path / "figures" / "s-importance-all.svg").is_file()
    mine = [tmp_path / "figures" / "mine.png", tmp_path / "tables" / "mine.csv", tmp_path / "notes.txt"]
    for path in mine:
        path.write_text("keep")
    report.write(few._storage, [study(few._storage, "t")], tmp_path, title="", source="", options=FEW)
    assert [path.read_text() for path in mine] == ["keep"] * 3
    assert not list((tmp_path / "figures").glob("s-*"))
    linked = {address for address in Links((tmp_path / "index.html").read_text()).addresses if "/" in address}
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*/*") if path.is_file()}
    assert left - {"figures/mine.png", "tables/mine.csv"} == linked


def test_a_page_alone_has_every_figure_and_needs_no_other_file(
    storage, directory: Path, tmp_path: Path, undrawn: None
) -> None:
    out = tmp_path / "out"
    shutil.copytree(directory, out)
    assert {path.name for path in out.iterdir()} == {"index.html", "methods.md", "figures", "tables", *PAGES}
    (out / "mine.md").write_text("keep")

    alone = written(storage, out, replace(FEW, page_only=True))

    assert {path.relative_to(out).as_posix() for path in out.rglob("*")} == {"index.html", "mine.md"}
    assert alone.answers is None
    page, full = (path.read_text(encoding="utf-8") for path in (out / "index.html", directory / "index.html"))
    assert all(address.startswith(("#", "data:")) for address in Links(page).addresses)
    assert page.count("<figure") == full.count("<figure") > 10
    for name in (*(path.name for path in (directory / "tables").iterdir()), *PAGES, "methods.md"):
        assert name not in page, "it tells of a file that is not there"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda out: (out / "index.html").write_text("<p>my home page</p>"), r"is there and is no report; choose an"),
        (lambda out: (out / "tables").write_text("a file"), r"^cannot write the report to '.*out'.*; choose another"),
    ],
)
def test_a_directory_that_is_somebodys_is_refused(storage, tmp_path: Path, spoil, says: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    spoil(out)
    before = sorted((path, path.read_text()) for path in out.iterdir() if path.is_file())
    with pytest.raises(UserError, match=says):
        written(storage, out)
    assert sorted((path, path.read_text()) for path in out.iterdir() if path.is_file()) == before


def test_two_protocols_are_not_mixed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    make(url, ridge, trials=2)
    storage = open_storage(url, create=False)
    storage.set_study_user_attr(studies(storage)[1].study_id, "protocol", 999)
    with pytest.raises(UserError, match=r"different rules \(protocols 2 and 999\).*--study"):
        written(storage, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    close_storage(storage)


# ------------------------------------------------------------------------------------------------ little to say


def unit_study(name: str, values: list[float | None], *, states: TrialState = TrialState.COMPLETE, parameters=("x",)):
    """A study in memory; ``None`` is a trial that did not end well."""
    made = optuna.create_study(study_name=name)
    for number, value in enumerate(values):
        made.add_trial(
            create_trial(
                state=states if value is None else TrialState.COMPLETE,
                value=value,
                params={p: ((number * (7 + 4 * i)) % 101) / 101 for i, p in enumerate(parameters)},
                distributions={p: FloatDistribution(0, 1) for p in parameters},
            )
        )
    return made


LITTLE = {
    "no trial": (lambda: optuna.create_study(study_name="s"), "no trial has a value"),
    "too few": (lambda: unit_study("s", [1.0, 2.0, 3.0]), "3 trials are too few, at least 20 are needed"),
    "one parameter": (lambda: unit_study("s", [i * 7 % 101 / 101 for i in range(60)]), "x is the only parameter"),
    "constant": (lambda: unit_study("s", [0.5] * 40), "the metric is the same for all trials"),
    "all failed": (lambda: unit_study("s", [None] * 30, states=TrialState.FAIL), "no trial has a value"),
    "all pruned": (lambda: unit_study("s", [None] * 30, states=TrialState.PRUNED), "no trial has a value"),
    "no parameter": (lambda: unit_study("s", [float(i) for i in range(40)], parameters=()), "no parameter varies"),
    "only noise": (
        lambda: unit_study("s", [i * 37 % 41 / 41 for i in range(40)], parameters=("x", "y", "z")),
        "No conclusion can be drawn on importance",
    ),
    "infinite": (lambda: unit_study("s", [float("inf")] * 30), "no trial has a finite value"),
}


@pytest.mark.parametrize("case", LITTLE)
def test_where_there_is_little_to_say_that_is_said(case: str, tmp_path: Path, undrawn: None) -> None:
    make_study, says = LITTLE[case]
    storage = make_study()._storage
    made = report.write(storage, [study(storage, "s")], tmp_path, title="s", source="memory", options=FEW)
    assert says in made.index.read_text(encoding="utf-8")
    assert says in " ".join(made.chapters[0].findings.sentences)
    assert (tmp_path / "tables" / "importance.csv").read_text().startswith("study,parameter,first_order")
    assert made.chapters[0].findings.conclusive == (case == "one parameter")


def test_trials_that_failed_or_were_lost_are_counted(tmp_path: Path, undrawn: None) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    make(url, lambda *a: "failed: ValueError: <b>bold</b>" if a[2] == 1 else "running" if a[2] == 2 else 0.5, trials=4)
    storage = open_storage(url, create=False)
    made = report.write(storage, studies(storage)[:1], tmp_path / "out", title="", source="", options=FEW)
    text = made.index.read_text(encoding="utf-8")
    assert "2 complete, 1 failed, 1 lost" in text
    assert "1 × ValueError: &lt;b&gt;bold&lt;/b&gt;" in text
    close_storage(storage)


# ------------------------------------------------------------------------------------------- other people's names

HOSTILE = {
    "x": '--></text><script>window.hit = 1</script><img src=x onerror="window.hit = 1">',
    "units": "a$b_{c}\x1b[31m\x00" + "学" * 60,
    "kind": "../../etc/passwd",
}


def hostile_study(directory: Path) -> str:
    url = f"sqlite:///{directory}/sofim.db"
    made = plain_study(url, "<script>window.hit = 1</script>/../x", 80, **HOSTILE)
    broken_trial(made, "Traceback\n</pre><script>window.hit = 1</script>")
    return url


def test_names_from_outside_are_shown_and_never_run(tmp_path: Path, monkeypatch) -> None:
    draw_nothing(monkeypatch, "svg")
    url = hostile_study(tmp_path)
    storage = open_storage(url, create=False)
    name = "<script>window.hit = 1</script>/../x"
    out = tmp_path / "out"
    report.write(storage, [study(storage, name)], out, title=name, source="<b>", options=FEW)
    close_storage(storage)
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Links(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "&lt;script&gt;window.hit = 1&lt;/script&gt;" in text
    assert "\x1b" not in text
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db"]
    assert all(path.parent in (out, out / "tables", out / "figures") for path in files)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in files)
    for path in (out / "figures").glob("*.svg"):
        ET.parse(path)
    table = pd.read_csv(out / "tables" / "importance.csv")
    assert HOSTILE["x"] in set(table["parameter"]), "programs find the name as it is"


def test_a_note_keeps_what_people_wrote_and_is_replaced_not_repeated(tmp_path: Path, undrawn: None) -> None:
    values = [i * 7 % 101 / 101 for i in range(60)]
    made = unit_study("s", values, parameters=("x_1", "<b>y</b>"))
    storage = made._storage
    chapter = report.write(
        storage, [study(storage, "s")], tmp_path, title="", source="", options=FEW, now=NOW
    ).chapters[0]  # fmt: skip
    save_note(made, "Ask Ada before you delete this.")
    report.publish(storage, chapter, now=NOW)
    save_note(made, get_note(made) + "\nBelow.")
    report.publish(storage, chapter, now=NOW + datetime.timedelta(days=1))
    note = get_note(made)
    assert note.startswith("Ask Ada before you delete this.\n\n## Sensitivity (sofim report)\n")
    assert note.endswith("\nBelow.")
    assert note.count("## Sensitivity") == 1
    assert "2024-03-01" in note
    assert "2024-02-29" not in note
    assert "x\\_1 explains" in note
    assert "&lt;b&gt;y&lt;/b&gt;" in note
    assert "<b>" not in note
