"""Optuna's dashboard as a person meets it: ``sofim dashboard``, a browser, and a driver that goes on writing."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import optuna
import psutil
import pytest
from playwright.sync_api import Page, expect

from studies.storage.database import close_storage
from tests.support.browser import PATIENCE, no_complaints, opened_browser

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
# A driver that ends ten trials a second, every seventh of them diverged, until it is stopped.
DRIVER = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from tests.support.fake_campaign import campaign, end, open_ledger
with open_ledger("sqlite:///sofim.db", campaign(trials=100_000)) as ledger:
    for number in range(400_000):
        end(ledger, ledger.ask(), "diverged" if number % 7 == 5 else 0.5 + number % 10 / 32)
        time.sleep(0.1)
        print(number, flush=True)
"""


@contextmanager
def stopped_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    with process:  # closes its pipes, and waits
        try:
            yield process
        finally:
            process.kill()


def start(home: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    """A directory whose database is being written."""
    home = tmp_path_factory.mktemp("dashboard")
    with stopped_at_the_end(start(home, "-c", DRIVER)) as driver:
        for _ in range(30):
            assert driver.stdout.readline(), driver.stderr.read()
        yield home
        assert driver.poll() is None, driver.stderr.read()


@contextmanager
def dashboard(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = ["-W", "error", "-m", "studies.cli", "dashboard", "--port", "0"]
    with stopped_at_the_end(start(home, *command)) as server:
        said = server.stdout.readline()
        url = re.fullmatch(
            r"Optuna's dashboard on sqlite:///sofim\.db: (http://127\.0\.0\.1:\d+/) \(Ctrl-C stops it\)\n", said
        )
        assert url, said + server.stderr.read()
        yield server, url[1]


@pytest.fixture(scope="module")
def url(home) -> Iterator[str]:
    with dashboard(home) as (server, url):
        yield url
        assert server.poll() is None


@pytest.fixture(scope="module")
def page(url) -> Iterator[Page]:
    with opened_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        yield page


@pytest.fixture
def complaints(page, url) -> Iterator[None]:
    with no_complaints(page, url):
        yield


def test_the_studies_are_listed_with_their_directions(page, url, complaints):
    page.goto(url)
    for name, direction in (
        ("fake/digits-mlp/sofim", "MAXIMIZE"),
        ("fake/digits-mlp/sgd", "MAXIMIZE"),
        ("fake/breast-cancer-logreg/sofim", "MINIMIZE"),
        ("fake/breast-cancer-logreg/sgd", "MINIMIZE"),
    ):
        card = page.get_by_role("link").filter(has_text=name)
        expect(card).to_contain_text(f"Direction: {direction}", timeout=PATIENCE)


def test_a_study_shows_its_metric_and_its_parameters_by_their_names(page, url, complaints):
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


def test_a_trial_shows_the_arguments_it_ran_with(page, url, home, complaints):
    """Momentum is searched as 1 - beta, but nobody is to see that."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{home}/sofim.db")
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
    expect(body).to_contain_text(f"Value{trial.value:g}")
    expect(body).to_contain_text("gradient_evaluations 10")
    expect(body).to_contain_text(re.compile(r"history .*\"accuracy\": \["))


def test_what_the_driver_writes_meanwhile_is_seen(page, url, complaints):
    def count() -> int:
        page.goto(f"{url}dashboard/studies/1/trials")
        label = page.get_by_text(re.compile(r"^[1-9]\d* Trials$"))
        return int(label.text_content(timeout=PATIENCE).split()[0])

    first = count()
    assert first >= 7
    expect(page.get_by_text("Complete", exact=True).first).to_be_visible(timeout=PATIENCE)
    while count() <= first:  # the driver ends ten trials a second, or what a busy machine lets it
        page.wait_for_timeout(200)


def test_nobody_on_another_address_is_answered(url):
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


def test_a_browser_that_breaks_off_is_no_traceback(home):
    with dashboard(home) as (server, url):
        browser = socket.create_connection(("127.0.0.1", urlsplit(url).port))
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is then a reset
        browser.sendall(b"GET /dash")
        browser.close()
        assert urllib.request.urlopen(url).status == 200  # it was taken after the other
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=120)
    assert err == "\nsofim: interrupted\n"


def test_ctrl_c_ends_it_in_one_line(home):
    with dashboard(home) as (server, url):
        open_connection = socket.create_connection(("127.0.0.1", urlsplit(url).port))  # as a browser keeps one
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=120)
        open_connection.close()
    assert (server.returncode, out, err) == (130, "", "\nsofim: interrupted\n")
