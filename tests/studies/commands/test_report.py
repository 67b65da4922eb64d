"""sofim report: where it writes, and one line for every mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from markupsafe import escape

from analysis.load import studies
from analysis.report import folder, is_of
from analysis.report._page import MAKER
from search_spaces.errors import UserError
from studies.cli import main
from studies.commands.find import existing
from studies.commands.report import _next, _usual_place
from studies.storage.database import close_storage
from tests.support.fake_campaign import make

FEW = {"digits-mlp/sofim": [0.5, ("pruned", 0.25), "diverged"], "digits-mlp/sgd": ["failed: ValueError: x", 0.75]}


@pytest.fixture
def sofim(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """The command in this very process, in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["report", *arguments])
        code = end.value.code
        return code if isinstance(code, int) else 0, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_a_campaign_is_named_as_it_was_launched(sofim) -> None:
    make("sqlite:///sofim.db", FEW, trials=3, workloads=["digits-mlp"])
    Path("mine.toml").write_text('name = "fake"\nworkloads = ["digits-mlp"]\noptimizers = ["sgd"]\ntrials = 9\n')
    for name in ("fake", "mine.toml"):
        code, out, err = sofim(name)
        assert (code, err) == (0, "")
        assert "fake/digits-mlp/sofim\n  No conclusion can be drawn: 3 trials are too few" in out
        assert "\nReport: reports/fake/index.html\n\nNext:\n  sofim launch fake " in out
    code, out, err = sofim("--study", "fake/digits-mlp/sgd", "--out", "here/there")
    assert (code, err) == (0, "")
    assert Path("here/there/index.html").is_file()
    assert "sofim" not in [line.strip() for line in out.splitlines()]


def test_the_report_on_another_campaign_is_not_replaced_by_chance(sofim) -> None:
    make("sqlite:///sofim.db", FEW, name="my_run", trials=3, workloads=["digits-mlp"])
    for name in ("a b", "a?", "a&b", "моя", "my_run", "my-run"):
        other, own = folder(name), Path("reports") / folder(name)
        own.mkdir(parents=True, exist_ok=True)
        page = own / "index.html"
        page.write_text(f"{MAKER}\n<title>{escape(name)}: which optimizer, how sensitive?</title>")
        assert (is_of(page, name), is_of(page, "a-b"), _usual_place(name)) == (True, False, own.absolute())
        page.write_text(f"{MAKER}\n<title>{other}!: which optimizer, how sensitive?</title>")
        with pytest.raises(UserError, match="has the report on another campaign; choose a directory with --out"):
            _usual_place(name)
    assert sorted(path.name for path in Path("reports").iterdir()) == ["a", "a-b", "my-run", "my_run", "моя"]
    says = "sofim: 'reports/my_run' has the report on another campaign; choose a directory with --out\n"
    assert sofim("my_run") == (2, "", says)


WHOLE = {"digits-mlp/sofim": [0.5] * 3, "digits-mlp/sgd": [0.5] * 3}
BROKEN = {name: ["failed: ValueError: x"] * 3 for name in WHOLE}


@pytest.mark.parametrize(
    ("outcomes", "confirmed", "commands"),
    [
        (FEW, False, ["launch", "export", "dashboard"]),
        (WHOLE, False, ["confirm", "export", "dashboard"]),
        (WHOLE, True, ["export", "dashboard"]),
        (BROKEN, False, ["status", "dashboard"]),
        ({"digits-mlp/sgd": ["diverged"]}, False, ["launch", "status", "dashboard"]),
    ],
)
def test_what_comes_next_is_what_does_not_refuse(tmp_path, outcomes, confirmed, commands) -> None:
    url = f"sqlite:///{tmp_path}/sofim.db"
    make(url, outcomes, trials=3, workloads=["digits-mlp"])
    with existing(url) as storage:
        found = studies(storage, "fake")
        assert _next(storage, found, confirmed=confirmed) == commands
        former = [replace(one, attributes={**one.attributes, "protocol": 1}) for one in found]
        of_today = ("launch", "confirm")
        assert _next(storage, former, confirmed=confirmed) == [name for name in commands if name not in of_today]


def several_objectives() -> None:
    storage = optuna.storages.RDBStorage("sqlite:///sofim.db")
    optuna.create_study(study_name="two", storage=storage, directions=["minimize", "maximize"])
    close_storage(storage)


MISTAKES = [
    ([], "name a campaign, or one study with --study NAME; sofim list shows the campaigns"),
    (["fake", "--study", "x"], "a campaign and one study with --study exclude each other; name one of them"),
    (
        ["fak"],
        "no campaign 'fak' in sqlite:///sofim.db; there are: fake; did you mean fake?; one study is named by --study",
    ),
    (["quickstart"], "no campaign 'quickstart' in sqlite:///sofim.db; there are: fake; one study is named by --study"),
    (
        ["--study", "fake/digits-mlp/sg"],
        "no study 'fake/digits-mlp/sg' in the storage; there are fake/digits-mlp/sofim, fake/digits-mlp/sgd, two; "
        "did you mean fake/digits-mlp/sgd?",
    ),
    (
        ["--study", "two"],
        "study 'two' has 2 objectives, and a sensitivity is of one: name it with --objective N (0 is values[0] "
        "(minimize), 1 is values[1] (maximize))",
    ),
    (["fake", "--storage", "sqlite:///other.db"], None),
    (["fake", "--out", "sofim.db"], None),
    (
        ["fake", "--out", "sofim.db/below"],
        "cannot write the report to 'sofim.db/below': Not a directory; choose another --out",
    ),
    (["fake", "--stopped", "mean"], None),
    (["fake", "--seed", "-1"], None),
    (["missing.toml"], None),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_gets_one_line_and_leaves_nothing(sofim, arguments, says) -> None:
    make("sqlite:///sofim.db", FEW, trials=3, workloads=["digits-mlp"])
    several_objectives()
    before = sorted(Path().iterdir())
    code, out, err = sofim(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("sofim: ")
    assert err.count("\n") == 1
    if says is not None:
        assert err == f"sofim: {says}\n"
    assert sorted(Path().iterdir()) == before
