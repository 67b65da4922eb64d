"""The report as a person meets it: in a browser, wide and narrow, in light and dark, and on paper."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from tests.analysis.report.test_write import hostile_study
from tests.studies.commands.test_dashboard import dashboard
from tests.support.browser import PATIENCE, no_complaints, opened_browser
from tests.support.probe_home import called
from tests.support.report_studies import confirm, draw_less, make, ridge

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SCREENS = {"wide": (1400, 1000), "narrow": (360, 740)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("report")
    url = f"sqlite:///{home}/sofim.db"
    confirm(url, make(url, ridge, trials=60, optimizers=["sofim", "sgd"]), shared="sgd")
    with pytest.MonkeyPatch.context() as patch:
        draw_less(patch)
        done = called(home, "report", "fake", "--publish")
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said[said.index("Report: reports/fake/index.html") + 1 :][:3] == [
        "The findings are on the studies as notes, which the dashboard shows.", "", "Next:"
    ]  # fmt: skip
    return home


def opened(browser: Browser, path: Path, screen: str, scheme: str) -> Page:
    width, height = SCREENS[screen]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    return page


def brightness(page: Page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_fits_and_is_read_on_every_screen(browser, home, screen: str, scheme: str) -> None:
    path = home / "reports" / "fake" / "index.html"
    page = opened(browser, path, screen, scheme)
    with no_complaints(page, "file:"):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0], "it scrolls sideways"
        if screen == "wide":
            beyond = page.evaluate(
                """[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth + 1)
                     .map(box => box.innerText.slice(0, 80))"""
            )
            assert beyond == [], "columns off the screen"
        paper = np.median(brightness(page))
        assert paper > 240 if scheme == "light" else paper < 40
        texts = page.locator(".panel svg text").all()
        assert len(texts) > 50
        sizes = page.evaluate(
            """[...document.querySelectorAll('.panel svg')].flatMap(svg => {
                 const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
                 const sizeOf = text => parseFloat(getComputedStyle(text).fontSize) * scale;
                 return [...svg.querySelectorAll('text')].map(sizeOf);
               })"""
        )
        assert min(sizes) > 7.5, "labels that nobody can read"
        inks = set(
            page.evaluate("[...document.querySelectorAll('.panel svg text')].map(text => getComputedStyle(text).fill)")
        )
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert inks <= {ink, "rgb(255, 255, 255)"}, "white is for the lines on the map"
        outside = page.evaluate(
            """[...document.querySelectorAll('.panel svg')].filter(svg => {
                 const box = svg.getBoundingClientRect();
                 return [...svg.querySelectorAll('text')].some(text => {
                   const own = text.getBoundingClientRect();
                   return own.left < box.left - 1 || own.right > box.right + 1;
                 });
               }).map(svg => svg.getAttribute('aria-label'))"""
        )
        assert outside == [], "labels cut off"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_confirmed_campaign_says_who_is_better_and_which_rule_was_broken_in_red(browser, home, scheme: str) -> None:
    page = opened(browser, home, "wide", scheme)
    page.goto((home / "reports" / "fake" / "index.html").as_uri())
    top = page.locator("#answer").inner_text()
    assert "the configurations of two optimizers cannot be told apart" in top
    assert "One search of each was confirmed" in top
    assert "Not every rule of a fair comparison was kept" in top
    assert "was not kept" not in page.locator("#in-short").inner_text(), "once is enough"
    for workload in ("digits-mlp", "breast-cancer-logreg"):
        assert f"Seconds on {workload} do not compare: runs shared a device" in top
    broken = page.locator("#answer li.alert", has_text="shared a device").all_inner_texts()
    assert len(broken) == len(set(broken)) >= 1
    for workload in ("digits-mlp", "breast-cancer-logreg"):
        chapter = page.locator(f"section:has(h2:text('Comparison on {workload}'))")
        assert "10 confirmation runs" in chapter.inner_text()
        assert chapter.locator("figure").count() >= 3
        assert "seconds" not in " ".join(chapter.locator("th").all_inner_texts())
        assert not chapter.locator(".panel svg[aria-label*=seconds]").count()
    rules = page.locator("#fairness table", has_text="fairness").locator("tbody tr")
    assert rules.count() == len({row.locator("td").first.inner_text() for row in rules.all()}), "each rule once"
    for row in rules.all():
        kept = row.locator("td").nth(2).inner_text()
        red, green, blue = (
            int(part)
            for part in re.findall(r"\d+", row.locator("td").first.evaluate("td => getComputedStyle(td).color"))
        )
        assert (kept == "no") == (red > 1.5 * max(green, blue)), row.inner_text()
    assert [row.locator("td").first.inner_text() for row in rules.all() if "shared a device" in row.inner_text()] == [
        "3",
    ]  # fmt: skip
    page.close()


def test_the_first_screen_answers(browser, home) -> None:
    """On a usual screen, without a click: who, how sure, with which hyperparameters, at which cost, and a figure."""
    page = opened(browser, home, "wide", "light")
    page.goto((home / "reports" / "fake" / "index.html").as_uri())
    tables = page.locator("table.answer")
    assert tables.count() == 2
    height = SCREENS["wide"][1]
    for seen in (page.locator("#answer .lead"), *tables.all(), page.locator("#answer .panel svg").first):
        box = seen.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height, seen.inner_text()
        assert box["x"] + box["width"] <= SCREENS["wide"][0]
    first = tables.first.inner_text()
    assert "ranked by test accuracy (higher is better)" in first
    assert "ranked by training gap (lower is better)" in tables.nth(1).inner_text()
    assert "lr=" in first
    assert "3 epochs · 30 evaluations" in first
    assert "60 trials, 1 search, 5 runs" in first
    for table in tables.all():
        assert [row.locator("td").nth(2).inner_text() for row in table.locator("tbody tr").all()] == ["yes", "yes"]
    assert "sofim export fake" in page.locator("#answer").inner_text()
    assert page.locator("#answer details, #in-short details").count() == 0, "nothing that is needed is folded"
    page.close()


@pytest.mark.parametrize("how", ["mouse", "keyboard", "no clipboard"])
def test_hyperparameters_are_copied_with_all_their_digits(browser, home, how: str) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    if how != "no clipboard":
        context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        context.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    with no_complaints(page, "file:"):
        page.goto((home / "reports" / "fake" / "index.html").as_uri())
        button = page.locator("table.answer button.copy").first
        wanted = button.get_attribute("data-copy")
        page.evaluate(
            "window.setTimeout = () => 0"
        )  # what it says is there for two seconds: a busy machine looks later
        if how == "keyboard":
            button.focus()
            page.keyboard.press("Enter")
        else:
            button.click()
        if how == "no clipboard":
            page.locator("button", has_text=re.compile("Copied|Ctrl")).wait_for()
        else:
            page.locator("button", has_text="Copied").wait_for()
            assert page.evaluate("navigator.clipboard.readText()") == wanted
    assert wanted is not None
    assert re.search(r"lr=\d\.\d{6,}", wanted), wanted
    context.close()


def test_a_click_sorts_a_table_and_another_turns_it(browser, home) -> None:
    path = home / "reports" / "fake" / "index.html"
    page = opened(browser, path, "wide", "light")
    with no_complaints(page, "file:"):
        page.goto(path.as_uri())
        table = page.locator("table", has_text="importance").first
        head = table.locator("th", has_text="total order")
        keys = "rows => rows.map(row => Number(row.cells[2].dataset.key))"
        for direction in ("ascending", "descending"):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == direction
            found = table.locator("tbody tr").evaluate_all(keys)
            assert found == sorted(found, reverse=direction == "descending")
            assert len(set(found)) > 3
        table.locator("th", has_text="parameter").locator("button").click()
        assert table.locator("th[aria-sort]").count() == 1
    page.close()


def test_on_paper_everything_is_open_and_black_on_white(browser, home) -> None:
    path = home / "reports" / "fake" / "index.html"
    page = opened(browser, path, "wide", "dark")
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = false)")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".panel svg").first.is_visible()
    assert len(page.pdf()) > 50_000
    page.close()


@pytest.mark.nightly
def test_nothing_of_a_hostile_study_runs(browser, tmp_path: Path, monkeypatch) -> None:
    hostile_study(tmp_path)
    draw_less(monkeypatch)
    done = called(tmp_path, "report", "--study", "<script>window.hit = 1</script>/../x", "--publish", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    page = opened(browser, tmp_path / "out" / "index.html", "wide", "light")
    with no_complaints(page, "file:"):
        page.goto((tmp_path / "out" / "index.html").as_uri())
        for figure in sorted((tmp_path / "out" / "figures").glob("*.svg")):
            assert page.evaluate("window.hit") is None
            page.goto(figure.as_uri())
    assert page.evaluate("window.hit") is None
    with dashboard(tmp_path) as url, no_complaints(page, url):
        page.goto(f"{url}dashboard/studies/1/note")
        expect(page.get_by_text("Sensitivity (sofim report)")).to_be_visible()
        expect(page.locator("li", has_text="<script>window.hit = 1</script>").first).to_be_visible()
        assert page.evaluate("window.hit") is None
    page.close()


def test_the_script_is_the_only_one_that_may_run(browser, home, tmp_path: Path) -> None:
    """Should anything ever get past the escaping, the browser still refuses it."""
    text = (home / "reports" / "fake" / "index.html").read_text(encoding="utf-8")
    spoilt = tmp_path / "index.html"
    spoilt.write_text(text.replace("<main>", "<main><script>window.hit = 1</script><img src=x onerror='window.hit=1'>"))
    page = opened(browser, spoilt, "wide", "light")
    page.goto(spoilt.as_uri())
    assert page.evaluate("window.hit") is None
    page.close()


# ------------------------------------------------------------------------------- a study of another program


@pytest.mark.nightly
def test_a_study_of_plain_optuna_and_scikit_learn_gets_its_report(browser, tmp_path: Path, monkeypatch) -> None:
    draw_less(monkeypatch)
    url = f"sqlite:///{tmp_path}/other.db"
    images, digits = load_digits(return_X_y=True)
    seen, unseen, known, asked = train_test_split(images / 16, digits, random_state=0)
    study = optuna.create_study(
        study_name="sgd on digits",
        storage=url,
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )

    def objective(trial: optuna.Trial) -> float:
        penalty = trial.suggest_categorical("penalty", ["l2", "l1", "elasticnet"])
        model = SGDClassifier(
            penalty=penalty,
            alpha=trial.suggest_float("alpha", 1e-7, 10.0, log=True),
            l1_ratio=trial.suggest_float("l1_ratio", 0.0, 1.0) if penalty == "elasticnet" else 0.15,
            learning_rate="constant",
            eta0=trial.suggest_float("eta0", 1e-4, 10.0, log=True),
            random_state=0,
        )
        for epoch in range(4):
            model.partial_fit(seen, known, classes=np.arange(10))
            trial.report(model.score(unseen, asked), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(model.score(unseen, asked))

    study.optimize(objective, n_trials=120)
    states = [trial.state.name for trial in study.trials]
    assert {"COMPLETE", "PRUNED"} <= set(states)
    done = called(tmp_path, "report", "--study", "sgd on digits", "--storage", url, "--publish")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sgd on digits: done" in done.stdout
    page = opened(browser, tmp_path / "reports" / "sgd-on-digits" / "index.html", "narrow", "dark")
    with no_complaints(page, "file:"):
        page.goto((tmp_path / "reports" / "sgd-on-digits" / "index.html").as_uri())
        text = page.locator("body").inner_text()
    page.close()
    assert f"{states.count('COMPLETE')} complete, {states.count('PRUNED')} pruned" in text
    assert "alpha explains" in text
    assert "l1_ratio is active in" in text
    assert "Without a default (" in text
    storage = optuna.storages.RDBStorage(url)
    attributes = storage.get_study_system_attrs(study._study_id)
    storage.engine.dispose()
    assert "alpha explains" in json.dumps(attributes)
