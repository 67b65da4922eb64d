"""A real browser for the pages that people look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIETLY = [
    "--no-sandbox",  # which containers have none of
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
PATIENCE = 60_000  # ms: a busy machine draws slowly


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """The system's Chromium; a test without one is skipped, but never where everything is to be tested."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"no browser: none of {', '.join(BROWSERS)} is installed")
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)} is installed")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=QUIETLY)
        yield started
        started.close()


@contextmanager
def no_complaints(page: Page, url: str) -> Iterator[None]:
    """What the browser has to complain of, addresses that do not begin with ``url`` included; there must be nothing."""
    found: list[str] = []

    def hear_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    def hear_request(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            found.append(f"elsewhere: {request.url}")

    def hear_failure(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left
            found.append(f"{request.failure}: {request.url}")

    def hear_response(response: Response) -> None:
        if response.status >= 400:
            found.append(f"{response.status}: {response.url}")

    listeners = {
        "console": hear_console,
        "pageerror": lambda error: found.append(str(error)),
        "request": hear_request,
        "requestfailed": hear_failure,
        "response": hear_response,
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    yield
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    assert not found
