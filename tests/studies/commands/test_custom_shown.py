"""Optimizers of a person's own are shown as the table's are, where their package is not installed, by whatever name."""

from __future__ import annotations

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from analysis.figures._looks import looks
from search_spaces.errors import UserError
from studies.commands.recommended import recommended
from studies.storage.database import close_storage, open_storage
from tests.support.custom_campaign import GONE, make_custom

URL = "sqlite:///sofim.db"
NAMES = {"<b>mine & co": "adamw", "λ-βελτιστοποιητής": "sgd", "retired": "adam"}
CUSTOM: dict[str, dict[str, Any]] = {
    "<b>mine & co": {"factory": f"{GONE}:Lion", "arguments": {"betas": ["beta1", "beta2"], "amsgrad": True}},
    "λ-βελτιστοποιητής": {"spec": f"{GONE}.deep:spec"},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("custom")
    make_custom(f"sqlite:///{home}/sofim.db", CUSTOM, NAMES, optimizers=["sgd"])
    return home


@pytest.fixture
def home(database, monkeypatch) -> Path:
    assert find_spec(GONE) is None
    monkeypatch.chdir(database)
    return database


@pytest.mark.slow
def test_they_are_listed_counted_and_exported(sofim, home) -> None:
    code, out, err = sofim("list")
    assert (code, err) == (0, "")
    assert f"<b>mine & co       {GONE}:Lion with betas = (beta1, beta2)" in out
    code, out, err = sofim("status", "fake")
    assert (code, err) == (0, "")
    assert all(name in out for name in NAMES)
    code, out, err = sofim("export", "fake", "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)["optimizers"]
    assert set(found) == {"sgd", *NAMES}
    assert found["<b>mine & co"]["optimizer"] == CUSTOM["<b>mine & co"]
    assert "optimizer" not in found["sgd"]


@pytest.mark.slow
def test_of_a_name_that_nobody_knows_what_was_searched_is_exported_and_no_arguments(sofim, home) -> None:
    code, out, err = sofim("export", "fake", "--optimizer", "retired")
    assert (code, err) == (0, "")
    entry = tomllib.loads(out)["optimizers"]["retired"]["workloads"]["digits-mlp"]
    assert "arguments" not in entry
    assert {"lr", "beta1", "beta2", "batch_size"} <= set(entry["params"])
    assert "this version knows no optimizer retired" in entry["notes"][-1]
    code, out, err = sofim("export", "fake", "--optimizer", "retired", "--format", "python")
    assert (code, err) == (0, "")
    assert all(line.startswith("#") or not line for line in out.splitlines()), "it is no code"
    assert "lr=" in out


def test_what_would_train_it_is_refused_in_one_line(sofim, home) -> None:
    code, out, err = sofim("evaluate", "fake", "--optimizer", "retired")
    assert (code, out) == (2, "")
    assert "retired" in err
    assert len(err.splitlines()) == 1
    assert err.count("another version") == 1


@pytest.mark.nightly
@pytest.mark.slow
def test_a_report_has_a_look_of_its_own_for_each_and_no_name_is_markup(sofim, home, tmp_path) -> None:
    code, _, err = sofim("report", "fake", "--out", str(tmp_path / "out"))
    assert (code, err.count("Traceback")) == (0, 0)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<b>mine" not in page
    assert "&lt;b&gt;mine &amp; co" in page
    of_campaign = looks(["sgd", *NAMES])
    assert len({look.colour for look in of_campaign.values()}) == 4
    for name, look in of_campaign.items():
        assert page.count(str(look.chip)) >= 3, name
    methods = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert f"<b>mine & co ({GONE}:Lion with betas = (beta1, beta2))" in methods
    assert f"λ-βελτιστοποιητής ({GONE}.deep:spec)" in methods
    rules = (tmp_path / "out" / "tables" / "fairness.csv").read_text(encoding="utf-8")
    assert f"<b>mine & co is the campaign's own, {GONE}:Lion" in rules
    assert "amsgrad = True" in rules


@pytest.mark.slow
def test_two_campaigns_that_call_different_optimizers_alike_are_not_put_together(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/two.db"
    for name, factory in (("one", "mine:Lion"), ("two", "yours:Lion")):
        make_custom(url, {"cat": {"factory": factory}}, {"cat": "adam"}, optimizers=["sgd"], trials=2, name=name)
    storage = open_storage(url)
    with pytest.raises(UserError, match=r"cat is mine:Lion in campaign 'one' and yours:Lion in 'two'; name the camp"):
        recommended(storage, url, ["one", "two"])
    close_storage(storage)
