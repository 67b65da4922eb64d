"""The files of reports that ``sofim dashboard`` serves, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studies.commands.dashboard import _with_reports

MAKER = '<meta name="generator" content="SOFIM Studies">'


def answered(reports: Path, path: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    found: list[Any] = []
    application = _with_reports(lambda environ, start: [b"dashboard"], reports)
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method}
    body = b"".join(application(environ, lambda status, headers, _=None: found.extend([status, dict(headers)])))  # type: ignore[arg-type]
    return (found[0], found[1], body) if found else ("", {}, body)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    home = tmp_path / "reports"
    for folder in ("mine/tables", "mine/figures", "else"):
        (home / folder).mkdir(parents=True)
    (home / "mine" / "index.html").write_text(f"{MAKER}<p>β")
    (home / "mine" / "answers.html").write_text(f"{MAKER}<p>ρ")
    (home / "mine" / "tables" / "importance.csv").write_text("a,b")
    (home / "mine" / "figures" / "a.svg").write_text("<svg/>")
    (home / "else" / "index.html").write_text("somebody's")
    (tmp_path / "index.html").write_text(MAKER)
    (home / "mine" / "figures" / "b.png").symlink_to(tmp_path / "index.html")
    return home


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/reports/mine/index.html", "text/html; charset=utf-8"),
        ("/reports/mine/answers.html", "text/html; charset=utf-8"),
        ("/reports/mine/tables/importance.csv", "text/csv; charset=utf-8"),
        ("/reports/mine/figures/a.svg", "image/svg+xml"),
    ],
)
def test_the_files_of_a_report_are_served_without_a_say_in_the_dashboard(reports: Path, path: str, kind: str) -> None:
    status, headers, body = answered(reports, path)
    assert status == "200 OK"
    assert headers["Content-Type"] == kind
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    assert body == (reports.parent / path.lstrip("/")).read_bytes()
    assert answered(reports, path, "HEAD")[2] == b""


@pytest.mark.parametrize(
    "path",
    [
        "/reports/else/index.html",  # no report of ours
        "/reports/../index.html",
        "/reports/./mine/index.html",
        "/reports/mine/../../index.html",
        "/reports/mine/tables/../index.html",
        "/reports/mine/sofim.db",
        "/reports/mine/figures/b.png",  # leads out
        "/reports/mine/figures/none.png",
        "/reports/mine/",
        "/reports/",
    ],
)
def test_no_other_file_is_served(reports: Path, path: str) -> None:
    assert answered(reports, path)[0] == "404 Not Found"


def test_a_report_with_letters_of_any_alphabet_is_served(reports: Path) -> None:
    (reports / "mine").rename(reports / "моя_größe")
    path = "/reports/моя_größe/answers.html".encode().decode("latin-1")  # as WSGI has it
    assert answered(reports, path)[2] == f"{MAKER}<p>ρ".encode()


def test_a_report_is_read_and_not_written(reports: Path) -> None:
    assert answered(reports, "/reports/mine/index.html", "DELETE")[0] == "404 Not Found"
    assert answered(reports, "/dashboard", "DELETE")[2] == b"dashboard"
