"""Optuna's dashboard as a person meets it: ``sofim dashboard``, a browser, and a driver that goes on writing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from playwright.sync_api import Page, expect

from studies.storage.database import close_storage, open_storage
from tests.analysis.dashboard.test_notes import EVIL, evil_study
from tests.support.browser import PATIENCE, no_complaints, opened_browser

pytestmark = pytest.mark.slow

SOFIM = Path(sys.executable).with_name("sofim")
ROOT = Path(__file__).parents[3]
STUDIES = {1: 4, 2: 4, 3: 1, 4: 1}  # by study_id, the epoch of the best value: two are minimized
PAGE = '<meta name="generator" content="SOFIM Studies"><title>fake: which optimizer?</title><h1>The report itself</h1>'
# A driver that ends some trials at once and then three a second, of a metric that the learning rate decides and
# `expected` knows, until a line comes; then it says how many there were.
DRIVER = f"""
import select, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.fake_campaign import campaign, open_ledger, record
from tests.studies.commands.test_dashboard import expected
with open_ledger("sqlite:///sofim.db", campaign(trials=100_000)) as ledger:
    ended, nap = 0, 0.0
    while not select.select([sys.stdin], [], [], nap)[0]:
        assignment = ledger.ask()
        for epoch in (1, 2, 3, 4):
            ledger.report(assignment, record(epoch, expected(assignment.arguments, epoch), 0.5 * epoch))
        select.select([sys.stdin], [], [], nap)
        if assignment.number % 10 == 9:
            ledger.end(assignment, "diverged", {{"device": "cpu"}})
        else:
            ledger.end(assignment, "complete", {{"device": "cpu"}})
        ended += 1
        if ended == 120:
            nap = 0.15
            print("go on", flush=True)
print(ended, flush=True)
"""


# `sofim dashboard` in which a thread begins to read notes just before importances are asked for, and ends meanwhile.
MEANWHILE = """
import threading, warnings
import optuna_dashboard._importance as importance
from studies.cli import main

begun, end = threading.Event(), threading.Event()

def read():
    with warnings.catch_warnings():
        begun.set()
        end.wait()

reader = threading.Thread(target=read)
made, computed = importance.StudyWrapper, importance.get_param_importances

def made_meanwhile(*arguments):
    reader.start()
    begun.wait()
    return made(*arguments)

def computed_meanwhile(*arguments, **options):
    end.set()
    reader.join()
    return computed(*arguments, **options)

importance.StudyWrapper, importance.get_param_importances = made_meanwhile, computed_meanwhile
main()
"""


def expected(arguments: Any, epoch: int) -> float:
    """The metric after an epoch."""
    lr: float = arguments["lr"]
    return 1 / (1 + lr) - 0.1 / epoch


def start(home: Path, *command: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    environment = {**os.environ, "PATH": f"{SOFIM.parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen(
        [sys.executable, *command], cwd=home, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    )


@contextmanager
def dashboard(home: Path, *options: str, program: Sequence[str] = (str(SOFIM),)) -> Iterator[str]:
    """Start it as people do; after the block, Ctrl-C ends it in one line."""
    with start(home, "-W", "error", *program, "dashboard", "--port", "0", *options) as server:
        try:
            said = server.stdout.readline()  # type: ignore[union-attr]
            url = re.fullmatch(
                r"Optuna's dashboard on sqlite:///sofim\.db: (http://127\.0\.0\.1:\d+/) \(Ctrl-C stops it\)\n", said
            )
            assert url, said + server.stderr.read()  # type: ignore[union-attr]
            yield url[1]
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=240)
            assert (server.returncode, out, err) == (130, "", "\nsofim: interrupted\n")
        finally:
            server.kill()


@pytest.fixture(scope="module")
def driver(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Writes trials into the database at ``home``."""
    with start(home, "-c", DRIVER) as process:
        try:
            assert process.stdout.readline() == "go on\n", process.stderr.read()  # type: ignore[union-attr]
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("notes")
    (made / "reports" / "fake").mkdir(parents=True)
    (made / "reports" / "fake" / "index.html").write_text(PAGE)
    return made


@pytest.fixture(scope="module")
def url(home: Path, driver: subprocess.Popen[str]) -> Iterator[str]:
    with dashboard(home) as found:
        yield found


@pytest.fixture(scope="module")
def browser_page(url: str) -> Iterator[Page]:
    with opened_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        yield page


@pytest.fixture
def page(browser_page: Page, url: str) -> Iterator[Page]:
    browser_page.set_viewport_size({"width": 1400, "height": 1000})
    with no_complaints(browser_page, url):
        yield browser_page


def test_the_studies_are_listed_with_their_directions(page: Page, url: str) -> None:
    page.goto(url)
    for name, direction in (
        ("fake/digits-mlp/sofim", "MAXIMIZE"),
        ("fake/digits-mlp/sgd", "MAXIMIZE"),
        ("fake/breast-cancer-logreg/sofim", "MINIMIZE"),
        ("fake/breast-cancer-logreg/sgd", "MINIMIZE"),
    ):
        card = page.get_by_role("link").filter(has_text=name)
        expect(card).to_contain_text(f"Direction: {direction}", timeout=PATIENCE)


def test_a_study_shows_its_metric_and_its_parameters_by_their_names(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_text("fake/digits-mlp/sofim").click()
    history = page.locator(".js-plotly-plot").first
    expect(history.locator(".ytitle")).to_have_text("accuracy", timeout=PATIENCE)
    expect(history.locator(".xtitle")).to_have_text("Trial")
    expect(history.locator(".scatterlayer .point").first).to_be_visible()
    body = page.locator("body")
    expect(body).to_contain_text("Best Trial (number=")
    params = r"Params = \[lr: \S+, rho: \S+, beta: 0\.\d+, weight_decay: \S+, batch_size: \d+\]"
    expect(body).to_contain_text(re.compile(params))
    importances = page.locator(".js-plotly-plot", has_text="Hyperparameter Importance")
    expect(importances).to_contain_text("beta", timeout=PATIENCE)


def test_a_trial_shows_the_arguments_it_ran_with(page: Page, url: str, home: Path) -> None:
    """Momentum is searched as 1 - beta, but nobody is to see that."""
    storage = open_storage(f"sqlite:///{home}/sofim.db")
    try:
        study = storage.get_study_id_from_name("fake/digits-mlp/sofim")
        trial = storage.get_all_trials(study)[0]
    finally:
        close_storage(storage)
    assert 0.4 < trial.params["beta"] < 1
    page.goto(f"{url}dashboard/studies/{study}/trials?numbers=0")
    body = page.locator("body")
    expect(body).to_contain_text("Trial 0 (trial_id=", timeout=PATIENCE)
    for name, value in trial.params.items():
        expect(body).to_contain_text(f"{name} {value}")
    expect(body).to_contain_text(f"Value{trial.value}")
    expect(body).to_contain_text("gradient_evaluations 10")
    expect(body).to_contain_text(re.compile(r"history .*\"accuracy\": \["))


def test_what_the_driver_writes_meanwhile_is_seen(page: Page, url: str) -> None:
    def count() -> int:
        page.goto(f"{url}dashboard/studies/1/trials")
        label = page.get_by_text(re.compile(r"^[1-9]\d* Trials$"))
        return int(label.text_content(timeout=PATIENCE).split()[0])

    first = count()
    assert first >= 7
    expect(page.get_by_text("Complete", exact=True).first).to_be_visible(timeout=PATIENCE)
    while count() <= first:  # the driver ends ten trials a second, or what a busy machine lets it
        page.wait_for_timeout(200)


@pytest.mark.parametrize("width", [1400, 390])
def test_a_note_says_what_the_study_is(page: Page, url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(f"{url}dashboard/studies/1/note")
    body = page.locator("body")
    expect(body).to_contain_text("sofim on digits-mlp in campaign fake: validation accuracy", timeout=PATIENCE)
    expect(body).to_contain_text(re.compile(r"Trials: \d+ of 100000 ended \(\d+ complete, \d+ diverged"))
    export = page.locator("code", has_text="sofim export fake --optimizer sofim --workload digits-mlp")
    expect(export).to_be_visible()
    box = export.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width
    expect(page.get_by_role("cell", name="weight_decay")).to_be_visible()


def test_both_plots_are_drawn_while_the_driver_writes(page: Page, url: str) -> None:
    page.goto(f"{url}dashboard/studies/2")
    convergence = page.locator("[id='user-defined-plot:sofim-convergence']")
    expect(convergence).to_contain_text("Convergence", timeout=PATIENCE)
    expect(convergence.locator(".ytitle")).to_have_text("accuracy (higher is better)")
    expect(convergence.locator(".scatterlayer .js-line")).to_have_count(5)
    expect(convergence.locator(".legend")).to_contain_text(", the best")
    importance = page.locator("[id='user-defined-plot:sofim-importance']")
    expect(importance).to_contain_text("whole space: out-of-bag R²", timeout=PATIENCE)
    expect(importance.locator(".ytick", has_text="momentum").first).to_be_visible()
    expect(importance.locator(".legend")).to_contain_text("reached without any effect")
    assert importance.locator(".scatterlayer .point").count() >= 8


def test_the_report_is_a_link_away_and_has_no_say(page: Page, url: str) -> None:
    page.goto(f"{url}dashboard/studies/1/note")
    page.get_by_role("link", name="The report on fake").click()
    expect(page.get_by_role("heading")).to_have_text("The report itself")
    assert page.evaluate("window.origin") == "null"


def test_whoever_edits_a_note_can_save_it_though_trials_end_meanwhile(browser_page: Page, url: str) -> None:
    browser = browser_page.context.browser
    assert browser is not None
    page = browser.new_page()  # not the fixture's: optuna-dashboard 0.21 complains of its own empty answer to a save

    def ended() -> int:
        line = page.get_by_text(re.compile(r"Trials: \d+ of")).text_content(timeout=PATIENCE) or ""
        return int(line.split()[1])

    page.clock.install()
    page.goto(f"{url}dashboard/studies/1/note")
    before = ended()
    page.locator("[class*=MuiCard] button").first.click()
    editor = page.locator("textarea").first
    editor.fill("Ask **Ada** first.\n\n" + editor.input_value())
    for _ in range(2):  # the first answer may have been on its way
        with page.expect_response(re.compile(r"/api/studies/1(\?|$)"), timeout=PATIENCE):
            page.clock.fast_forward(10_000)  # the page asks again, every ten seconds
    with page.expect_response(re.compile("/api/studies/1/note")) as answer:
        page.get_by_role("button", name="Save").click()
    assert answer.value.status == 204
    page.close()
    page = browser.new_page()
    page.goto(f"{url}dashboard/studies/1/note")
    expect(page.locator("strong", has_text="Ada")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("heading", name="About this study (sofim dashboard)")).to_have_count(1)
    while ended() <= before:  # trials end all the time, and notes follow when somebody looks
        page.wait_for_timeout(1000)
        page.reload()
    page.close()


@pytest.mark.nightly
def test_names_are_shown_as_they_are(page: Page, url: str, home: Path) -> None:
    storage = open_storage(f"sqlite:///{home}/sofim.db")
    assert isinstance(storage, RDBStorage)
    try:
        evil = evil_study(storage)._study_id
    finally:
        close_storage(storage)
    page.goto(f"{url}dashboard/studies/{evil}/note")
    body = page.locator("body")
    expect(body).to_contain_text(f"{EVIL} on {EVIL} in campaign {EVIL}", timeout=PATIENCE)
    expect(page.get_by_role("cell", name=EVIL, exact=True)).to_be_visible()
    expect(page.locator("code", has_text="sofim export")).to_contain_text(EVIL)
    assert page.locator("img").count() == 0
    page.goto(f"{url}dashboard/studies/{evil}")
    convergence = page.locator("[id='user-defined-plot:sofim-convergence']")
    expect(convergence.locator(".ytitle")).to_contain_text("<img", timeout=PATIENCE)
    assert page.locator("img").count() == 0


def test_nobody_on_another_address_is_answered(url: str) -> None:
    port = urlsplit(url).port
    addresses = {
        address.address
        for listed in psutil.net_if_addrs().values()
        for address in listed
        if address.family == socket.AF_INET and address.address != "127.0.0.1"
    }
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    for address in (*addresses, "127.0.0.2"):
        with pytest.raises(OSError, match=r"refused|timed out|unreachable|assign"):
            socket.create_connection((address, port), timeout=5).close()


@pytest.mark.usefixtures("driver")
def test_a_browser_that_breaks_off_or_stays_is_no_traceback(home: Path) -> None:
    with dashboard(home) as url:
        address = ("127.0.0.1", urlsplit(url).port)
        browser = socket.create_connection(address)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is then a reset
        browser.sendall(b"GET /dash")
        browser.close()
        with urllib.request.urlopen(url) as answer:  # it was taken after the other
            assert answer.status == 200
        staying = socket.create_connection(address)
    staying.close()


@pytest.mark.usefixtures("driver")
def test_importances_are_answered_while_another_thread_stops_to_silence_warnings(home: Path) -> None:
    """In a process whose warnings are errors: `catch_warnings` that ends in one thread ends what others silenced."""
    with (
        dashboard(home, program=("-c", MEANWHILE)) as url,
        urllib.request.urlopen(f"{url}api/studies/1/param_importances") as answer,
    ):
        assert answer.status == 200
        assert {entry["name"] for entry in json.load(answer)["param_importances"][0]} >= {"lr", "rho"}


def test_what_the_driver_wrote_meanwhile_is_all_there_and_exact(
    driver: subprocess.Popen[str], home: Path, url: str
) -> None:
    out, err = driver.communicate("enough\n", timeout=240)
    assert (driver.returncode, err) == (0, "")
    storage = open_storage(f"sqlite:///{home}/sofim.db")
    try:
        found = [storage.get_all_trials(study_id) for study_id in STUDIES]
        attributes = [storage.get_study_system_attrs(study_id) for study_id in STUDIES]
    finally:
        close_storage(storage)
    assert sum(map(len, found)) == int(out)
    for trials, last in zip(found, STUDIES.values(), strict=True):
        assert [trial.number for trial in trials] == list(range(len(trials)))
        for trial in trials:
            assert trial.intermediate_values == {epoch: expected(trial.params, epoch) for epoch in (1, 2, 3, 4)}
            diverged = trial.number % 10 == 9
            assert trial.state == (TrialState.PRUNED if diverged else TrialState.COMPLETE)
            assert trial.value == expected(trial.params, 4 if diverged else last)  # of a pruned one, the last
    assert not [name for own in attributes for name in own if "plot" in name]


@pytest.mark.nightly
def test_without_notes_the_storage_is_shown_as_it_is_and_with_notes_it_stays_so(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/sofim.db"
    evil_study(RDBStorage(storage))
    file = tmp_path / "sofim.db"
    before = hashlib.sha256(file.read_bytes()).digest()
    for options, there in (((), True), (("--no-notes",), False)):
        with dashboard(tmp_path, *options) as url, urllib.request.urlopen(f"{url}api/studies/1") as answer:
            shown = answer.read().decode()
            assert ("About this study" in shown) is there
            assert ("sofim-convergence" in shown) is there
            with pytest.raises(urllib.error.HTTPError, match="404") as missing:
                urllib.request.urlopen(f"{url}reports/none/index.html")
            missing.value.close()
    assert hashlib.sha256(file.read_bytes()).digest() == before
